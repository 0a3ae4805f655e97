import { chmodSync, lstatSync, readdirSync, rmSync } from 'node:fs'
import { decodePath, fsPath } from '../tar/path-bytes.ts'

/** Removes what is at `path`, also folders that their owner may not write into (images have those). Follows no link. */
export function removeTree(path: string): void {
  try {
    rmSync(fsPath(path), { recursive: true, force: true })
  } catch {
    open(path)
    rmSync(fsPath(path), { recursive: true, force: true })
  }
}

function open(folder: string): void {
  if (!lstatSync(fsPath(folder)).isDirectory()) return
  chmodSync(fsPath(folder), 0o700)
  for (const name of readdirSync(fsPath(folder), { encoding: 'buffer' })) open(`${folder}/${decodePath(name)}`)
}
