import { lstatSync, readlinkSync, type Stats } from 'node:fs'

const MOST_LINKS = 255

/**
 * The path on this machine that `path` has for a process whose root is `root`: links are followed as that process would, `..`
 * ends at the root. What does not exist is taken as written. For roots that nobody changes meanwhile.
 */
export function resolveInRoot(root: string, path: string): string {
  const ahead = path.split('/').reverse()
  const done: string[] = []
  let links = 0
  while (ahead.length > 0) {
    const name = ahead.pop()!
    if (name === '' || name === '.') continue
    if (name === '..') {
      done.pop()
      continue
    }
    const at = [root, ...done, name].join('/')
    if (lstat(at)?.isSymbolicLink() !== true) {
      done.push(name)
      continue
    }
    if (++links > MOST_LINKS) throw Object.assign(new Error(`ELOOP: too many links in '${path}'`), { code: 'ELOOP' })
    const target = readlinkSync(at)
    if (target.startsWith('/')) done.length = 0
    ahead.push(...target.split('/').reverse())
  }
  return [root, ...done].join('/')
}

/** Of the path itself; undefined where there is nothing, or a file where a directory should be. */
export function lstat(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined
    throw error
  }
}
