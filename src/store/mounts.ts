import { lstatSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { isRecord } from '../oci/json.ts'
import { temporaryName } from '../sys/files.ts'
import { removeTree } from '../sys/remove-tree.ts'
import { listFiles } from './binaries.ts'
import { NAMES } from './home.ts'

/** What is known of a cache mount, beside its directories. Its time says when it was last used. */
const ABOUT = 'about.json'

/** The directories of one `RUN --mount=type=cache`, for pruning. */
export interface MountFiles {
  readonly id: string
  readonly path: string
  readonly bytes: number
  /** Milliseconds since 1970. */
  readonly used: number
}

/** Where the directories of cache mounts are. */
export function mountsPath(root: string): string {
  return join(root, NAMES.mounts)
}

export function listMounts(root: string): MountFiles[] {
  return listFiles(mountsPath(root)).map(({ path, stat }) => {
    const about = statSync(join(path, ABOUT), { throwIfNoEntry: false })
    return { id: idOf(path), path, bytes: sizeOf(Buffer.from(path)), used: about?.mtimeMs ?? stat.mtimeMs }
  })
}

export function removeMount(root: string, path: string): boolean {
  const aside = join(root, NAMES.tmp, temporaryName())
  try {
    renameSync(path, aside)
    return removeTree(aside)
  } catch {
    return false
  }
}

function idOf(path: string): string {
  try {
    const about: unknown = JSON.parse(readFileSync(join(path, ABOUT), 'utf8'))
    return isRecord(about) && typeof about['id'] === 'string' ? about['id'] : ''
  } catch {
    return ''
  }
}

/** What a directory takes on the disk, as far as this user may look into it. */
function sizeOf(path: Buffer): number {
  let bytes = 0
  let names: Buffer[]
  try {
    names = readdirSync(path, { encoding: 'buffer' })
  } catch {
    return 0
  }
  for (const name of names) {
    const at = Buffer.concat([path, Buffer.from('/'), name])
    const stat = lstatSync(at, { throwIfNoEntry: false })
    if (stat === undefined) continue
    bytes += stat.blocks * 512
    if (stat.isDirectory()) bytes += sizeOf(at)
  }
  return bytes
}
