import { ArchimageError, cancelled, isArchimageError } from '../errors/error.ts'
import type { Descriptor } from '../oci/manifest.ts'
import {
  askSession,
  DONE,
  dropSession,
  newSession,
  type Session,
  send,
  startSession,
  type WriteOptions,
} from './blob-sending.ts'
import type { RequestBody } from './exchange.ts'
import { type Site, siteRequest } from './site.ts'

export type { WriteOptions } from './blob-sending.ts'

/** Bytes that can be produced again for another attempt; each call gives a fresh stream. */
export type BodySource = () => ReadableStream<Uint8Array> | Promise<ReadableStream<Uint8Array>>

/** Up to this size a blob is held in memory, so that another attempt needs no new stream. */
const SMALL = 256 * 1024
/** Answers by which servers say that they do not take a blob in one PUT. */
const NOT_WHOLE = new Set([404, 405, 411, 413, 415, 416, 501])
/** Answers to the rest of an upload that say that it is no use. */
const NO_REST = new Set([400, 405, 411, 415, 501])
const SMALLEST_PIECE = 512 * 1024
/** An attempt that brought this much before it broke off was a good one. */
const PROGRESS = 1024 * 1024

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
  const own = `${repository} ${digest}`
  for (;;) {
    if (host.holds(digest, repository)) return 'exists'
    // With a holder known, repositories mount side by side; without one, the first brings it and the others wait.
    const known = (host.holders.get(digest)?.size ?? 0) > 0
    const before = host.bringing.get(own) ?? (known ? undefined : host.bringing.get(digest))
    if (before === undefined) break
    await untilAborted(before, options.signal)
  }
  const work = bring(site, descriptor, body, options)
  for (const key of [own, digest]) host.bringing.set(key, work)
  try {
    const how = await work
    host.remember(digest, repository)
    return how
  } finally {
    for (const key of [own, digest]) if (host.bringing.get(key) === work) host.bringing.delete(key)
  }
}

/** Waits for the end of `work`, however it ends. */
async function untilAborted(work: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  const quiet = work.then(
    () => {},
    () => {},
  )
  if (signal === undefined) return quiet
  let stop = () => {}
  const aborted = new Promise<void>(resolve => {
    stop = resolve
    signal.addEventListener('abort', stop, { once: true })
  })
  await Promise.race([quiet, aborted])
  signal.removeEventListener('abort', stop)
  if (signal.aborted) throw cancelled(signal.reason)
}

async function bring(site: Site, descriptor: Descriptor, body: BodySource, options: WriteOptions) {
  const { host, repository } = site
  if (await blobExists(site, descriptor, options.signal, 'pull,push')) return 'exists'
  const candidates = new Set([...(host.holders.get(descriptor.digest) ?? []), ...(options.from ?? [])])
  candidates.delete(repository)
  let session: Session | undefined
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
): Promise<{ readonly mounted: boolean; readonly location?: Session }> {
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
    return { mounted: false, location: newSession(site, answer, request.doing.what) }
  } catch (error) {
    // GitLab, for one, refuses a token for both repositories.
    if (isArchimageError(error) && ['UNAUTHORIZED', 'REGISTRY_ERROR', 'REGISTRY_ANSWER'].includes(error.code))
      return { mounted: false }
    throw error
  }
}

async function upload(
  site: Site,
  descriptor: Descriptor,
  source: BodySource,
  options: WriteOptions,
  started: Session | undefined,
): Promise<'exists' | 'uploaded'> {
  const { host, client } = site
  const { digest, size } = descriptor
  const { signal } = options
  const small = size <= SMALL ? await collect(await source(), descriptor) : undefined
  const from = async (start: number) =>
    start > 0 && options.tail !== undefined ? options.tail(start) : skip(await source(), start)
  const body = async (start: number): Promise<RequestBody> =>
    small?.subarray(start) ?? { stream: await from(start), size: size - start }
  let session = started
  let way = host.upload
  const moved = (after: Session) => {
    session = after
  }
  for (let attempt = 1; ; attempt++) {
    const last = attempt >= client.tuning.attempts
    const resumed = session !== undefined && session.held > 0
    let outOfStep = false
    try {
      session ??= await startSession(site, `sending blob ${digest}`, signal)
      const { answer, refusal } = await send[way](site, descriptor, session, body, { ...options, moved })
      if (DONE.has(answer.status)) {
        await answer.drain()
        host.upload = way
        options.progress?.(size)
        return 'uploaded'
      }
      const { status } = answer
      const error = await refusal()
      const codes = (error.details['codes'] ?? []) as readonly string[]
      const content = codes.some(
        code => code === 'DIGEST_INVALID' || code === 'SIZE_INVALID' || code === 'NAME_INVALID',
      )
      const lost = codes.includes('BLOB_UPLOAD_UNKNOWN')
      // It cannot take the rest of an upload after all, or took it wrongly.
      if (resumed && !lost && (content || NO_REST.has(status)) && !last) {
        host.resumes = false
        session = undefined
        continue
      }
      // A server that cannot take it whole says so with one of many codes.
      if (
        way !== 'pieces' &&
        !content &&
        !lost &&
        (NOT_WHOLE.has(status) || codes.includes('UNSUPPORTED')) &&
        !resumed
      ) {
        way = way === 'put' && status !== 413 ? 'patch' : 'pieces'
        session = undefined
        continue
      }
      if (way === 'pieces' && status === 413 && host.piece > SMALLEST_PIECE && !last) {
        host.piece /= 4
        continue
      }
      const gone = lost || status === 404 || status === 416 || status === 499
      if (last || content || !(gone || status >= 500 || status === 408 || status === 429)) throw error
      outOfStep = status === 416
    } catch (error) {
      if (!isArchimageError(error) || error.code !== 'REGISTRY_UNREACHABLE' || last || host.lost) throw error
    }
    // The answer may have been lost after the blob had arrived.
    host.hold(client.tuning.backoff * 2 ** (attempt - 1))
    if (await blobExists(site, descriptor, signal, 'pull,push')) return 'exists'
    const before: Session | undefined = session
    session = before && host.resumes && small === undefined ? await askSession(site, before, size, signal) : undefined
    if (session === undefined || before === undefined) continue
    // It says the same again, and does not take what follows: another request may hang in it.
    if (outOfStep && session.held === before.held) session = undefined
    else if (session.held - before.held >= PROGRESS) attempt = 0
  }
}

/** The stream without its first bytes. */
function skip(stream: ReadableStream<Uint8Array>, bytes: number): ReadableStream<Uint8Array> {
  if (bytes === 0) return stream
  const reader = stream.getReader()
  let left = bytes
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        for (;;) {
          const { done, value } = await reader.read()
          if (done) return controller.close()
          const rest = value.subarray(Math.min(left, value.byteLength))
          left -= value.byteLength - rest.byteLength
          if (rest.byteLength > 0) return controller.enqueue(rest)
        }
      },
      cancel: reason => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  )
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
