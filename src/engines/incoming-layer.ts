import { ArchimageError } from '../errors/error.ts'
import { algorithmOf, type Digest } from '../oci/digest.ts'
import type { Compression } from '../oci/media-types.ts'
import type { Store } from '../store/store.ts'
import type { BlobWriter } from '../store/types.ts'
import { type Compressor, createCompressor, sniffCompression } from '../sys/compress.ts'

export interface IncomingOptions {
  readonly store: Store
  /** Whose archive it is in, for messages: "docker". */
  readonly from: string
  /** How layers that are not compressed get compressed. */
  readonly compression: Compression
  readonly level?: number
  readonly workers?: number
}

/** The blob of a layer as it lies in the store. */
export interface LayerFile {
  readonly kind: 'blob'
  readonly digest: Digest
  readonly size: number
  readonly compression: Compression
  /** Where each compressed member begins, when it was compressed here. */
  readonly members?: readonly number[]
}

/** What `sniffCompression` wants to see. */
const HEAD = 6

/** A layer on its way into the store: as it is when it is compressed already, else compressed as is wanted. */
export class IncomingLayer {
  readonly #options: IncomingOptions
  /** What the archive calls the blob by; that of a plain tar is its diff ID. */
  readonly #digest: Digest | undefined
  #head = Buffer.alloc(0)
  #writer: BlobWriter | undefined
  #compressor: Compressor | undefined
  #compression: Compression = 'none'
  #size = 0
  #pushing: Promise<void> | undefined

  constructor(options: IncomingOptions, digest: Digest | undefined) {
    this.#options = options
    this.#digest = digest
  }

  /** Takes a copy of `chunk`. Await the promise, if there is one, before going on. */
  push(chunk: Uint8Array): Promise<void> | undefined {
    if (this.#writer) return this.#write(chunk)
    this.#head = Buffer.concat([this.#head, chunk])
    return this.#head.length < HEAD ? undefined : this.#start()
  }

  async end(): Promise<LayerFile> {
    if (!this.#writer) await this.#start()
    const [digest, compression, writer] = [this.#digest, this.#compression, this.#writer!]
    if (!this.#compressor)
      return { kind: 'blob', ...writer.commit(digest && { digest, size: this.#size }), compression }
    await this.#pushing
    const { members, inputSha256 } = await this.#compressor.finish()
    if (digest?.startsWith('sha256:') && digest !== `sha256:${inputSha256}`) {
      writer.abort()
      throw new ArchimageError('DIGEST_MISMATCH', `the archive of ${this.#options.from}: ${digest} is not what it says`)
    }
    return { kind: 'blob', ...writer.commit(), compression, members }
  }

  abort(): void {
    this.#compressor?.abort()
    this.#writer?.abort()
  }

  #start(): Promise<void> | undefined {
    const { store, compression, level, workers } = this.#options
    const sniffed = sniffCompression(this.#head)
    const plain = sniffed !== 'gzip' && sniffed !== 'zstd'
    const writer = store.create(plain || !this.#digest ? 'sha256' : algorithmOf(this.#digest))
    this.#writer = writer
    this.#compression = plain ? compression : sniffed
    if (plain && compression !== 'none')
      this.#compressor = createCompressor({
        format: compression,
        ...(level === undefined ? {} : { level }),
        ...(workers === undefined ? {} : { workers }),
        output: bytes => writer.write(bytes),
      })
    return this.#head.length > 0 ? this.#write(this.#head) : undefined
  }

  #write(chunk: Uint8Array): Promise<void> | undefined {
    this.#size += chunk.length
    if (this.#compressor) {
      this.#pushing = this.#compressor.push(chunk)
      return this.#pushing
    }
    this.#writer!.write(chunk)
    return undefined
  }
}
