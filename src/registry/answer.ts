import { cancelled } from '../errors/error.ts'

/** A limit on silence: armed while we wait for the other side, and only then. */
export class Watch {
  readonly #controller = new AbortController()
  readonly #signal: AbortSignal | undefined
  readonly #onAbort: () => void
  #timer: ReturnType<typeof setTimeout> | undefined
  #silence: Error | undefined

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal
    this.#onAbort = () => this.#controller.abort(cancelled(signal?.reason))
    if (signal?.aborted) throw cancelled(signal.reason)
    signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  arm(milliseconds: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#silence = Object.assign(new Error(`no answer for ${Math.round(milliseconds / 1000)} s`), {
        code: 'ETIMEDOUT',
      })
      this.#controller.abort(this.#silence)
    }, milliseconds)
  }

  pause(): void {
    clearTimeout(this.#timer)
  }

  /** The error to report for one that a request or a read threw. */
  explain(error: unknown): unknown {
    if (this.#signal?.aborted) return cancelled(this.#signal.reason)
    return this.#silence ?? error
  }

  abort(): void {
    this.end()
    this.#controller.abort()
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }
}

/** An answer whose body is not read yet. Each one has to be read to its end or discarded. */
export class Answer {
  readonly status: number
  readonly headers: Headers
  /** Where it came from in the end. */
  readonly url: URL
  /** No credentials went with the request. */
  anonymous = true
  attempts = 1
  readonly #response: Response
  readonly #watch: Watch
  readonly #idle: number
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  #bytes: Uint8Array | undefined

  constructor(response: Response, url: URL, watch: Watch, idle: number) {
    this.status = response.status
    this.headers = response.headers
    this.url = url
    this.#response = response
    this.#watch = watch
    this.#idle = idle
    if (response.body === null) watch.end()
  }

  /** The next piece of the body; undefined at its end. Throws what the network threw, ETIMEDOUT, CANCELLED. */
  async read(): Promise<Uint8Array | undefined> {
    if (this.#response.body === null) return undefined
    this.#reader ??= this.#response.body.getReader()
    this.#watch.arm(this.#idle)
    try {
      const { done, value } = await this.#reader.read()
      if (done) this.#watch.end()
      else this.#watch.pause()
      return done ? undefined : value
    } catch (error) {
      this.#watch.end()
      throw this.#watch.explain(error)
    }
  }

  /** The whole body; undefined when it is longer than `limit` (nothing of it can be used then). */
  async bytes(limit: number): Promise<Uint8Array | undefined> {
    if (this.#bytes !== undefined) return this.#bytes
    if (this.#response.body === null) return new Uint8Array(0)
    const length = Number(this.headers.get('content-length') ?? Number.NaN)
    if (length > limit) {
      this.discard()
      return undefined
    }
    if (length <= limit) {
      this.#watch.arm(this.#idle)
      try {
        this.#bytes = new Uint8Array(await this.#response.arrayBuffer())
        return this.#bytes
      } catch (error) {
        throw this.#watch.explain(error)
      } finally {
        this.#watch.end()
      }
    }
    const chunks: Uint8Array[] = []
    let size = 0
    for (;;) {
      const chunk = await this.read()
      if (chunk === undefined) break
      size += chunk.byteLength
      if (size > limit) {
        this.discard()
        return undefined
      }
      chunks.push(chunk)
    }
    this.#bytes = Buffer.concat(chunks, size)
    return this.#bytes
  }

  /** Drops the body without reading it; the connection goes with it. */
  discard(): void {
    if (this.#bytes === undefined) this.#watch.abort()
  }

  /** Ends an exchange whose body does not matter: a short one is read, so that the connection can be used again. */
  async drain(): Promise<void> {
    try {
      await this.bytes(64 * 1024)
    } catch {
      // The answer itself has arrived; that is all that was wanted.
    }
  }
}
