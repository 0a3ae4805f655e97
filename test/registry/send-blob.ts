import { createHash } from 'node:crypto'
import type { Digest } from '../../src/oci/digest.ts'
import { openRegistry } from '../../src/registry/registry.ts'

// Sends a blob of argv[3] bytes to the repository argv[2]; prints what became of it and the peak of memory in bytes.
const [, , reference = '', text = ''] = process.argv
const size = Number(text)
const CHUNK = 256 * 1024

/** The same bytes each time, without a file: each chunk begins with its number. */
function* chunks(): Generator<Uint8Array> {
  for (let at = 0; at < size; at += CHUNK) {
    const chunk = Buffer.alloc(Math.min(CHUNK, size - at), at / CHUNK)
    chunk.writeUInt32LE(at / CHUNK)
    yield chunk
  }
}
const hash = createHash('sha256')
for (const chunk of chunks()) hash.update(chunk)
const digest = `sha256:${hash.digest('hex')}` as Digest
const repository = openRegistry({ env: {}, tuning: { backoff: 5 } }).repository(reference)
const body = () => {
  const all = chunks()
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const { done, value } = all.next()
        if (done) controller.close()
        else controller.enqueue(value)
      },
    },
    { highWaterMark: 0 },
  )
}
const how = await repository.putBlob({ mediaType: 'application/octet-stream', digest, size }, body)
console.log(JSON.stringify({ how, digest, memory: process.resourceUsage().maxRSS * 1024 }))
