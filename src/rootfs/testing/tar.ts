import type { TarEntry } from '../../tar/entry.ts'
import { END_OF_ARCHIVE, encodeHeader, padding } from '../../tar/writer.ts'

/** An entry with what it does not say filled in: a directory when its path ends in "/", a link when it has a target. */
export type Part = Partial<TarEntry> & { readonly path: string; readonly text?: string }

/** An uncompressed tar, hostile if the parts are. */
export function tar(parts: readonly Part[]): Buffer {
  const blocks = parts.flatMap(({ text = '', ...part }) => {
    const type = part.type ?? (part.path.endsWith('/') ? 'dir' : part.link === undefined ? 'file' : 'symlink')
    const content = Buffer.from(type === 'file' ? text : '')
    const fixed = { mode: type === 'dir' ? 0o755 : 0o644, uid: 0, gid: 0, mtime: 0 }
    const entry: TarEntry = { ...fixed, ...part, type, size: content.length, path: part.path.replace(/\/$/, '') }
    return [encodeHeader(entry), content, Buffer.alloc(padding(content.length))]
  })
  return Buffer.concat([...blocks, END_OF_ARCHIVE])
}
