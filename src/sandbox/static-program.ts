const [EHDR, PHDR] = [64, 56]
const MACHINES: Readonly<Record<string, number>> = { x64: 62, arm64: 183 }
const [EXECUTABLE, LOAD, READ, WRITE, EXECUTE] = [2, 1, 4, 2, 1]
/** The largest page of both architectures: code and data lie in pages of their own. */
const PAGE = 0x10000

const CODE_ADDRESS = 0x400000
const CODE_OFFSET = EHDR + 2 * PHDR
const DATA_OFFSET = 0x140
/** Where the data of a program begins in its memory. */
export const DATA_ADDRESS = 0x600000 + DATA_OFFSET

/** An executable that consists of `code` (at most 144 bytes) and writable `data`, and needs nothing else (ELF-64, System V ABI). */
export function staticProgram(code: Uint8Array, data: Uint8Array, arch: string = process.arch): Uint8Array {
  if (CODE_OFFSET + code.length > DATA_OFFSET) throw new Error('the code reaches into the data')
  const out = Buffer.alloc(DATA_OFFSET + data.length)
  out.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  out.writeUInt16LE(EXECUTABLE, 16)
  out.writeUInt16LE(MACHINES[arch]!, 18)
  out.writeUInt32LE(1, 20)
  out.writeBigUInt64LE(BigInt(CODE_ADDRESS + CODE_OFFSET), 24)
  out.writeBigUInt64LE(BigInt(EHDR), 32)
  out.writeUInt16LE(EHDR, 52)
  out.writeUInt16LE(PHDR, 54)
  out.writeUInt16LE(2, 56)
  segment(out, EHDR, READ | EXECUTE, 0, CODE_ADDRESS, CODE_OFFSET + code.length)
  segment(out, EHDR + PHDR, READ | WRITE, DATA_OFFSET, DATA_ADDRESS, data.length)
  out.set(code, CODE_OFFSET)
  out.set(data, DATA_OFFSET)
  return out
}

function segment(out: Buffer, at: number, flags: number, offset: number, address: number, size: number): void {
  out.writeUInt32LE(LOAD, at)
  out.writeUInt32LE(flags, at + 4)
  out.writeBigUInt64LE(BigInt(offset), at + 8)
  out.writeBigUInt64LE(BigInt(address), at + 16)
  out.writeBigUInt64LE(BigInt(address), at + 24)
  out.writeBigUInt64LE(BigInt(size), at + 32)
  out.writeBigUInt64LE(BigInt(size), at + 40)
  out.writeBigUInt64LE(BigInt(PAGE), at + 48)
}
