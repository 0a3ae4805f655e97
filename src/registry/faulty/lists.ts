import { type Digest, sha256 } from '../../oci/digest.ts'
import { type Route, splitUrl } from '../server/route.ts'
import type { Faults } from './faults.ts'
import { queryOf } from './match.ts'

type Handle = (request: Request) => Promise<Response>

/** The list of tags or referrers with what is wrong with lists; undefined when nothing is. */
export async function serveList(
  request: Request,
  route: Extract<Route, { kind: 'tags' | 'referrers' }>,
  faults: Faults,
  handle: Handle,
): Promise<Response | undefined> {
  const { pages, digestTags, noFilters } = faults
  if (pages === undefined && !(digestTags && route.kind === 'tags') && !(noFilters && route.kind === 'referrers'))
    return undefined
  const query = queryOf(request)
  const n = Number(query.get('n') ?? Number.POSITIVE_INFINITY)
  query.delete('n')
  if (noFilters) query.delete('artifactType')
  const { path } = splitUrl(request.url)
  const whole = await handle(new Request(new URL(`${path}?${query}`, request.url), { headers: request.headers }))
  if (!whole.ok) return whole
  const json = (await whole.json()) as { tags?: string[]; manifests?: { digest: Digest }[] }
  const headers = new Headers(whole.headers)
  headers.delete('content-length')
  const key = route.kind === 'tags' ? 'tags' : 'manifests'
  const all: readonly (string | { digest: Digest })[] = [
    ...(digestTags && key === 'tags' && !query.has('last') ? [sha256('a digest among tags')] : []),
    ...(json[key] ?? []),
  ]
  const size = Math.min(n, pages?.size ?? n)
  const page = all.slice(0, size)
  const last = page.at(-1)
  if (last !== undefined && page.length < all.length && pages?.link !== 'none') {
    if (Number.isFinite(n)) query.set('n', String(n))
    if (pages?.link !== 'loop') query.set('last', typeof last === 'string' ? last : last.digest)
    const target = `${path}?${query}`
    const origin = pages?.link === 'absolute' ? 'http://internal.example:8080' : ''
    headers.set('link', `<${origin}${target}>; rel="next"`)
  }
  return new Response(JSON.stringify({ ...json, [key]: page }), { headers })
}
