import { type ArchimageError, isArchimageError } from '../errors/error.ts'
import type { Descriptor } from '../oci/manifest.ts'
import type { Answer } from './answer.ts'
import type { RequestBody } from './exchange.ts'
import { badAnswer } from './failures.ts'
import { type Site, siteRequest } from './site.ts'

export interface WriteOptions {
  readonly signal?: AbortSignal
  readonly progress?: (bytes: number) => void
  readonly from?: readonly string[]
  /** As in `PutBlobOptions` of transports. */
  readonly tail?: (start: number) => ReadableStream<Uint8Array> | Promise<ReadableStream<Uint8Array>>
}

/** Parts larger than this are not held in memory. */
const MAX_PIECE = 64 * 1024 * 1024
export const DONE: ReadonlySet<number> = new Set([200, 201, 202, 204])

/** An upload between its POST and its PUT. */
export interface Session {
  readonly url: URL
  /** Bytes of the blob that the registry has of it, as it says. */
  readonly held: number
  /** OCI-Chunk-Min-Length: what a part that is not the last one has to have. */
  readonly smallest: number
}

/** Its failure does no harm: sessions end by themselves. */
export async function dropSession(site: Site, { url }: Session, signal: AbortSignal | undefined): Promise<void> {
  const request = siteRequest(site, 'ending an upload', {
    method: 'DELETE',
    url,
    actions: 'pull,push',
    attempts: 1,
    signal,
  })
  await site.client.request(request).then(
    answer => answer.drain(),
    () => {},
  )
}

export async function startSession(site: Site, what: string, signal: AbortSignal | undefined): Promise<Session> {
  const request = siteRequest(site, what, { method: 'POST', path: 'blobs/uploads/', actions: 'pull,push', signal })
  const answer = await site.client.request(request)
  if (answer.status !== 202) throw await site.client.refusal(request, answer)
  await answer.drain()
  return newSession(site, answer, what)
}

export function newSession(site: Site, answer: Answer, what: string): Session {
  const smallest = Number(answer.headers.get('oci-chunk-min-length') ?? 0)
  return { url: sessionOf(site, answer, what), held: 0, smallest: Number.isSafeInteger(smallest) ? smallest : 0 }
}

/**
 * What an upload that broke off has come to; undefined where it cannot go on. Registries that keep nothing of a request
 * that broke off say `0-0`, others have forgotten the session.
 */
