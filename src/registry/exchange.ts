import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { httpFetch } from '../sys/http-client.ts'
import { Answer, Watch } from './answer.ts'
import type { Host } from './host.ts'

/** What a request sends: bytes, or a stream of so many bytes. Made anew for each attempt. */
export type RequestBody = Uint8Array | { readonly stream: ReadableStream<Uint8Array>; readonly size: number }

/** How long the other side may be silent, in milliseconds. */
export interface Silence {
  /** While it is sending or receiving. */
  readonly idle: number
  /** The same for a host that never answered before. */
  readonly connect: number
  /** For the answer to an upload: registries move big blobs between buckets before they answer. */
  readonly finish: number
}

interface ExchangeRequest {
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body: RequestBody | undefined
  readonly proxy: string | undefined
  readonly progress: ((bytes: number) => void) | undefined
  readonly signal: AbortSignal | undefined
  /** What is being done, for messages. */
  readonly what: string
}

/** What happens to the body that a request sends. */
interface Source {
  failure?: { readonly error: unknown }
  answered: boolean
}

/** The network failed on the way to a host, which after a redirect need not be the registry. */
export class Unreached extends Error {
  readonly authority: string
  /** `http:` or `https:`, as it was tried. */
  readonly protocol: string

  constructor(authority: string, protocol: string, cause: unknown) {
    super(`${authority} cannot be reached`, { cause })
    this.authority = authority
    this.protocol = protocol
  }
}

/**
 * One request and the head of its answer. Throws Unreached when the network fails, what the body's source threw,
 * DIGEST_MISMATCH when the source has another size than it promised, CANCELLED.
 */
export async function exchange(host: Host, request: ExchangeRequest, silence: Silence): Promise<Answer> {
  const { method, url, headers, body, proxy } = request
  const streaming = body !== undefined && !(body instanceof Uint8Array)
  const size = streaming ? body.size : body?.byteLength
  const watch = new Watch(request.signal)
  const source: Source = { answered: false }
  const sent = streaming ? outgoing(body, watch, source, request, silence) : body
  const gate = streaming ? host.uploads : host.requests
  await gate.enter()
  try {
    watch.arm(host.answered && !host.lost ? silence.idle : silence.connect)
    const response = await httpFetch({
      method,
      url: url.href,
      headers: {
        'user-agent': 'archimage',
        'accept-encoding': 'identity',
        ...headers,
        ...(size === undefined ? {} : { 'content-length': String(size) }),
      },
      ...(sent === undefined ? {} : { body: sent }),
      signal: watch.signal,
      ...(url.protocol === 'https:' && host.tls !== undefined ? { tls: host.tls } : {}),
      ...(proxy === undefined ? {} : { proxy }),
    })
    source.answered = true
    host.answered = true
    host.found()
    watch.pause()
    return new Answer(response, url, watch, silence.idle)
  } catch (error) {
    watch.end()
    source.answered = true
    if (sent instanceof ReadableStream) sent.cancel().catch(() => {})
    if (source.failure !== undefined) throw source.failure.error
    const told = watch.explain(error)
    throw isArchimageError(told) ? told : new Unreached(host.authority, url.protocol, told)
  } finally {
    gate.leave()
  }
}

/** Counts what goes out, and watches the other side only while it is its turn. */
function outgoing(
  body: { readonly stream: ReadableStream<Uint8Array>; readonly size: number },
  watch: Watch,
  source: Source,
  { what, progress }: ExchangeRequest,
  { idle, finish }: Silence,
): ReadableStream<Uint8Array> {
  const reader = body.stream.getReader()
  let sent = 0
  const fail = (error: unknown): never => {
    source.failure = { error }
    throw error
  }
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (!source.answered) watch.pause()
        const { done, value } = await reader.read().catch(fail)
        sent += value?.byteLength ?? 0
        if (sent > body.size || (done && sent < body.size)) {
          reader.cancel().catch(() => {})
          fail(
            new ArchimageError(
              'DIGEST_MISMATCH',
              `${what}: the source has ${done ? sent : 'more'} bytes, ${body.size} were promised`,
              { hint: 'the source changed or is damaged' },
            ),
          )
        }
        // An early refusal ends the exchange while the source is still being asked.
        if (!source.answered) watch.arm(sent === body.size ? finish : idle)
        if (done) {
          controller.close()
          return
        }
        controller.enqueue(value)
        progress?.(sent)
      },
      cancel: reason => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  )
}
