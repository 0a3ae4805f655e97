import { createHash } from 'node:crypto'

/** Numbers that look random and are the same on every machine (xorshift32). */
function random(seed: string): () => number {
  let state = createHash('sha256').update(seed).digest().readUInt32LE() || 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
}

/** Bytes that compress as compiled programs do (gzip -6: to about 35 %): common words, constants, phrases that come back. */
export function programBytes(size: number, seed: string): Buffer {
  const next = random(seed)
  const words = new Uint32Array(Math.ceil(size / 4))
  const vocabulary = Uint32Array.from({ length: 4096 }, next)
  for (let i = 0; i < words.length; i++) {
    const n = next()
    if (n % 8 === 0 && i > 4096) {
      const phrase = 3 + ((n >>> 3) % 14)
      words.copyWithin(i, i - 64 - ((n >>> 8) % 4000), i - 64 - ((n >>> 8) % 4000) + phrase)
      i += phrase - 1
    } else if (n % 8 === 1) words[i] = next()
    else words[i] = vocabulary[Math.floor(4096 * ((n >>> 8) / 2 ** 24) ** 4)]!
  }
  return Buffer.from(words.buffer, 0, size)
}

/** Weights of a neural network as float32 (nearly incompressible), then a vocabulary as text: three quarters and one. */
export function modelBytes(size: number, seed: string): Buffer {
  const next = random(seed)
  const weights = new Float32Array(Math.floor((size * 3) / 16))
  for (let i = 0; i < weights.length; i++) weights[i] = ((next() + next() + next()) / 2 ** 32 - 1.5) * 0.04
  const text = textBytes(size - weights.byteLength, seed)
  return Buffer.concat([Buffer.from(weights.buffer), text])
}

/** Lines of source-like text. */
export function textBytes(size: number, seed: string): Buffer {
  const next = random(`text ${seed}`)
  const words = Array.from({ length: 500 }, () => (next() % 2 ** 30).toString(36).slice(next() % 4))
  let text = ''
  while (text.length < size) {
    let line = '  '.repeat(next() % 4)
    for (let n = 2 + (next() % 9); n > 0; n--) line += `${words[Math.floor(500 * (next() / 2 ** 32) ** 2)]} `
    text += `${line.trimEnd()};\n`
  }
  return Buffer.from(text.slice(0, size), 'latin1')
}
