import { compressMember, type MemberFormat } from './compress-member.ts'

/** What the pool sends; `buffer` goes back with the answer, to be filled again. */
export interface Job {
  readonly id: number
  readonly buffer: ArrayBuffer
  readonly length: number
  readonly format: MemberFormat
  readonly level: number
}

export interface Answer {
  readonly id: number
  readonly buffer: ArrayBuffer
  readonly out?: Uint8Array<ArrayBuffer>
  readonly error?: string
}

declare const self: {
  onmessage: (event: { data: Job }) => void
  postMessage(answer: Answer, transfer: ArrayBuffer[]): void
}

self.onmessage = ({ data: { id, buffer, length, format, level } }) => {
  try {
    const out = compressMember(new Uint8Array(buffer, 0, length), format, level)
    self.postMessage({ id, buffer, out }, [buffer, out.buffer])
  } catch (error) {
    self.postMessage({ id, buffer, error: String(error) }, [buffer])
  }
}
