import { ArchimageError, isArchimageError } from '../errors/error.ts'
import type { Descriptor } from '../oci/manifest.ts'
import type { Answer } from './answer.ts'
import type { RequestBody } from './client.ts'
import { badAnswer } from './failures.ts'
import { type Site, siteRequest } from './site.ts'

/** Bytes that can be produced again for another attempt; each call gives a fresh stream. */
export type BodySource = () => ReadableStream<Uint8Array> | Promise<ReadableStream<Uint8Array>>

export interface WriteOptions {
  readonly signal?: AbortSignal
  readonly progress?: (bytes: number) => void
  readonly from?: readonly string[]
}

/** Up to this size a blob is held in memory, so that another attempt needs no new stream. */
const SMALL = 256 * 1024
/** Size of the parts when a proxy refuses big requests. */
const PIECE = 8 * 1024 * 1024

/** Answers by which servers say that they do not take a blob in one PUT. */
const NOT_WHOLE = new Set([404, 405, 411, 413, 415, 416, 501])
const DONE = new Set([200, 201, 202, 204])

/**
 * Brings a blob into a repository: nothing when it is there, a mount when a repository of the same host has it, else its
 * bytes. The same blob never goes to a host twice at a time; the second repository waits and mounts.
 */
export async function writeBlob(
  site: Site,
  descriptor: Descriptor,
  body: BodySource,
  options: WriteOptions = {},
): Promise<'exists' | 'mounted' | 'uploaded'> {
  const { host, repository } = site
  const { digest } = descriptor
  for (;;) {
    if (host.holds(digest, repository)) return 'exists'
    const other = host.uploading.get(digest)
    if (other === undefined) break
    await other.catch(() => {})
  }
  const work = bring(site, descriptor, body, options)
  host.uploading.set(digest, work)
  try {
    const how = await work
    host.remember(digest, repository)
    return how
  } finally {
    host.uploading.delete(digest)
  }
}

async function bring(site: Site, descriptor: Descriptor, body: BodySource, options: WriteOptions) {
  const { host, repository } = site
  if (await blobExists(site, descriptor, options.signal, 'pull,push')) return 'exists'
  const candidates = new Set([...(host.holders.get(descriptor.digest) ?? []), ...(options.from ?? [])])
  candidates.delete(repository)
  let session: URL | undefined
  for (const from of [...candidates].slice(0, 2)) {
    const { mounted, location } = await mount(site, descriptor, from, options.signal)
    if (mounted) return 'mounted'
    if (session !== undefined && location !== undefined) await dropSession(site, session, options.signal)
    session = location ?? session
  }
  return upload(site, descriptor, body, options, session)
}

/** HEAD; a blob that is there with another size counts as absent. */
export async function blobExists(
  site: Site,
  descriptor: Descriptor,
  signal: AbortSignal | undefined,
  actions: 'pull' | 'pull,push' = 'pull',
): Promise<boolean> {
  const request = siteRequest(site, `looking for blob ${descriptor.digest}`, {
    method: 'HEAD',
    path: `blobs/${descriptor.digest}`,
    actions,
    signal,
  })
  const answer = await site.client.request(request)
  await answer.drain()
  if (answer.status === 404) return false
  // Some servers only know GET; when writing, an upload of what is there does no harm.
  if ((answer.status === 405 || answer.status === 501) && actions === 'pull,push') return false
  if (answer.status !== 200) throw await site.client.refusal(request, answer)
  const length = answer.headers.get('content-length')
  return length === null || answer.headers.has('content-encoding') || Number(length) === descriptor.size
}

