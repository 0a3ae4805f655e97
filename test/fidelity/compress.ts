import { spawnSync } from 'node:child_process'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'

function through(program: string, ...args: readonly string[]): (bytes: Buffer) => Buffer {
  return input => {
    const { status, stdout, stderr, error } = spawnSync(program, args, { input, maxBuffer: 1 << 28 })
    if (error || status !== 0) throw new Error(`${program}: ${error?.message ?? stderr}`)
    return stdout
  }
}

/** The usual programs: what people's own archives and bases are made with. */
export const compressors = {
  none: (bytes: Buffer): Buffer => bytes,
  gzip: through('gzip', '-n', '-6'),
  bzip2: through('bzip2', '-c'),
  xz: through('xz', '-c', '-1'),
  zstd: through('zstd', '-q', '-c'),
} as const
export type Compressor = keyof typeof compressors

export function decompressed(bytes: Buffer): Buffer {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return gunzipSync(bytes)
  if (bytes.length >= 4 && bytes.readUInt32LE(0) === 0xfd2fb528) return zstdDecompressSync(bytes)
  return bytes
}
