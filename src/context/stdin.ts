import { ArchimageError } from '../errors/error.ts'
import type { Context } from './context.ts'

const ARCHIVES: readonly (readonly [string, readonly number[], number])[] = [
  ['gzip', [0x1f, 0x8b, 0x08], 0],
  ['bzip2', [0x42, 0x5a, 0x68], 0],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], 0],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd], 0],
  ['tar', [0x75, 0x73, 0x74, 0x61, 0x72], 257],
]

/** A context without files: that of a Dockerfile from standard input. */
export function emptyContext(): Context {
  const nothing = (path: string): never => {
    throw new ArchimageError('CONTEXT_INVALID', `${path} is not in the context: it has no files`, {
      hint: 'a Dockerfile from standard input comes without files; give a folder and -f - to have both',
    })
  }
  return {
    root: '',
    lookup: path =>
      /^[/.]*$/.test(path) ? { type: 'dir', mode: 0o755, uid: 0, gid: 0, size: 0, mtime: 0 } : undefined,
    list: () => [],
    digest: nothing,
    path: nothing,
    resolve: path => (/^[/.]*$/.test(path) ? '' : undefined),
    glob: () => [],
    save: () => {},
  }
}

/**
 * What `archimage build -` and `-f -` get on standard input: the bytes of a Dockerfile. Throws UNSUPPORTED for archives,
 * which would be contexts.
 */
export function dockerfileFromStdin(bytes: Uint8Array): Uint8Array {
  for (const [name, magic, at] of ARCHIVES)
    if (magic.every((byte, i) => bytes[at + i] === byte))
      throw new ArchimageError('UNSUPPORTED', `standard input is a ${name} archive, which is not read as a context`, {
        hint: 'unpack it into a folder and build that folder',
      })
  return bytes
}
