import { createHash } from 'node:crypto'
import type { Digest } from '../../src/oci/digest.ts'
import { openRegistry } from '../../src/registry/registry.ts'

// Sends a blob of argv[3] bytes to the repository argv[2]; prints what became of it and the peak of memory in bytes.
const [, , reference = '', text = ''] = process.argv
const size = Number(text)
const CHUNK = 256 * 1024

/** The same bytes each time, without a file: each chunk begins with its number. `room` is where each is made, else memory of its own. */
function* chunks(room?: Buffer): Generator<Uint8Array> {
  for (let at = 0; at < size; at += CHUNK) {
    const length = Math.min(CHUNK, size - at)
    const chunk = (room?.subarray(0, length) ?? Buffer.allocUnsafeSlow(length)).fill(at / CHUNK)
    chunk.writeUInt32LE(at / CHUNK)
    yield chunk
  }
}
const hash = createHash('sha256')
// In one turn of the event loop nothing is collected.
for (const chunk of chunks(Buffer.alloc(CHUNK))) hash.update(chunk)
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
