import { createHash } from 'node:crypto'

/** `algorithm:hex` of the two algorithms that the image spec registers (image-spec, descriptor.md, digests). */
export type Digest = `sha256:${string}` | `sha512:${string}`

const FORM = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/

export function isDigest(text: unknown): text is Digest {
  return typeof text === 'string' && FORM.test(text)
}

export function sha256(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

export function algorithmOf(digest: Digest): 'sha256' | 'sha512' {
  return digest.startsWith('sha512') ? 'sha512' : 'sha256'
}

export function hexOf(digest: Digest): string {
  return digest.slice(7)
}

/** The digest of `bytes` by the algorithm of `like`. */
export function digestLike(like: Digest, bytes: Uint8Array): Digest {
  return `${algorithmOf(like)}:${createHash(algorithmOf(like)).update(bytes).digest('hex')}` as Digest
}
