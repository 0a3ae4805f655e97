import { setTimeout as sleep } from 'node:timers/promises'
import { ArchimageError, cancelled, isArchimageError } from '../errors/error.ts'
import { algorithmOf } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { createHasher } from '../sys/hash.ts'
import type { Answer } from './answer.ts'
import { badAnswer, type MirrorAnswer, unreachable, withMirrors } from './failures.ts'
import { type Site, siteName, siteRequest } from './site.ts'

export interface ReadOptions {
  readonly signal?: AbortSignal
  readonly progress?: (bytes: number) => void
  readonly start?: number
}

/** Blobs up to this size are checked before the first byte is given out. */
const SMALL = 512 * 1024
/** A connection that brought this much before it was cut was a good one. */
const PROGRESS = 1024 * 1024

/**
 * Streams a blob from the first of `sites` that has it. Digest and size are checked on the way: the stream fails before
 * it ends when they do not hold; with `start` only the size can be checked. A cut connection is taken up again.
 * Throws NOT_FOUND when no site has it; `said` is what other mirrors answered before, for messages.
 */
export async function readBlob(
  sites: readonly Site[],
  descriptor: Descriptor,
  options: ReadOptions = {},
  said: readonly MirrorAnswer[] = [],
): Promise<ReadableStream<Uint8Array>> {
  const { size } = descriptor
  const start = options.start ?? 0
  if (start > size) throw new RangeError(`start ${start} is beyond the blob's ${size} bytes`)
  const reading = new BlobReading(sites, descriptor, start, options.signal, said)
  if (start === size) {
    if (start === 0) reading.check()
    return new ReadableStream({ start: controller => controller.close() })
  }
  await reading.open()
  const next = async (): Promise<Uint8Array | undefined> => {
    const chunk = await reading.next()
    if (chunk !== undefined) options.progress?.(reading.received)
    return chunk
  }
  if (start === 0 && size <= SMALL) {
    const chunks: Uint8Array[] = []
    for (let chunk = await next(); chunk !== undefined; chunk = await next()) chunks.push(chunk)
    const whole = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
    return new ReadableStream({
      start(controller) {
        controller.enqueue(whole)
        controller.close()
      },
    })
  }
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const chunk = await next()
        if (chunk === undefined) controller.close()
        else controller.enqueue(chunk)
      },
      cancel: () => reading.close(),
    },
    { highWaterMark: 0 },
  )
}

class BlobReading {
  received: number
  readonly #sites: readonly Site[]
  readonly #descriptor: Descriptor
  readonly #start: number
  readonly #signal: AbortSignal | undefined
  readonly #hasher
  #answer: Answer | undefined
  /** Bytes of the answer that we have already, when a server ignores Range. */
  #skip = 0
  #site = 0
  #tries = 0
  #since: number
  readonly #said: MirrorAnswer[]

  constructor(
    sites: readonly Site[],
    descriptor: Descriptor,
    start: number,
    signal: AbortSignal | undefined,
    said: readonly MirrorAnswer[],
  ) {
    this.#said = [...said]
    this.#sites = sites
    this.#descriptor = descriptor
    this.#start = start
    this.#signal = signal
    this.received = start
    this.#since = start
    this.#hasher = createHasher(algorithmOf(descriptor.digest))
  }

