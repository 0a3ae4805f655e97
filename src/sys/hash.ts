/** A digest that grows; Bun's own hasher is a third faster than node:crypto. */
export interface Hasher {
  update(bytes: Uint8Array): void
  /** Lower-case hexadecimal; the hasher is used up afterwards. */
  hex(): string
}

export function createHasher(algorithm: 'sha256' | 'sha512' = 'sha256'): Hasher {
  const hasher = new Bun.CryptoHasher(algorithm)
  return { update: bytes => void hasher.update(bytes), hex: () => hasher.digest('hex') }
}

export function hashHex(algorithm: 'sha256' | 'sha512', bytes: Uint8Array): string {
  return Bun.CryptoHasher.hash(algorithm, bytes, 'hex')
}

/** A quick checksum (xxHash64, 52 bits of it) against damage, not against attackers. `label` belongs to the content. */
export function checksum(label: string, bytes: Uint8Array | string): number {
  return Number(Bun.hash.xxHash64(bytes, Bun.hash.xxHash64(label)) & 0xfffffffffffffn)
}
