import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Digest } from '../../src/oci/digest.ts'
import { openRegistry } from '../../src/registry/registry.ts'

// Sends a blob of argv[3] bytes to the repository argv[2]; prints what became of it and the peak of memory in bytes.
const [, , reference = '', text = ''] = process.argv
const size = Number(text)
/** Bytes in a period that no power of two is a multiple of: what lands at a wrong offset changes the digest. */
const PATTERN = Buffer.from(Array.from({ length: 251 * 1024 }, (_, i) => i % 251))

/** The same bytes each time, without a file, and without memory of their own. */
function* chunks(): Generator<Uint8Array> {
  for (let at = 0; at < size; at += PATTERN.length) yield PATTERN.subarray(0, Math.min(PATTERN.length, size - at))
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
// getrusage(2) also counts what the process was before it became this program: a copy of the one that runs the tests.
const [, peak] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))!
console.log(JSON.stringify({ how, digest, memory: Number(peak) * 1024 }))
