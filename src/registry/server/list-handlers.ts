import type { Digest } from '../../oci/digest.ts'
import { OCI } from '../../oci/media-types.ts'
import { answerJson, refuse } from './answers.ts'
import { MAX_MANIFEST } from './manifest-handlers.ts'
import type { StorageReader } from './storage-reader.ts'

export function listTags(storage: StorageReader, repository: string, query: URLSearchParams): Response {
  const all = storage.tags(repository)
  if (!all) throw refuse(404, 'NAME_UNKNOWN', 'no such repository', { name: repository })
  const { page, headers } = paginate(all, query, `/v2/${repository}/tags/list`)
  return answerJson({ name: repository, tags: page }, headers)
}

export function listRepositories(storage: StorageReader, query: URLSearchParams): Response {
  const { page, headers } = paginate(storage.repositories(), query, '/v2/_catalog')
  return answerJson({ repositories: page }, headers)
}

/** A page ends where the index would become larger than a manifest may be. */
export function listReferrers(
  storage: StorageReader,
  repository: string,
  subject: Digest,
  query: URLSearchParams,
): Response {
  const type = query.get('artifactType')
  const last = query.get('last') ?? ''
  const manifests: object[] = []
  const headers: Record<string, string> = { 'content-type': OCI.index }
  if (type !== null) headers['oci-filters-applied'] = 'artifactType'
  let size = 0
  let previous = ''
  for (const { digest, read } of storage.referrers(repository, subject)) {
    if (digest <= last) continue
    const descriptor = read()
    if (!descriptor || (type !== null && (descriptor as { artifactType?: string }).artifactType !== type)) continue
    size += JSON.stringify(descriptor).length + 1
    if (size > MAX_MANIFEST - 1024 && manifests.length > 0) {
      const next = new URLSearchParams({ ...(type === null ? {} : { artifactType: type }), last: previous })
      headers['link'] = `</v2/${repository}/referrers/${subject}?${next}>; rel="next"`
      break
    }
    manifests.push(descriptor)
    previous = digest
  }
  return answerJson({ schemaVersion: 2, mediaType: OCI.index, manifests }, headers)
}

/** `n` and `last` of the spec, over names in ASCII order. */
function paginate(all: readonly string[], query: URLSearchParams, path: string) {
  const last = query.get('last')
  const after = last === null ? all : all.filter(name => name > last)
  const n = query.get('n')
  if (n === null) return { page: after, headers: {} }
  if (!/^\d{1,9}$/.test(n)) throw refuse(400, 'PAGINATION_NUMBER_INVALID', 'n is not a number', { n: n.slice(0, 50) })
  const page = after.slice(0, Number(n))
  if (page.length === 0 || page.length === after.length) return { page, headers: {} }
  const next = new URLSearchParams({ n, last: page.at(-1)! })
  return { page, headers: { link: `<${path}?${next}>; rel="next"` } }
}
