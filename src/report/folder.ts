import { randomBytes } from 'node:crypto'
import { lstatSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ArchimageError } from '../errors/error.ts'

/** Where a run leaves its result and its logs, below the project's root. */
export const FOLDER = '.archimage'

/**
 * Makes a folder below `root`, step by step, and gives its path. A link on the way is refused: the repository may be a
 * stranger's, and nothing is to be written outside it. `.archimage` gets a .gitignore that hides it.
 */
export function makeFolder(root: string, ...names: readonly string[]): string {
  let path = root
  for (const name of names) {
    path = join(path, name)
    const found = lstatSync(path, { throwIfNoEntry: false })
    if (found === undefined) mkdirSync(path, { recursive: true })
    else if (!found.isDirectory())
      throw new ArchimageError('PERMISSION', `${path} is not a folder, archimage does not write there`, {
        hint: 'remove it: archimage makes this folder itself',
      })
  }
  const ignore = join(root, FOLDER, '.gitignore')
  if (names[0] === FOLDER && lstatSync(ignore, { throwIfNoEntry: false }) === undefined) replaceFile(ignore, '*\n')
  return path
}

/** Writes a file that is either there with all of `text` or as it was before. */
export function replaceFile(path: string, text: string): void {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    writeFileSync(temporary, text, { flag: 'wx' })
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}
