const ADDRESS = 0x400000n
const [EHDR, PHDR] = [64, 56]
const MACHINES: Readonly<Record<string, number>> = { x64: 62, arm64: 183 }

/** An executable that consists of `code` and needs nothing else: one segment, read and executed (ELF-64, System V ABI). */
export function staticProgram(code: Uint8Array, arch: string = process.arch): Uint8Array {
  const out = Buffer.alloc(EHDR + PHDR + code.length)
  out.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  out.writeUInt16LE(2, 16) // ET_EXEC
  out.writeUInt16LE(MACHINES[arch]!, 18)
  out.writeUInt32LE(1, 20)
  out.writeBigUInt64LE(ADDRESS + BigInt(EHDR + PHDR), 24)
  out.writeBigUInt64LE(BigInt(EHDR), 32)
  out.writeUInt16LE(EHDR, 52)
  out.writeUInt16LE(PHDR, 54)
  out.writeUInt16LE(1, 56)
  out.writeUInt32LE(1, EHDR) // PT_LOAD
  out.writeUInt32LE(5, EHDR + 4)
  out.writeBigUInt64LE(ADDRESS, EHDR + 16)
  out.writeBigUInt64LE(ADDRESS, EHDR + 24)
  out.writeBigUInt64LE(BigInt(out.length), EHDR + 32)
  out.writeBigUInt64LE(BigInt(out.length), EHDR + 40)
  out.writeBigUInt64LE(0x10000n, EHDR + 48)
  out.set(code, EHDR + PHDR)
  return out
}

const EXIT: Readonly<Record<string, readonly number[]>> = {
  // xor edi, edi; mov eax, 60; syscall
  x64: [0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05],
  // mov x0, 0; mov x8, 93; svc 0
  arm64: [0x00, 0x00, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4],
}

/** A program that ends at once, successfully. */
export function exitProgram(arch: string = process.arch): Uint8Array {
  return staticProgram(Uint8Array.from(EXIT[arch]!), arch)
}
