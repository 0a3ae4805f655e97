import { createReadStream } from 'node:fs'
import { ArchimageError, systemError } from '../errors/error.ts'
import { clampTimes } from '../layer/clamp.ts'
import { LayerContent } from '../layer/content.ts'
import { type IndexOptions, indexLayer } from '../layer/index.ts'
import type { Tree } from '../layer/tree.ts'
import { type WrittenLayer, writeLayer } from '../layer/write.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { compressionOf, layerType } from '../oci/media-types.ts'
import type { Store } from '../store/store.ts'
import { createCompressor, decompress, sniffCompression } from '../sys/compress.ts'
import { createHasher } from '../sys/hash.ts'
import type { Transport } from '../transports/transport.ts'
import type { DraftLayer } from './draft.ts'

/** Layers are made in the store: they stay there, unnamed, until it is pruned. */
export interface LayerTools {
  readonly store: Store
  /** Where the blobs of a draft are. */
  readonly transport: Transport
  readonly signal: AbortSignal
}

const MAX_LAYER = 64 * 2 ** 30

/**
 * A tar file as a layer. One that is compressed with gzip or zstd keeps its bytes; else it is compressed here. Throws
 * TAR_INVALID for what is no layer, UNSUPPORTED for zstd in Docker's format.
 */
export async function layerFromTar(
  path: string,
  docker: boolean,
  { store, signal }: Pick<LayerTools, 'store' | 'signal'>,
): Promise<DraftLayer> {
  const name = path
  const format = sniffCompression(await headOf(path))
  if (format === 'bzip2' || format === 'xz')
    throw new ArchimageError('UNSUPPORTED', `${path} is compressed with ${format}; layers are with gzip or zstd`, {
      hint: 'decompress it first: archimage compresses it again',
    })
  if (format === 'zstd' && docker)
    throw new ArchimageError('UNSUPPORTED', `${path} is compressed with zstd, and Docker's images have no such layers`)
  const check: IndexOptions = { name, signal }
  if (format === 'none') {
    const writer = store.create()
    const out = createCompressor({ format: 'gzip', output: chunk => writer.write(chunk) })
    try {
      const through = async function* (): AsyncGenerator<Uint8Array> {
        for await (const chunk of bytesOf(path)) {
          await out.push(chunk)
          yield chunk
        }
      }
      const { diffId } = await indexLayer(through(), check)
      await out.finish()
      return draftLayer(writer.commit(), diffId, layerType('gzip', docker))
    } catch (error) {
      out.abort()
      writer.abort()
      throw error
    }
  }
  const writer = store.create()
  try {
    const kept = async function* (): AsyncGenerator<Uint8Array> {
      for await (const chunk of bytesOf(path)) {
        writer.write(chunk)
        yield chunk
      }
    }
    const { diffId } = await indexLayer(decompress(format, kept(), { name, limit: MAX_LAYER, signal }), check)
    return draftLayer(writer.commit(), diffId, layerType(format, docker))
  } catch (error) {
    writer.abort()
    throw error
  }
}

/** The one layer that makes a whole tree. `layers` are those that the content of its files is in. */
export async function layerFromTree(
  tree: Tree,
  layers: readonly DraftLayer[],
  { docker, windows }: { readonly docker: boolean; readonly windows: boolean },
  tools: LayerTools,
): Promise<DraftLayer> {
  const { store, signal } = tools
  const byDiffId = new Map(layers.map(layer => [layer.diffId, layer.descriptor as unknown as Descriptor]))
  const content = new LayerContent({
    locate: async diffId => {
      const layer = byDiffId.get(diffId)!
      await keep(layer, tools)
      return { path: store.blobPath(layer.digest), compression: compressionOf(layer.mediaType) ?? 'none' }
    },
    tarPath: diffId => store.tarPath(diffId),
  })
  const items = function* () {
    for (const item of tree.walk()) if (item.path !== '') yield item
  }
  try {
    const written: WrittenLayer = await writeLayer({
      entries: items(),
      windows,
      compression: 'gzip',
      sink: store.create(),
      open: entry => content.open(entry),
      signal,
    })
    return draftLayer(written, written.diffId, layerType('gzip', docker))
  } finally {
    content.close()
  }
}

/**
 * A layer in which nothing is younger than `seconds` since 1970; the same one when nothing was. Its compression stays, its
 * bytes are written anew.
 */
export async function clampLayer(
  layer: DraftLayer,
  seconds: number,
  docker: boolean,
  tools: LayerTools,
): Promise<DraftLayer> {
  const { store, signal } = tools
  const descriptor = layer.descriptor as unknown as Descriptor
  const name = `layer ${descriptor.digest}`
  const format = compressionOf(descriptor.mediaType)
  if (format === undefined)
    throw new ArchimageError('UNSUPPORTED', `${name} is ${descriptor.mediaType}, which is no tar`)
  await keep(descriptor, tools)
  const writer = store.create()
  const out = createCompressor({ format, output: chunk => writer.write(chunk) })
  const before = createHasher()
  let younger = false
  const plain = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of decompress(format, store.open(descriptor), { name, limit: MAX_LAYER, signal })) {
      before.update(chunk)
      yield chunk
    }
    if (`sha256:${before.hex()}` !== layer.diffId)
      throw new ArchimageError('DIGEST_MISMATCH', `${name}: its content is not ${layer.diffId}, as the config says`)
  }
  try {
    for await (const chunk of clampTimes(plain(), seconds, name, () => {
      younger = true
    }))
      await out.push(chunk)
    if (younger) {
      const { inputSha256 } = await out.finish()
      return draftLayer(writer.commit(), `sha256:${inputSha256}`, layerType(format, docker))
    }
    out.abort()
    writer.abort()
    return layer
  } catch (error) {
    out.abort()
    writer.abort()
    throw error
  }
}

function draftLayer(
  blob: { readonly digest: Digest; readonly size: number },
  diffId: Digest,
  mediaType: string,
): DraftLayer {
  return { descriptor: { mediaType, digest: blob.digest, size: blob.size }, diffId }
}

/** Has the blob in the store. */
async function keep(descriptor: Descriptor, { store, transport, signal }: LayerTools): Promise<void> {
  if (store.has(descriptor.digest, descriptor.size)) return
  const writer = store.create(descriptor.digest.startsWith('sha512') ? 'sha512' : 'sha256')
  try {
    for await (const chunk of await transport.blob(descriptor, { signal })) writer.write(chunk)
    writer.commit(descriptor)
  } catch (error) {
    writer.abort()
    throw error
  }
}

async function* bytesOf(path: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) yield chunk as Uint8Array
  } catch (error) {
    throw missing(path, error)
  }
}

async function headOf(path: string): Promise<Uint8Array> {
  try {
    const chunks = await Array.fromAsync(createReadStream(path, { end: 5 }))
    return Buffer.concat(chunks as Uint8Array[])
  } catch (error) {
    throw missing(path, error)
  }
}

function missing(path: string, error: unknown): ArchimageError {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return new ArchimageError('NOT_FOUND', `there is no file ${path}`)
  return systemError(error, `reading ${path}`)
}
