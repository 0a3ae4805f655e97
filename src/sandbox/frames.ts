/**
 * What goes over the pipes between archimage and the process that runs its steps: frames of a length (u32, little endian), a
 * kind (one byte) and a body, which is JSON or, for output, a step's number, 1 or 2 for the stream, and bytes.
 */
export const [JSON_FRAME, OUTPUT_FRAME] = [1, 2] as const

/** More than any step needs; a longer frame is a broken pipe. */
const LONGEST = 256 << 20

export interface Frame {
  readonly kind: number
  readonly body: Buffer
}

function frame(kind: number, body: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(body.length + 5)
  out.writeUInt32LE(body.length + 1)
  out[4] = kind
  out.set(body, 5)
  return out
}

/** Byte arrays may stand anywhere in the value. */
export function encodeJson(value: unknown): Buffer {
  const text = JSON.stringify(value, function (this: Record<string, unknown>, key, plain: unknown) {
    const raw = this[key]
    return raw instanceof Uint8Array ? { base64: Buffer.from(raw).toString('base64') } : plain
  })
  return frame(JSON_FRAME, Buffer.from(text))
}

export function decodeJson<T>(body: Buffer): T {
  return JSON.parse(body.toString(), (_, value: unknown) => {
    if (typeof value !== 'object' || value === null || !('base64' in value)) return value
    return Buffer.from(value.base64 as string, 'base64')
  }) as T
}

export function encodeOutput(step: number, stream: 'stdout' | 'stderr', bytes: Uint8Array): Buffer {
  const body = Buffer.allocUnsafe(bytes.length + 5)
  body.writeUInt32LE(step)
  body[4] = stream === 'stdout' ? 1 : 2
  body.set(bytes, 5)
  return frame(OUTPUT_FRAME, body)
}

export function decodeOutput(body: Buffer): { step: number; stream: 'stdout' | 'stderr'; bytes: Buffer } {
  return { step: body.readUInt32LE(), stream: body[4] === 1 ? 'stdout' : 'stderr', bytes: body.subarray(5) }
}

/** Puts chunks of a pipe together; calls `take` for each frame that is complete. */
export function frameReader(take: (frame: Frame) => void): (chunk: Buffer) => void {
  let chunks: Buffer[] = []
  let size = 0
  return chunk => {
    chunks.push(chunk)
    size += chunk.length
    while (size >= 4) {
      if (chunks[0]!.length < 4) chunks = [Buffer.concat(chunks)]
      const length = chunks[0]!.readUInt32LE()
      if (length === 0 || length > LONGEST) throw new Error(`a frame of ${length} bytes`)
      if (size < length + 4) return
      const all = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
      take({ kind: all[4]!, body: all.subarray(5, length + 4) })
      size -= length + 4
      chunks = size === 0 ? [] : [all.subarray(length + 4)]
    }
  }
}