export async function askSession(
  site: Site,
  session: Session,
  size: number,
  signal: AbortSignal | undefined,
): Promise<Session | undefined> {
  const what = 'asking for the state of an upload'
  const request = siteRequest(site, what, {
    method: 'GET',
    url: session.url,
    actions: 'pull,push',
    attempts: 2,
    signal,
  })
  try {
    const answer = await site.client.request(request)
    await answer.drain()
    const end = Number(/^(?:bytes[= ])?0-(\d{1,15})$/.exec(answer.headers.get('range') ?? '')?.[1] ?? 0)
    if (!DONE.has(answer.status) || end === 0 || end >= size) return undefined
    const moved = answer.headers.has('location')
    return { ...session, held: end + 1, url: moved ? sessionOf(site, answer, what) : session.url }
  } catch (error) {
    if (isArchimageError(error) && error.code === 'CANCELLED') throw error
    return undefined
  }
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

export interface Sent {
  readonly answer: Answer
  /** The session as it is after this: later requests go there. */
  readonly session: Session
  readonly refusal: () => Promise<ArchimageError>
}

/** The blob's bytes from an offset on, made anew for each attempt. */
export type BodyFrom = (start: number) => Promise<RequestBody>

type Send = (
  site: Site,
  descriptor: Descriptor,
  session: Session,
  body: BodyFrom,
  options: WriteOptions & { readonly moved: (session: Session) => void },
) => Promise<Sent>

const OCTETS = { 'content-type': 'application/octet-stream' }

function withDigest(session: URL, digest: string): URL {
  const url = new URL(session)
  // Written by hand: searchParams would encode the rest of the query anew, and some servers sign it.
  url.search = `${url.search === '' ? '?' : `${url.search}&`}digest=${encodeURIComponent(digest)}`
  return url
}

/** The PUT that ends an upload, with all of the blob or with nothing more. */
async function finish(
  site: Site,
  { digest, size }: Descriptor,
  session: Session,
  body: (() => Promise<RequestBody>) | undefined,
  options: WriteOptions,
): Promise<Sent> {
  const request = siteRequest(site, `sending blob ${digest}`, {
    method: 'PUT',
    url: withDigest(session.url, digest),
    actions: 'pull,push',
    headers: OCTETS,
    body: body === undefined || size === 0 ? () => new Uint8Array(0) : body,
    attempts: 1,
    signal: options.signal,
    ...(body === undefined ? {} : { progress: options.progress }),
  })
  const answer = await site.client.request(request)
  return { answer, session, refusal: () => site.client.refusal(request, answer) }
}

/** PATCHes of the given part; a `Sent` only where it is refused. */
async function append(
  site: Site,
  { digest }: Descriptor,
  session: Session,
  part: { readonly body: () => Promise<RequestBody> | RequestBody; readonly length: number; readonly range: boolean },
  { signal, progress }: WriteOptions,
): Promise<Sent | Session> {
  const { held } = session
  const request = siteRequest(site, `sending blob ${digest}`, {
    method: 'PATCH',
    url: session.url,
    actions: 'pull,push',
    headers: { ...OCTETS, ...(part.range ? { 'content-range': `${held}-${held + part.length - 1}` } : {}) },
    body: part.body,
    attempts: 1,
    signal,
    progress: bytes => progress?.(held + bytes),
  })
  const answer = await site.client.request(request)
  if (!DONE.has(answer.status)) return { answer, session, refusal: () => site.client.refusal(request, answer) }
  await answer.drain()
  // Its Range is not looked at: ECR's lags behind. What is wrong shows in the digest.
  const moved = answer.headers.has('location')
  return {
    ...session,
    url: moved ? sessionOf(site, answer, request.doing.what) : session.url,
    held: held + part.length,
  }
}

/** The ways to bring the bytes of a blob into an upload session; all go on where the session is. */
export const send: Readonly<Record<'put' | 'patch' | 'pieces', Send>> = {
  /** One PUT with everything. */
  async put(site, descriptor, session, body, options) {
    if (session.held > 0) return send.patch(site, descriptor, session, body, options)
    return finish(site, descriptor, session, () => body(0), options)
  },

  /** One PATCH with everything, as docker does, or with the rest; then an empty PUT. */
  async patch(site, descriptor, session, body, options) {
    const length = descriptor.size - session.held
    if (length === 0) return finish(site, descriptor, session, undefined, options)
    const part = { body: () => body(session.held), length, range: session.held > 0 }
    const after = await append(site, descriptor, session, part, options)
    if ('answer' in after) return after
    options.moved(after)
    return finish(site, descriptor, after, undefined, options)
  },

  /** PATCH by PATCH with Content-Range (distribution-spec, "Pushing a blob in chunks"). */
  async pieces(site, descriptor, session, body, options) {
    // What cannot be held in memory goes as one part, which every minimum allows.
    if (session.smallest > MAX_PIECE) return send.patch(site, descriptor, session, body, options)
    let at = session
    const rest = await body(at.held)
    for await (const piece of pieces(rest, Math.max(site.host.piece, session.smallest))) {
      const part = { body: () => piece, length: piece.byteLength, range: true }
      const after = await append(site, descriptor, at, part, options)
      if ('answer' in after) return after
      at = after
      options.moved(at)
      options.progress?.(at.held)
    }
    return finish(site, descriptor, at, undefined, options)
  },
}

/** Parts of exactly this size; the last one may be smaller. */
async function* pieces(body: RequestBody, size: number): AsyncGenerator<Uint8Array> {
  if (body instanceof Uint8Array) {
    for (let at = 0; at < body.byteLength; at += size) yield body.subarray(at, at + size)
    return
  }
  let parts: Uint8Array[] = []
  let missing = size
  for await (let chunk of body.stream as unknown as AsyncIterable<Uint8Array>) {
    while (chunk.byteLength >= missing) {
      yield Buffer.concat([...parts, chunk.subarray(0, missing)])
      chunk = chunk.subarray(missing)
      parts = []
      missing = size
    }
    if (chunk.byteLength > 0) parts.push(chunk)
    missing -= chunk.byteLength
  }
  if (parts.length > 0) yield Buffer.concat(parts)
}
