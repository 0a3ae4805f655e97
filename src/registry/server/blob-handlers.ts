import type { Digest } from '../../oci/digest.ts'
import { fileBody } from '../../sys/http-server.ts'
import { answer, refuse } from './answers.ts'
import type { Storage } from './storage.ts'

export function handleBlob(request: Request, storage: Storage, repository: string, digest: Digest): Response {
  if (request.method === 'DELETE') {
    if (storage.deleteBlob(repository, digest)) return answer(202)
    throw refuse(404, 'BLOB_UNKNOWN', 'the repository has no such blob', { digest })
  }
  if (request.method !== 'GET' && request.method !== 'HEAD')
    throw refuse(405, 'UNSUPPORTED', `${request.method} does not go with a blob`)
  const blob = storage.blob(repository, digest)
  if (!blob) throw refuse(404, 'BLOB_UNKNOWN', 'the repository has no such blob', { digest })
  const headers = {
    'content-type': 'application/octet-stream',
    'content-disposition': 'attachment',
    'docker-content-digest': digest,
    etag: `"${digest}"`,
  }
  if (request.method === 'HEAD')
    return answer(200, { ...headers, 'accept-ranges': 'bytes', 'content-length': String(blob.size) })
  const range = parseRange(request.headers.get('range'), blob.size)
  if (range === 'unsatisfiable')
    throw refuse(
      416,
      'SIZE_INVALID',
      'the blob has no such bytes',
      { size: blob.size },
      {
        'content-range': `bytes */${blob.size}`,
      },
    )
  if (range === undefined) {
    // The runtime would read a Range that we chose to ignore from the request again, but only for an answer with a file.
    const headersAll = { ...headers, ...(request.headers.has('range') ? {} : { 'accept-ranges': 'bytes' }) }
    return answer(200, headersAll, blob.size === 0 ? null : fileBody(blob.path, 0, blob.size))
  }
  const part = {
    ...headers,
    'accept-ranges': 'bytes',
    'content-range': `bytes ${range.start}-${range.end - 1}/${blob.size}`,
  }
  return answer(206, part, fileBody(blob.path, range.start, range.end))
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
  if (last !== '' && Number(last) < start) return undefined
  if (start >= size) return 'unsatisfiable'
  return { start, end: last === '' ? size : Math.min(Number(last) + 1, size) }
}
