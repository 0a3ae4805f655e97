import { setImmediate } from 'node:timers/promises'
import type { Entry } from '../layer/entry.ts'
import { tarEntry } from '../layer/write.ts'
import type { TarEntry } from '../tar/entry.ts'
import { END_OF_ARCHIVE, encodeHeader, padding } from '../tar/writer.ts'
import { gathered, TIME } from './archive.ts'
import { checked } from './checked.ts'
import type { Root, Roots } from './rootfs.ts'

/** Root filesystems as one tar archive, owners and attributes as in the image. Chunks are valid until the next is asked for. */
export function rootArchive(roots: Roots): AsyncIterable<Uint8Array> {
  return gathered(chunks(roots))
}

async function* chunks({ roots, content }: Roots): AsyncGenerator<Uint8Array> {
  for (const root of roots) yield* rootChunks(root, content)
  yield END_OF_ARCHIVE
}

async function* rootChunks({ folder, tree }: Root, content: Roots['content']): AsyncGenerator<Uint8Array> {
  const prefix = folder === undefined ? '' : `${folder}/`
  if (folder !== undefined)
    yield encodeHeader({ path: folder, type: 'dir', mode: 0o755, uid: 0, gid: 0, mtime: TIME, size: 0 })
  const inodes = new Map<string, string>()
  for (const { path: inside, entry } of tree.walk()) {
    if (inside === '') continue
    const path = prefix + inside
    const first = entry.inode === undefined ? undefined : inodes.get(entry.inode)
    if (first !== undefined) {
      yield encodeHeader({ ...header(path, entry), type: 'hardlink', size: 0, link: first })
      continue
    }
    if (entry.inode !== undefined) inodes.set(entry.inode, path)
    yield encodeHeader(header(path, entry))
    if (entry.type !== 'file') continue
    yield* checked(inside, entry, content)
    yield END_OF_ARCHIVE.subarray(0, padding(entry.size))
    if (entry.size > 1 << 20) await setImmediate()
  }
}

/** Without the PAX records of windows layers: they belong to layers, not to a tree of files. */
function header(path: string, { pax: _, ...entry }: Entry): TarEntry {
  return tarEntry(path, entry)
}
