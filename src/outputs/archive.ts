import type { Descriptor } from '../oci/manifest.ts'
import type { Store } from '../store/store.ts'
import { END_OF_ARCHIVE, encodeHeader, padding } from '../tar/writer.ts'
import { indexFile, LAYOUT_FILE, type Layout, type Part } from './layout.ts'

/** 1980-02-01, the time of what has none (DESIGN §4): some readers of tar distrust 1970. */
export const TIME = 318_211_200
const CHUNK = 1 << 20

const OWNER = { uid: 0, gid: 0, mtime: TIME } as const

/**
 * The layout as a tar archive: the same image gives the same bytes. Blobs are hashed on their way; the last bytes of a
 * damaged one never come (DIGEST_MISMATCH). Chunks are valid until the next one is asked for.
 */
export function layoutArchive(layout: Layout, store: Store): AsyncIterable<Uint8Array> {
  return gathered(archiveChunks([LAYOUT_FILE, indexFile(layout.entries), ...layout.parts], store))
}

/** How long `layoutArchive` will be. */
export function layoutSize(layout: Layout): number {
  const parts = [LAYOUT_FILE, indexFile(layout.entries), ...layout.parts]
  const files = parts.reduce((sum, part) => sum + 512 + sizeOf(part) + padding(sizeOf(part)), 0)
  return files + folders(parts).length * 512 + END_OF_ARCHIVE.length
}

async function* archiveChunks(parts: readonly Part[], store: Store): AsyncGenerator<Uint8Array> {
  const made = new Set<string>()
  for (const part of parts) {
    for (const path of parents(part.path))
      if (!made.has(path)) {
        made.add(path)
        yield encodeHeader({ path, type: 'dir', mode: 0o755, size: 0, ...OWNER })
      }
    const size = sizeOf(part)
    yield encodeHeader({ path: part.path, type: 'file', mode: 0o644, size, ...OWNER })
    if ('bytes' in part) yield part.bytes
    else yield* blobChunks(part.blob, store)
    yield END_OF_ARCHIVE.subarray(0, padding(size))
  }
  yield END_OF_ARCHIVE
}

export function sizeOf(part: Part): number {
  return 'bytes' in part ? part.bytes.length : part.blob.size
}

function folders(parts: readonly Part[]): string[] {
  return [...new Set(parts.flatMap(part => parents(part.path)))]
}

function parents(path: string): string[] {
  const names = path.split('/').slice(0, -1)
  return names.map((_, i) => names.slice(0, i + 1).join('/'))
}

/** A blob of the store, checked as a whole before its last bytes. */
export async function* blobChunks(blob: Descriptor, store: Store): AsyncGenerator<Uint8Array> {
  yield* store.open(blob)
}

/** Joins small chunks into pieces of up to 1 MiB, so that there are few writes; big ones pass as they are. */
export async function* gathered(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(CHUNK)
  let filled = 0
  for await (const chunk of source) {
    const large = chunk.length >= CHUNK / 8
    if (filled > 0 && (large || filled + chunk.length > CHUNK)) {
      yield buffer.subarray(0, filled)
      filled = 0
    }
    if (large) yield chunk
    else {
      buffer.set(chunk, filled)
      filled += chunk.length
    }
  }
  if (filled > 0) yield buffer.subarray(0, filled)
}
