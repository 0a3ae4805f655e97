import { clean } from '../context/clean.ts'

export { clean }

/** The parts that are not empty, joined and cleaned. */
export function join(...parts: readonly string[]): string {
  return clean(parts.filter(part => part !== '').join('/'))
}

/** What stands before the last slash: "" for the root and for names without slash. */
export function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')))
}

/** The last part; slashes behind it do not count. */
export function nameOf(path: string): string {
  const end = path.endsWith('/') ? path.replace(/\/+$/, '') : path
  return end.slice(end.lastIndexOf('/') + 1)
}
