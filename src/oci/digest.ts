import { createHash } from 'node:crypto'
import { ArchimageError } from '../errors/error.ts'

/** `algorithm:hex` of the two algorithms that the image spec registers (image-spec, descriptor.md, digests). */
export type Digest = `sha256:${string}` | `sha512:${string}`

const FORM = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/

export function isDigest(text: unknown): text is Digest {
  return typeof text === 'string' && FORM.test(text)
}

/** Throws DIGEST_INVALID. `where` names the place for the message: "layer 2 of …". */
export function parseDigest(text: string, where = 'digest'): Digest {
  if (isDigest(text)) return text
  throw new ArchimageError('DIGEST_INVALID', `${where}: "${text.slice(0, 80)}" is not a digest`, {
    hint: 'a digest is "sha256:" and 64 hexadecimal digits',
  })
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
