import type { ArchimageError } from '../errors/error.ts'
import type { Descriptor } from '../oci/manifest.ts'
import type { Answer } from './answer.ts'
import type { RequestBody } from './exchange.ts'
import { badAnswer } from './failures.ts'
import { type Site, siteRequest } from './site.ts'

export interface WriteOptions {
  readonly signal?: AbortSignal
  readonly progress?: (bytes: number) => void
  readonly from?: readonly string[]
}

/** Size of the parts when a proxy refuses big requests. */
const PIECE = 8 * 1024 * 1024
export const DONE: ReadonlySet<number> = new Set([200, 201, 202, 204])

/** Its failure does no harm: sessions end by themselves. */
export async function dropSession(site: Site, session: URL, signal: AbortSignal | undefined): Promise<void> {
  const request = siteRequest(site, 'ending an upload', {
    method: 'DELETE',
    url: session,
    actions: 'pull,push',
    attempts: 1,
    signal,
  })
  await site.client.request(request).then(
    answer => answer.drain(),
    () => {},
  )
}

export async function startSession(site: Site, what: string, signal: AbortSignal | undefined): Promise<URL> {
  const request = siteRequest(site, what, { method: 'POST', path: 'blobs/uploads/', actions: 'pull,push', signal })
  const answer = await site.client.request(request)
  if (answer.status !== 202) throw await site.client.refusal(request, answer)
  await answer.drain()
  return sessionOf(site, answer, what)
}

/** Where an upload goes on: relative or absolute, its query kept (distribution-spec, "Pushing blobs"). */
export function sessionOf(site: Site, answer: Answer, what: string): URL {
  const location = answer.headers.get('location')
  const doing = { registry: site.host.registry, repository: site.repository, what }
  if (location === null) throw badAnswer(doing, 'the registry began an upload without saying where (no Location)')
  const here = answer.url
  const there = URL.canParse(location, here) ? new URL(location, here) : undefined
  // Behind a proxy that ends TLS, registries call themselves http://: we stay on the way that we came.
  if (there?.protocol === 'http:' && here.protocol === 'https:' && there.hostname === here.hostname)
    return new URL(there.pathname + there.search, here)
  return site.client.resolve(location, here, { doing, host: site.host })
}

interface Sent {
  readonly answer: Answer
  readonly refusal: () => Promise<ArchimageError>
}

type Send = (
  site: Site,
  descriptor: Descriptor,
  session: URL,
  body: () => Promise<RequestBody>,
  options: WriteOptions,
) => Promise<Sent>

const OCTETS = { 'content-type': 'application/octet-stream' }

function withDigest(session: URL, digest: string): URL {
  const url = new URL(session)
  // Written by hand: searchParams would encode the rest of the query anew, and some servers sign it.
  url.search = `${url.search === '' ? '?' : `${url.search}&`}digest=${encodeURIComponent(digest)}`
  return url
}

async function finish(site: Site, { digest }: Descriptor, session: URL, options: WriteOptions): Promise<Sent> {
  const request = siteRequest(site, `sending blob ${digest}`, {
    method: 'PUT',
    url: withDigest(session, digest),
    actions: 'pull,push',
    headers: OCTETS,
    body: () => new Uint8Array(0),
    attempts: 1,
    signal: options.signal,
  })
  const answer = await site.client.request(request)
  return { answer, refusal: () => site.client.refusal(request, answer) }
}

/** The ways to bring the bytes of a blob into an upload session. */
export const send = {
  /** One PUT with everything. */
  async put(site, descriptor, session, body, options) {
    const request = siteRequest(site, `sending blob ${descriptor.digest}`, {
      method: 'PUT',
      url: withDigest(session, descriptor.digest),
      actions: 'pull,push',
      headers: OCTETS,
      body: descriptor.size === 0 ? () => new Uint8Array(0) : body,
      attempts: 1,
      signal: options.signal,
      progress: options.progress,
    })
    const answer = await site.client.request(request)
    return { answer, refusal: () => site.client.refusal(request, answer) }
  },

  /** One PATCH with everything, as docker does; then an empty PUT. */
  async patch(site, descriptor, session, body, options) {
    const request = siteRequest(site, `sending blob ${descriptor.digest}`, {
      method: 'PATCH',
      url: session,
      actions: 'pull,push',
      headers: OCTETS,
      body,
      attempts: 1,
      signal: options.signal,
      progress: options.progress,
    })
    const answer = await site.client.request(request)
    if (!DONE.has(answer.status)) return { answer, refusal: () => site.client.refusal(request, answer) }
    await answer.drain()
    return finish(site, descriptor, sessionOf(site, answer, request.doing.what), options)
  },

  /** PATCH by PATCH with Content-Range (distribution-spec, "Pushing a blob in chunks"). */
  async pieces(site, descriptor, session, body, options) {
    let location = session
    let offset = 0
    const whole = await body()
    for await (const piece of pieces(whole, PIECE)) {
      const request = siteRequest(site, `sending blob ${descriptor.digest}`, {
        method: 'PATCH',
        url: location,
        actions: 'pull,push',
        headers: { ...OCTETS, 'content-range': `${offset}-${offset + piece.byteLength - 1}` },
        body: () => piece,
        attempts: 1,
        signal: options.signal,
      })
      const answer = await site.client.request(request)
      if (!DONE.has(answer.status)) return { answer, refusal: () => site.client.refusal(request, answer) }
      await answer.drain()
      location = sessionOf(site, answer, request.doing.what)
      offset += piece.byteLength
      options.progress?.(offset)
    }
    return finish(site, descriptor, location, options)
  },
} satisfies Record<string, Send>

async function* pieces(body: RequestBody, size: number): AsyncGenerator<Uint8Array> {
  if (body instanceof Uint8Array) {
    for (let at = 0; at < body.byteLength; at += size) yield body.subarray(at, at + size)
    return
  }
  let parts: Uint8Array[] = []
  let length = 0
  for await (const chunk of body.stream as unknown as AsyncIterable<Uint8Array>) {
    parts.push(chunk)
    length += chunk.byteLength
    if (length < size) continue
    yield Buffer.concat(parts)
    parts = []
    length = 0
  }
  if (length > 0) yield Buffer.concat(parts)
}
