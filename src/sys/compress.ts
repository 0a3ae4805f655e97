import { compressMember, DEFAULT_LEVEL } from './compress-member.ts'
import { compressInPool, defaultWorkers, giveBuffer, MEMBER_SIZE, room, takeBuffer } from './compress-pool.ts'
import { createHasher, type Hasher } from './hash.ts'

export { MEMBER_SIZE } from './compress-pool.ts'
export { decompress, decompressMember, sniffCompression, withFirst } from './compress-reading.ts'

export interface CompressorOptions {
  readonly format: 'gzip' | 'zstd' | 'none'
  /** gzip 1–12 (default 6), zstd 1–22 (default 3). */
  readonly level?: number
  /** Most workers to use; the bytes do not depend on it. 0 compresses in this thread. Default: one per CPU. */
  readonly workers?: number
  /** Receives the compressed bytes in order. What it throws, `push` and `finish` throw. */
  readonly output: (chunk: Uint8Array) => void
}

export interface Compressed {
  /** Bytes that came out. */
  readonly size: number
  /** Bytes that went in, and their sha256 in hexadecimal. */
  readonly inputSize: number
  readonly inputSha256: string
  /** Where each member begins in the output: `members[i]` holds the input from i × MEMBER_SIZE. Empty for `none`. */
  readonly members: readonly number[]
}

/** Compresses in members of 1 MiB, each by itself, in workers that all compressors of the process share. */
export function createCompressor(options: CompressorOptions): Compressor {
  return new Compressor(options)
}

export class Compressor {
  readonly #options: CompressorOptions
  readonly #workers: number
  readonly #level: number
  readonly #hasher: Hasher = createHasher()
  readonly #members: number[] = []
  #buffer: ArrayBuffer | undefined
  #filled = 0
  #inputSize = 0
  #size = 0
  #tail: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined

  constructor(options: CompressorOptions) {
    this.#options = options
    this.#workers = options.workers ?? defaultWorkers
    this.#level = options.level ?? (options.format === 'none' ? 0 : DEFAULT_LEVEL[options.format])
  }

  /** Where the next input may be written directly (never empty); `wrote` says how much was. Valid until then. */
  space(): Uint8Array<ArrayBuffer> {
    this.#buffer ??= takeBuffer()
    return new Uint8Array(this.#buffer, this.#filled)
  }

  /** Takes the first `count` bytes of `space()`. Await the promise, if there is one, before going on: it bounds memory. */
  wrote(count: number): Promise<void> | undefined {
    this.#filled += count
    if (this.#filled < MEMBER_SIZE) return undefined
    this.#flush(false)
    return this.#wait()
  }

  /** Takes a copy of `chunk`. Await the promise, if there is one, before going on. */
  push(chunk: Uint8Array): Promise<void> | undefined {
    const space = this.space()
    if (chunk.length > space.length) return this.#pushMany(chunk)
    space.set(chunk)
    return this.wrote(chunk.length)
  }

  /** Compresses the rest and waits until all output is delivered. */
  async finish(): Promise<Compressed> {
    if (this.#filled > 0 || this.#inputSize === 0) this.#flush(true)
    await this.#tail
    if (this.#failure !== undefined) throw this.#failure.error
    this.#release()
    return {
      size: this.#size,
      inputSize: this.#inputSize,
      inputSha256: this.#hasher.hex(),
      members: this.#members,
    }
  }

  /** Gives up: no more output is delivered. */
  abort(): void {
    this.#failure ??= { error: new Error('compression was given up') }
    this.#release()
  }

  async #pushMany(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + this.space().length)
      at += part.length
      await this.push(part)
    }
  }

  #release(): void {
    if (this.#buffer !== undefined) giveBuffer(this.#buffer)
    this.#buffer = undefined
  }

  #wait(): Promise<void> | undefined {
    if (this.#failure !== undefined) return Promise.reject(this.#failure.error)
    return this.#tail === undefined ? undefined : room(this.#workers)
  }

  /** Compresses what is in the buffer; in this thread when it is all there is, so that small layers need no worker. */
  #flush(last: boolean): void {
    const buffer = this.#buffer ?? takeBuffer()
    const bytes = new Uint8Array(buffer, 0, this.#filled)
    const { format } = this.#options
    this.#hasher.update(bytes)
    this.#inputSize += this.#filled
    this.#filled = 0
    if (format === 'none') {
      this.#deliver(bytes)
      return
    }
    if (this.#workers === 0 || (last && this.#tail === undefined)) {
      this.#deliver(compressMember(bytes, format, this.#level))
      return
    }
    this.#buffer = undefined
    const job = compressInPool(buffer, bytes.length, format, this.#level, this.#workers)
    this.#tail = this.#inOrder(job, this.#tail)
  }

  async #inOrder(job: Promise<Uint8Array>, before: Promise<void> | undefined): Promise<void> {
    const [result] = await Promise.allSettled([job, before])
    if (result.status === 'fulfilled') this.#deliver(result.value)
    else this.#failure ??= { error: result.reason }
  }

  #deliver(chunk: Uint8Array): void {
    if (this.#failure !== undefined) return
    try {
      if (this.#options.format !== 'none') this.#members.push(this.#size)
      this.#size += chunk.length
      this.#options.output(chunk)
    } catch (error) {
      this.#failure = { error }
    }
  }
}
