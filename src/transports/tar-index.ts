import { ArchimageError } from '../errors/error.ts'
import { MAX_JSON } from '../oci/json.ts'
import { cleanPath } from '../tar/path-bytes.ts'
import { TarReader } from '../tar/reader.ts'
import { type Extent, fileExtent } from './extent.ts'

/** An archive whose files can be read in any order. */
export interface TarIndex {
  /** What stands under this path, links within the archive followed. Throws TAR_INVALID for links that lead nowhere. */
  file(path: string): Extent | undefined
  has(path: string): boolean
}

interface Place {
  readonly offset: number
  readonly size: number
}

/** Far more than any archive of images has. */
const MAX_ENTRIES = 1_000_000
const MAX_LINKS = 16

/**
 * Reads the headers of an uncompressed archive in an open file of `size` bytes, and nothing of its contents. A file that is there twice is
 * refused, as readers would not agree on which one counts, except for blobs, which have their digest as their name.
 * Throws TAR_INVALID.
 */
export function indexTar(fd: number, size: number, name: string): TarIndex {
  const files = new Map<string, Place>()
  const links = new Map<string, string>()
  const bad = (path: string, why: string): ArchimageError =>
    new ArchimageError('TAR_INVALID', `${name}: "${path.slice(0, 200)}": ${why}`)
  let count = 0
  const reader = new TarReader(
    {
      entry: (entry, offset) => {
        const { path, type, link } = entry
        if (++count > MAX_ENTRIES) throw bad(path, `there are more than ${MAX_ENTRIES} entries`)
        if (type === 'dir') return
        if (files.has(path) || links.has(path)) {
          if (/^blobs\/sha(?:256|512)\/[0-9a-f]+$/.test(path)) return
          throw bad(path, 'it is there twice')
        }
        if (type === 'file') files.set(path, { offset, size: entry.size })
        else if (type === 'hardlink') links.set(path, link!)
        else if (type === 'symlink') links.set(path, resolve(path, link!, bad))
      },
    },
    { name },
  )
  const block = fileExtent(fd, 0, size)
  const buffer = Buffer.alloc(512)
  for (let at = 0; at < size; ) {
    const length = block.read(buffer, at)
    reader.push(buffer.subarray(0, length))
    at += length
    const passed = reader.skip()
    if (at + passed > size)
      throw new ArchimageError('TAR_INVALID', `${name}: it ends in the middle of an entry: it was cut off`)
    at += passed
    if (reader.ended) break
  }
  reader.finish()

  const find = (path: string): Place | undefined => {
    let at = path
    for (let hops = 0; hops <= MAX_LINKS; hops++) {
      const file = files.get(at)
      const next = links.get(at)
      if (file !== undefined || (next === undefined && hops === 0)) return file
      if (next === undefined) throw bad(path, `it is a link to "${at}", which is not in the archive`)
      at = next
    }
    throw bad(path, 'its links lead in a circle')
  }
  return {
    has: path => files.has(path) || links.has(path),
    file: path => {
      const place = find(path)
      return place && fileExtent(fd, place.offset, place.size)
    },
  }
}

/** The content of a small file of an archive. */
export function smallFile(tar: TarIndex, path: string, place: string): Buffer | undefined {
  const extent = tar.file(path)
  if (extent === undefined) return undefined
  if (extent.size > MAX_JSON)
    throw new ArchimageError('MANIFEST_INVALID', `${place}: ${path} has more than ${MAX_JSON} bytes`)
  const bytes = Buffer.allocUnsafeSlow(extent.size)
  if (extent.read(bytes, 0) < bytes.length)
    throw new ArchimageError('TAR_INVALID', `${place}: it was cut while it was read`)
  return bytes
}

/** Where a symbolic link at `path` points to within the archive. */
function resolve(path: string, link: string, bad: (path: string, why: string) => ArchimageError): string {
  const folder = path.slice(0, path.lastIndexOf('/') + 1)
  const target = cleanPath(link.startsWith('/') ? link : `${folder}${link}`)
  if (target === undefined || target === '') throw bad(path, `it is a link out of the archive: "${link.slice(0, 200)}"`)
  return target
}
