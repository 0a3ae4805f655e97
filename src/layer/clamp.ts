import type { TarEntry } from '../tar/entry.ts'
import { TarReader } from '../tar/reader.ts'
import { END_OF_ARCHIVE, encodeHeader, padding } from '../tar/writer.ts'

/**
 * The tar of a layer in which nothing is younger than `seconds` since 1970 (SOURCE_DATE_EPOCH), for engines that do not see to
 * it themselves. `clamped` is called for each entry that was. Throws TAR_INVALID.
 */
export async function* clampTimes(
  source: AsyncIterable<Uint8Array>,
  seconds: number,
  name: string,
  clamped: () => void = () => {},
): AsyncGenerator<Uint8Array> {
  let out: Uint8Array[] = []
  let size = 0
  const reader = new TarReader(
    {
      entry(entry: TarEntry) {
        size = entry.size
        if (entry.mtime > seconds) clamped()
        out.push(encodeHeader({ ...entry, mtime: Math.min(Math.floor(entry.mtime), seconds) }))
      },
      data: chunk => void out.push(new Uint8Array(chunk)),
      end: () => void out.push(new Uint8Array(padding(size))),
    },
    { name, endOptional: true },
  )
  for await (const chunk of source) {
    reader.push(chunk)
    yield* out
    out = []
  }
  reader.finish()
  yield* out
  yield END_OF_ARCHIVE
}
