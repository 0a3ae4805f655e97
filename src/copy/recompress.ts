import { closeSync, existsSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemError } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { compressionOf, layerType } from '../oci/media-types.ts'
import { createCompressor, decompress } from '../sys/compress.ts'
import { removeFile, writeAll } from '../sys/files.ts'
import { createHasher } from '../sys/hash.ts'
import type { Recompression } from './request.ts'

/** No layer is that large; a bomb ends here. */
const LIMIT = 256 * 2 ** 30
const CHUNK = 256 * 1024

interface Recompressed {
  readonly descriptor: Descriptor
  readonly body: () => ReadableStream<Uint8Array>
}

/**
 * Compresses layers anew, each once in a run, into temporary files: what a layer will be called is known at its end only.
 * The bytes depend on those of the layer and on the format alone. Close it.
 */
export class Recompressor {
  readonly #done = new Map<string, Promise<Recompressed>>()
  readonly #files: { readonly fd: number; readonly path: string }[] = []
  #folder: string | undefined
  #turn: Promise<unknown> = Promise.resolve()

  /** `open` gives the layer's bytes, checked. */
  layer(
    layer: Descriptor,
    to: Recompression,
    docker: boolean,
    open: () => Promise<ReadableStream<Uint8Array>>,
    signal: AbortSignal,
  ): Promise<Recompressed> {
    const key = `${layer.digest} ${to.format} ${to.level} ${docker}`
    let work = this.#done.get(key)
    if (work === undefined) {
      // One at a time: each has all processors.
      work = this.#turn.then(() => this.#compress(layer, to, docker, open, signal))
      this.#turn = work.catch(() => {})
      this.#done.set(key, work)
    }
    return work
  }

  async #compress(
    layer: Descriptor,
    { format, level }: Recompression,
    docker: boolean,
    open: () => Promise<ReadableStream<Uint8Array>>,
    signal: AbortSignal,
  ): Promise<Recompressed> {
    const now = compressionOf(layer.mediaType)!
    const fd = this.#file()
    const hasher = createHasher()
    const compressor = createCompressor({
      format,
      ...(level === undefined ? {} : { level }),
      output: chunk => {
        hasher.update(chunk)
        writeAll(fd, chunk)
      },
    })
    try {
      const source = (await open()) as unknown as AsyncIterable<Uint8Array>
      const name = `source: layer ${layer.digest}`
      for await (const chunk of decompress(now, source, { name, limit: LIMIT, signal })) await compressor.push(chunk)
      const { size } = await compressor.finish()
      const digest: Digest = `sha256:${hasher.hex()}`
      return {
        descriptor: { mediaType: layerType(format, docker), digest, size },
        body: () => streamOf(fd, size),
      }
    } catch (error) {
      compressor.abort()
      throw systemError(error, 'compressing a layer')
    }
  }

  /** Its name is gone at once where the system allows that: a process that is killed leaves nothing. */
  #file(): number {
    try {
      this.#folder ??= mkdtempSync(join(place(), 'archimage-copy-'))
      const path = join(this.#folder, String(this.#files.length))
      const file = { fd: openSync(path, 'wx+', 0o600), path }
      if (process.platform !== 'win32') removeFile(path)
      this.#files.push(file)
      return file.fd
    } catch (error) {
      throw systemError(error, 'making a temporary file')
    }
  }

  close(): void {
    for (const { fd } of this.#files.splice(0)) closeSync(fd)
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** /tmp often is memory. */
function place(): string {
  return process.env['TMPDIR'] === undefined && existsSync('/var/tmp') ? '/var/tmp' : tmpdir()
}

function streamOf(fd: number, size: number): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const buffer = new Uint8Array(Math.min(CHUNK, size - at))
        const count = at < size ? readSync(fd, buffer, 0, buffer.length, at) : 0
        at += count
        if (count > 0) controller.enqueue(buffer.subarray(0, count))
        if (at >= size || count === 0) controller.close()
      },
    },
    { highWaterMark: 0 },
  )
}
