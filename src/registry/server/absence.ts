import { lstatSync, readdirSync, readFileSync, rmSync, type Stats, utimesSync } from 'node:fs'

// File system calls for which absence is an ordinary answer.

export function isMissing(error: unknown): boolean {
  const { code } = error as { code?: string }
  return code === 'ENOENT' || code === 'ENOTDIR'
}

/** Of a regular file; a link that somebody planted is no file of ours, wherever it leads. */
export function statFile(path: string): Stats | undefined {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  return stat?.isFile() ? stat : undefined
}

export function readFile(path: string): Buffer | undefined {
  return statFile(path) && absence(() => readFileSync(path))
}

export function listFolder(path: string): string[] | undefined {
  return absence(() => readdirSync(path))
}

/** The folders in a folder, links not among them: they could lead in circles. */
export function listFolders(path: string): string[] {
  const entries = absence(() => readdirSync(path, { withFileTypes: true })) ?? []
  return entries.flatMap(entry => (entry.isDirectory() ? [entry.name] : []))
}

/** False when there was nothing. */
export function removeIfThere(path: string): boolean {
  return (
    absence(() => {
      rmSync(path)
      return true
    }) ?? false
  )
}

/** Makes a file young, so that garbage collection spares it for a while; false where there is none. */
export function touch(path: string): boolean {
  if (statFile(path) === undefined) return false
  const now = Date.now() / 1000
  try {
    utimesSync(path, now, now)
  } catch (error) {
    if (isMissing(error)) return false
    // Of another user: then no collector of ours can remove it either.
    if ((error as { code?: string }).code !== 'EPERM') throw error
  }
  return true
}

function absence<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}
