type Step = 'magic' | 'descriptor' | 'block' | 'skippable'

/**
 * Follows the frames of a zstd stream (RFC 8878 section 3.1) without decompressing: the runtime's decompressor takes a
 * stream that was cut off, or goes on as something else, for a whole one.
 */
export class ZstdFrames {
  #step: Step = 'magic'
  readonly #head: number[] = []
  #wanted = 4
  #skip = 0
  #checksum = 0
  #broken = false

  /** False when what stands between two frames is no frame. */
  push(chunk: Uint8Array): boolean {
    for (let at = 0; at < chunk.length && !this.#broken; ) {
      if (this.#skip > 0) {
        const count = Math.min(this.#skip, chunk.length - at)
        this.#skip -= count
        at += count
      } else {
        this.#head.push(chunk[at++]!)
        if (this.#head.length === this.#wanted) this.#take(this.#head.splice(0))
      }
    }
    return !this.#broken
  }

  /** Whether the stream may end here. */
  get whole(): boolean {
    return this.#step === 'magic' && this.#head.length === 0 && this.#skip === 0 && !this.#broken
  }

  #expect(step: Step, wanted: number, skip: number): void {
    this.#step = step
    this.#wanted = wanted
    this.#skip = skip
  }

  #take(head: readonly number[]): void {
    const [a = 0, b = 0, c = 0, d = 0] = head
    if (this.#step === 'magic') {
      const magic = (a | (b << 8) | (c << 16) | (d << 24)) >>> 0
      if (magic === 0xfd2fb528) this.#expect('descriptor', 1, 0)
      else if ((magic & 0xfffffff0) >>> 0 === 0x184d2a50) this.#expect('skippable', 4, 0)
      else this.#broken = true
    } else if (this.#step === 'skippable') this.#expect('magic', 4, (a | (b << 8) | (c << 16) | (d << 24)) >>> 0)
    else if (this.#step === 'descriptor') {
      const single = (a >> 5) & 1
      this.#checksum = a & 4
      const sizeField = [single, 2, 4, 8][a >> 6]!
      this.#expect('block', 3, 1 - single + [0, 1, 2, 4][a & 3]! + sizeField)
    } else {
      const value = a | (b << 8) | (c << 16)
      const size = ((value >> 1) & 3) === 1 ? 1 : value >> 3
      if (value & 1) this.#expect('magic', 4, size + this.#checksum)
      else this.#expect('block', 3, size)
    }
  }
}
