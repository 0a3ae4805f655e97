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

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
