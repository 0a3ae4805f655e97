import { Readable, type Transform } from 'node:stream'
import { ArchimageError, cancelled, isArchimageError } from '../errors/error.ts'
import { builtin } from './builtin.ts'
import { decompressExternally } from './compress-external.ts'
import type { MemberFormat } from './compress-member.ts'
import { MEMBER_SIZE } from './compress-pool.ts'
import { ZstdFrames } from './compress-zstd-frames.ts'

export type SniffedFormat = 'gzip' | 'zstd' | 'bzip2' | 'xz' | 'none'

/** The compression that the first bytes (6 are enough) show. */
export function sniffCompression(head: Uint8Array): SniffedFormat {
  const starts = (...magic: number[]) => magic.every((byte, i) => head[i] === byte)
  if (starts(0x1f, 0x8b, 0x08)) return 'gzip'
  if (starts(0x28, 0xb5, 0x2f, 0xfd)) return 'zstd'
  // RFC 8878 section 3.1.2: a skippable frame, as zstd:chunked and pzstd write them, may come first
  if (head[0] !== undefined && head[0] >> 4 === 5 && head[1] === 0x2a && head[2] === 0x4d && head[3] === 0x18)
    return 'zstd'
  if (starts(0x42, 0x5a, 0x68)) return 'bzip2'
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return 'xz'
  return 'none'
}

/** All chunks again, after the first one was looked at. */
export async function* withFirst(
  first: IteratorResult<Uint8Array>,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    for (let next = first; !next.done; next = await rest.next()) yield next.value
  } finally {
    await rest.return?.()
  }
}

export interface DecompressOptions {
  /** What is being read, for messages. */
  readonly name?: string
  /** Most bytes that may come out (against decompression bombs). */
  readonly limit?: number
  readonly signal?: AbortSignal
}

/**
 * The uncompressed bytes of `source`, all gzip members and zstd frames of it. Throws TAR_INVALID for damaged or cut data
 * and beyond `limit`, ENGINE_MISSING when bzip2 or xz are not installed.
 */
export async function* decompress(
  format: SniffedFormat,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: DecompressOptions = {},
): AsyncGenerator<Uint8Array> {
  const name = options.name ?? 'compressed data'
  const limit = options.limit ?? Number.POSITIVE_INFINITY
  let size = 0
  for await (const chunk of open(format, source, name)) {
    if (options.signal?.aborted) throw cancelled(options.signal.reason)
    size += chunk.length
    if (size > limit)
      throw new ArchimageError('TAR_INVALID', `${name}: it grows beyond ${limit} bytes when it is decompressed`)
    yield chunk
  }
}

function open(
  format: SniffedFormat,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  name: string,
): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  if (format === 'none') return source
  if (format === 'bzip2' || format === 'xz') return decompressExternally(format, source, name)
  const chunkSize = MEMBER_SIZE
  return format === 'gzip'
    ? through(builtin.zlib.createGunzip({ chunkSize }), source, name)
    : through(builtin.zlib.createZstdDecompress({ chunkSize }), source, name, new ZstdFrames())
}

async function* through(
  transform: Transform,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  name: string,
  frames?: ZstdFrames,
): AsyncGenerator<Uint8Array> {
  let failure: unknown
  const input = Readable.from(counted(), { objectMode: false, highWaterMark: MEMBER_SIZE })
  let empty = true
  async function* counted(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of source) {
        if (chunk.length > 0) empty = false
        frames?.push(chunk)
        yield chunk
      }
    } catch (error) {
      failure = error
      throw error
    }
  }
  input.on('error', error => transform.destroy(error))
  try {
    yield* input.pipe(transform) as AsyncIterable<Uint8Array>
  } catch (error) {
    // a failure of the source (network, digest) is not a fault of the compression
    if (failure !== undefined) throw failure
    if (isArchimageError(error)) throw error
    throw damaged(name, error)
  } finally {
    input.destroy()
    transform.destroy()
  }
  if (empty) throw new ArchimageError('TAR_INVALID', `${name}: there is no data`)
  if (frames?.whole === false) throw damaged(name)
}

function damaged(name: string, cause?: unknown): ArchimageError {
  return new ArchimageError('TAR_INVALID', `${name}: the compressed data is damaged or cut off`, {
    hint: 'fetch or make the archive again',
    cause,
  })
}

/** One member or frame of ours (at most MEMBER_SIZE when decompressed). Throws TAR_INVALID. */
export function decompressMember(format: MemberFormat, bytes: Uint8Array<ArrayBuffer>): Uint8Array {
  try {
    return format === 'gzip'
      ? builtin.zlib.gunzipSync(bytes, { maxOutputLength: MEMBER_SIZE })
      : builtin.zlib.zstdDecompressSync(bytes, { maxOutputLength: MEMBER_SIZE })
  } catch (error) {
    throw new ArchimageError('TAR_INVALID', 'a member of a layer is damaged', { cause: error })
  }
}