/** Without the right to read `from`, or without mounts at all, the answer is an upload session or nothing. */
async function mount(
  site: Site,
  { digest }: Descriptor,
  from: string,
  signal: AbortSignal | undefined,
): Promise<{ readonly mounted: boolean; readonly location?: URL }> {
  const request = siteRequest(site, `mounting blob ${digest} from ${from}`, {
    method: 'POST',
    path: `blobs/uploads/?mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(from)}`,
    actions: 'pull,push',
    moreScopes: [`repository:${from}:pull`],
    attempts: 2,
    signal,
  })
  try {
    const answer = await site.client.request(request)
    await answer.drain()
    if (answer.status === 201) return { mounted: true }
    if (answer.status !== 202) return { mounted: false }
    return { mounted: false, location: sessionOf(site, answer, request.doing.what) }
  } catch (error) {
    // GitLab, for one, refuses a token for both repositories.
    if (isArchimageError(error) && ['UNAUTHORIZED', 'REGISTRY_ERROR', 'REGISTRY_ANSWER'].includes(error.code))
      return { mounted: false }
    throw error
  }
}

async function dropSession(site: Site, session: URL, signal: AbortSignal | undefined): Promise<void> {
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

async function startSession(site: Site, what: string, signal: AbortSignal | undefined): Promise<URL> {
  const request = siteRequest(site, what, { method: 'POST', path: 'blobs/uploads/', actions: 'pull,push', signal })
  const answer = await site.client.request(request)
  if (answer.status !== 202) throw await site.client.refusal(request, answer)
  await answer.drain()
  return sessionOf(site, answer, what)
}

/** Where an upload goes on: relative or absolute, its query kept (distribution-spec, "Pushing blobs"). */
function sessionOf(site: Site, answer: Answer, what: string): URL {
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

async function upload(
  site: Site,
  descriptor: Descriptor,
  source: BodySource,
  options: WriteOptions,
  session: URL | undefined,
): Promise<'exists' | 'uploaded'> {
  const { host, client } = site
  const { digest, size } = descriptor
  const what = `sending blob ${digest}`
  const small = size <= SMALL ? await collect(await source(), descriptor) : undefined
  const body = async (): Promise<RequestBody> => small ?? { stream: await source(), size }
  let next = session
  let way = host.upload
  for (let attempt = 1; ; attempt++) {
    const last = attempt >= client.tuning.attempts
    try {
      next ??= await startSession(site, what, options.signal)
      const { answer, refusal } = await send[way](site, descriptor, next, body, options)
      next = undefined
      if (DONE.has(answer.status)) {
        await answer.drain()
        host.upload = way
        options.progress?.(size)
        return 'uploaded'
      }
      const error = await refusal()
      const codes = (error.details['codes'] ?? []) as readonly string[]
      const content = codes.some(
        code => code === 'DIGEST_INVALID' || code === 'SIZE_INVALID' || code === 'NAME_INVALID',
      )
      const lost = codes.includes('BLOB_UPLOAD_UNKNOWN')
      // A server that cannot take it whole says so with one of many codes.
      if (way !== 'pieces' && !content && !lost && (NOT_WHOLE.has(answer.status) || codes.includes('UNSUPPORTED'))) {
        way = way === 'put' && answer.status !== 413 ? 'patch' : 'pieces'
        continue
      }
      const gone = lost || answer.status === 404 || answer.status === 416 || answer.status === 499
      if (last || content || !(gone || answer.status >= 500 || answer.status === 408 || answer.status === 429))
        throw error
    } catch (error) {
      next = undefined
      if (!isArchimageError(error) || error.code !== 'REGISTRY_UNREACHABLE' || last) throw error
    }
    // The answer may have been lost after the blob had arrived.
    host.hold(client.tuning.backoff * 2 ** (attempt - 1))
    if (await blobExists(site, descriptor, options.signal, 'pull,push')) return 'exists'
  }
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

const send = {
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

async function collect(stream: ReadableStream<Uint8Array>, descriptor: Descriptor): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let length = 0
  for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>) {
    length += chunk.byteLength
    if (length > descriptor.size) break
    parts.push(chunk)
  }
  if (length !== descriptor.size)
    throw new ArchimageError(
      'DIGEST_MISMATCH',
      `blob ${descriptor.digest}: the source has another size than ${descriptor.size} bytes`,
      {
        hint: 'the source changed or is damaged',
      },
    )
  return Buffer.concat(parts)
}
