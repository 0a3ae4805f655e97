import { builtin } from './builtin.ts'

export type MemberFormat = 'gzip' | 'zstd'

/** Level when the caller names none: libdeflate 6 is smaller than gzip -6 at three times its speed. */
export const DEFAULT_LEVEL = { gzip: 6, zstd: 3 } as const

/**
 * Compresses one member (gzip, RFC 1952) or frame (zstd, RFC 8878) in one shot: the same bytes in every process and on
 * every CPU, which no streaming compressor of this runtime promises.
 */
export function compressMember(
  bytes: Uint8Array<ArrayBuffer>,
  format: MemberFormat,
  level: number,
): Uint8Array<ArrayBuffer> {
  if (format === 'zstd') {
    const { constants, zstdCompressSync } = builtin.zlib
    const params = { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_contentSizeFlag]: 1 }
    return zstdCompressSync(bytes, { params })
  }
  return Bun.gzipSync(bytes, { level: level as 6, library: 'libdeflate' })
}
