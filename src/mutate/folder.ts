import { createHash } from 'node:crypto'
import { type Context, openContext } from '../context/context.ts'
import { forgetfulMemory } from '../context/hash-memory.ts'
import { ArchimageError } from '../errors/error.ts'
import type { Entry } from '../layer/entry.ts'
import { Tree } from '../layer/tree.ts'

/** 1980-02-01T00:00:00Z, in seconds. */
const EPOCH = 318_211_200

/**
 * The files of a folder of this machine as COPY of it to `/` would write them: owner root, modes as they are, one time that comes
 * from what they are, so that the same files are the same layer everywhere. Throws CONTEXT_INVALID for what no image can hold.
 */
export function folderTree(folder: string): Tree {
  const context = openContext(folder, { ignoreFile: false, memory: forgetfulMemory() })
  const hash = createHash('sha256')
  const found = [...entriesOf(context, '')]
  for (const { path, entry } of found) {
    const { type, mode, size, digest = '', link = '', major = '', minor = '', xattrs = {} } = entry
    hash.update(
      `${JSON.stringify([path, type, mode, size, digest, link, major, minor, Object.entries(xattrs).sort()])}\n`,
    )
  }
  const mtime = EPOCH + (hash.digest().readUInt32BE(0) & 0x0fffffff)
  const tree = new Tree()
  for (const { path, entry } of found) tree.put(path, { ...entry, mtime })
  return tree
}

function* entriesOf(context: Context, folder: string): Generator<{ readonly path: string; readonly entry: Entry }> {
  for (const name of context.list(folder)) {
    const path = folder === '' ? name : `${folder}/${name}`
    const seen = context.lookup(path)
    if (seen === undefined) continue
    const { type, mode, uid, gid, size, mtime, link, inode, major, minor, xattrs } = seen
    if (type === 'other')
      throw new ArchimageError('CONTEXT_INVALID', `${context.root}/${path} is a socket, which no image can hold`)
    const entry: Entry = {
      ...{ type, mode, uid, gid, size, mtime },
      ...(type === 'file'
        ? { digest: context.digest(path), content: { kind: 'host' as const, path: context.path(path) } }
        : {}),
      ...(link === undefined ? {} : { link }),
      ...(inode === undefined || type !== 'file' ? {} : { inode }),
      ...(major === undefined ? {} : { major }),
      ...(minor === undefined ? {} : { minor }),
      ...(xattrs === undefined ? {} : { xattrs }),
    }
    yield { path, entry }
    if (type === 'dir') yield* entriesOf(context, path)
  }
}