  get #what(): string {
    return `reading blob ${this.#descriptor.digest}`
  }

  /** Connects to the first site that has the blob, beginning with the current one. */
  async open(): Promise<void> {
    for (;;) {
      try {
        this.#answer = await this.#connect(this.#sites[this.#site]!)
        this.#since = this.received
        return
      } catch (error) {
        if (this.#signal?.aborted || !isArchimageError(error)) throw error
        if (this.#site + 1 >= this.#sites.length) throw withMirrors(error, this.#said)
        if (error.code === 'CANCELLED' || error.code === 'OFFLINE') throw error
        const { host, repository } = this.#sites[this.#site++]!
        if (error.code === 'REGISTRY_UNREACHABLE') host.dead = error
        const mirror = `${host.registry}/${repository}`
        this.#said.push(error.code === 'NOT_FOUND' ? { mirror } : { mirror, error })
      }
    }
  }

  async #connect(site: Site): Promise<Answer> {
    const { digest, size } = this.#descriptor
    const from = this.received
    const request = siteRequest(site, this.#what, {
      method: 'GET',
      path: `blobs/${digest}`,
      actions: 'pull',
      headers: from > 0 ? { range: `bytes=${from}-` } : {},
      signal: this.#signal,
    })
    const answer = await site.client.request(request)
    if (answer.status === 404) {
      await answer.drain()
      throw new ArchimageError('NOT_FOUND', `${siteName(site)}: blob ${digest} does not exist`, {
        hint: 'the image is incomplete there: push it again, or take it from elsewhere',
      })
    }
    if (answer.status !== 200 && answer.status !== 206) throw await site.client.refusal(request, answer)
    const length = answer.headers.get('content-length')
    if (answer.status === 206) {
      const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(answer.headers.get('content-range') ?? '')
      if (range === null || Number(range[1]) !== from) {
        answer.discard()
        throw badAnswer(request.doing, `bytes from ${from} were asked, "${answer.headers.get('content-range')}" came`)
      }
      this.#skip = 0
      if (range[3] !== '*' && Number(range[3]) !== size) throw this.#wrongSize(answer, site, Number(range[3]))
    } else {
      this.#skip = from
      if (length !== null && Number(length) !== size) throw this.#wrongSize(answer, site, Number(length))
    }
    return answer
  }

  /** The next bytes, checked as far as they can be; undefined after the last ones. */
  async next(): Promise<Uint8Array | undefined> {
    const { size } = this.#descriptor
    for (;;) {
      let chunk: Uint8Array | undefined
      let failure: unknown
      try {
        chunk = await this.#answer?.read()
      } catch (error) {
        if (this.#signal?.aborted || (isArchimageError(error) && error.code === 'CANCELLED'))
          throw cancelled(this.#signal?.reason)
        failure = error
      }
      if (chunk !== undefined) {
        const useful = this.#skip === 0 ? chunk : chunk.subarray(Math.min(this.#skip, chunk.byteLength))
        this.#skip -= chunk.byteLength - useful.byteLength
        if (useful.byteLength === 0) continue
        this.received += useful.byteLength
        if (this.received > size) throw this.#wrongSize(this.#answer, this.#sites[this.#site]!, undefined)
        this.#hasher.update(useful)
        return useful
      }
      if (this.received === size) {
        this.check()
        return undefined
      }
      await this.#again(failure)
    }
  }

  async #again(failure: unknown): Promise<void> {
    const site = this.#sites[this.#site]!
    const { tuning } = site.client
    this.#tries = this.received - this.#since >= PROGRESS ? 1 : this.#tries + 1
    // An answer that ends in order, too short, is what the server has: one more question is enough.
    if (this.#tries >= (failure === undefined ? 2 : tuning.attempts)) {
      if (this.#site + 1 < this.#sites.length) {
        this.#site++
        this.#tries = 0
      } else if (failure === undefined)
        throw this.#wrong(site, `it ends after ${this.received} of ${this.#descriptor.size} bytes`)
      else
        throw unreachable(
          { registry: site.host.registry, repository: site.repository, what: this.#what },
          this.#answer?.url.host ?? site.host.authority,
          failure,
          this.#tries,
        )
    }
    const wait = tuning.backoff * 2 ** Math.max(0, this.#tries - 1)
    await sleep(wait, undefined, this.#signal ? { signal: this.#signal } : {}).catch(error => {
      throw cancelled(error)
    })
    await this.open()
  }

  check(): void {
    if (this.#start > 0) return
    const { digest } = this.#descriptor
    const hex = this.#hasher.hex()
    if (hex !== digest.slice(digest.indexOf(':') + 1))
      throw this.#wrong(this.#sites[this.#site]!, `its bytes have the digest ${algorithmOf(digest)}:${hex}`)
  }

  #wrongSize(answer: Answer | undefined, site: Site, size: number | undefined): ArchimageError {
    answer?.discard()
    return this.#wrong(site, `it has ${size ?? 'more'} bytes, the manifest says ${this.#descriptor.size}`)
  }

  #wrong(site: Site, why: string): ArchimageError {
    return new ArchimageError('DIGEST_MISMATCH', `${siteName(site)}: blob ${this.#descriptor.digest}: ${why}`, {
      hint: 'the content there, or on the way, is damaged: try again, or push it anew from a good source',
      details: { registry: site.host.registry, repository: site.repository, digest: this.#descriptor.digest },
    })
  }

  close(): void {
    this.#answer?.discard()
  }
}
