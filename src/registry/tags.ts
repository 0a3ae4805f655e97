import { ArchimageError } from '../errors/error.ts'
import { isRecord, MAX_JSON } from '../oci/json.ts'
import { isTag } from '../oci/reference.ts'
import { badAnswer } from './failures.ts'
import { type Site, siteRequest } from './site.ts'

const PAGE = 1000
const ROUND = 50
const MAX_PAGES = 10_000

/**
 * All tags, page by page, in the registry's order. None for a repository that does not exist. What is no tag is left out:
 * Artifactory's lists name digests too.
 */
export async function* listTags(site: Site, signal: AbortSignal | undefined): AsyncGenerator<string> {
  const seen = new Set<string>()
  let path: string | undefined = `tags/list?n=${PAGE}`
  for (let page = 0; path !== undefined && page < MAX_PAGES; page++) {
    const request = siteRequest(site, 'listing tags', { method: 'GET', path, actions: 'pull', signal })
    const answer = await site.client.request(request)
    if (answer.status === 404) {
      await answer.drain()
      return
    }
    if (answer.status !== 200) throw await site.client.refusal(request, answer)
    const body = await answer.bytes(MAX_JSON)
    let json: unknown
    try {
      json = JSON.parse(Buffer.from(body ?? []).toString('utf8'))
    } catch (error) {
      throw new ArchimageError('REGISTRY_ANSWER', `${badAnswer(request.doing, 'the answer is not JSON').message}`, {
        cause: error,
      })
    }
    // Nexus says null for none.
    const tags = isRecord(json) ? (json['tags'] ?? []) : undefined
    if (!Array.isArray(tags) || !tags.every(tag => typeof tag === 'string'))
      throw badAnswer(request.doing, 'the answer has no list of tags')
    const fresh = (tags as string[]).filter(tag => !seen.has(tag))
    for (const tag of fresh) seen.add(tag)
    yield* fresh.filter(isTag)
    // A page that brings nothing new: the links go in a circle, or the server knows no pages.
    if (fresh.length === 0) return
    const next = nextQuery(answer.headers.get('link'), answer.url)
    // Without Link a page that looks full may be one: registries have limits of their own, all of them round.
    const more = tags.length % ROUND === 0 ? `?n=${PAGE}&last=${encodeURIComponent(tags.at(-1)!)}` : undefined
    path = (next ?? more) === undefined ? undefined : `tags/list${next ?? more}`
  }
}

/** `?…` of the next page. Only the query of a Link counts: behind proxies host and scheme of it are wrong (RFC 8288). */
export function nextQuery(link: string | null, from: URL): string | undefined {
  const target = /<([^>]{1,4096})>\s*;[^,]*\brel="?next"?/i.exec(link ?? '')?.[1]
  if (target === undefined || !URL.canParse(target, from)) return undefined
  return new URL(target, from).search || undefined
}
