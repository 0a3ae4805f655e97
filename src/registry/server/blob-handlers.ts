import type { Digest } from '../../oci/digest.ts'
import { fileBody } from '../../sys/http-server.ts'
import { answer, isUnchanged, refuse } from './answers.ts'
import type { Storage } from './storage.ts'
import type { StorageReader, StoredBlob } from './storage-reader.ts'

/** GET and HEAD. Where the storage can be written, whoever asks by HEAD is about to rely on the blob. */
export function getBlob(
  request: Request,
  storage: StorageReader,
  writable: Storage | undefined,
  repository: string,
  digest: Digest,
): Response {
  const head = request.method === 'HEAD'
  const blob =
    writable && head ? writable.steady(() => writable.keepBlob(repository, digest)) : storage.blob(repository, digest)
  if (!blob) throw unknown(digest)
  const etag = `"${digest}"`
  const headers = {
    'content-type': 'application/octet-stream',
    'content-disposition': 'attachment',
    'docker-content-digest': digest,
    etag,
  }
  const { size } = blob
  const whole = { ...headers, 'content-length': String(size) }
  if (isUnchanged(request, etag)) return answer(304, { etag })
  if (head) return answer(200, { ...whole, 'accept-ranges': 'bytes' })
  const asked = request.headers.get('range')
  const range = (request.headers.get('if-range') ?? etag) === etag ? parseRange(asked, size) : undefined
  if (range === 'unsatisfiable') {
    const all = { 'content-range': `bytes */${size}` }
    throw refuse(416, 'SIZE_INVALID', 'the blob has no such bytes', { size }, all)
  }
  if (range === undefined)
    // The runtime, which knows about ranges of files too, adds its own accept-ranges where there is a Range.
    return answer(200, asked === null ? { ...whole, 'accept-ranges': 'bytes' } : whole, bodyOf(blob, 0, size))
  const part = {
    ...headers,
    'accept-ranges': 'bytes',
    'content-length': String(range.end - range.start),
    'content-range': `bytes ${range.start}-${range.end - 1}/${size}`,
  }
  return answer(206, part, bodyOf(blob, range.start, range.end))
}

/** An answer without a file gets its range from us alone. */
function bodyOf(blob: StoredBlob, from: number, to: number): BodyInit {
  if ('bytes' in blob) return blob.bytes.slice(from, to) as Uint8Array<ArrayBuffer>
  const { path, start = 0 } = blob
  return fileBody(path, start + from, start + to)
}

export function deleteBlob(storage: Storage, repository: string, digest: Digest): Response {
  if (storage.deleteBlob(repository, digest)) return answer(202)
  throw unknown(digest)
}

function unknown(digest: Digest) {
  return refuse(404, 'BLOB_UNKNOWN', 'the repository has no such blob', { digest })
}

/** One range of RFC 9110 section 14.1.2, as start and exclusive end; undefined where the whole is to be sent. */
export function parseRange(
  header: string | null,
  size: number,
): { readonly start: number; readonly end: number } | 'unsatisfiable' | undefined {
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.replaceAll(' ', '') ?? '') ?? []
  if (first === '' && last === '') return undefined
  if (first === '') {
    const length = Math.min(Number(last), size)
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size }
  }
  const start = Number(first)
  // A range that ends before it begins may be ignored or refused (section 14.2); the conformance suite wants the latter.
  if (start >= size || (last !== '' && Number(last) < start)) return 'unsatisfiable'
  return { start, end: last === '' ? size : Math.min(Number(last) + 1, size) }
}
