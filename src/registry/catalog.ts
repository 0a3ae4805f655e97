import { isRecord, MAX_JSON } from '../oci/json.ts'
import { badAnswer } from './failures.ts'
import type { Site } from './site.ts'
import { nextQuery } from './tags.ts'

const PAGE = 1000
const MAX_PAGES = 1000

/** The names of all repositories of a registry, as far as it tells (GET /v2/_catalog). Throws UNAUTHORIZED and kin. */
export async function* listRepositories(
  { client, host }: Pick<Site, 'client' | 'host'>,
  signal: AbortSignal | undefined,
): AsyncGenerator<string> {
  const seen = new Set<string>()
  let query: string | undefined = `?n=${PAGE}`
  while (query !== undefined && seen.size < MAX_PAGES && !seen.has(query)) {
    seen.add(query)
    const request = {
      ...{ host, method: 'GET', url: `/v2/_catalog${query}`, scopes: ['registry:catalog:*'] as const },
      doing: { registry: host.registry, what: 'listing repositories' },
      ...(signal === undefined ? {} : { signal }),
    }
    const answer = await client.request(request)
    if (answer.status !== 200) throw await client.refusal(request, answer)
    let json: unknown
    try {
      json = JSON.parse(Buffer.from((await answer.bytes(MAX_JSON)) ?? []).toString('utf8'))
    } catch {
      throw badAnswer(request.doing, 'the answer is not JSON')
    }
    const names = isRecord(json) ? (json['repositories'] ?? []) : undefined
    if (!Array.isArray(names) || !names.every(name => typeof name === 'string'))
      throw badAnswer(request.doing, 'the answer has no list of repositories')
    yield* names as string[]
    query = nextQuery(answer.headers.get('link'), answer.url)
  }
}
