// A windows/amd64 console program (PE32+): WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), message, …); ExitProcess(0).
const IMAGE_BASE = 0x140000000n
const FILE_ALIGN = 0x200
const PAGE = 0x1000
const TEXT = PAGE
const RDATA = 2 * PAGE

/** @param {string} message @returns {Buffer} */
export function pe(message) {
  const text = Buffer.from(message, 'latin1')
  const imports = importTable('KERNEL32.dll', ['GetStdHandle', 'WriteFile', 'ExitProcess'])
  const messageAt = RDATA + imports.bytes.length
  const rdata = Buffer.concat([imports.bytes, text])
  const code = program(text.length, messageAt, imports.address)

  const headers = Buffer.alloc(0x400)
  headers.write('MZ', 0, 'latin1')
  headers.writeUInt32LE(0x80, 0x3c)
  let at = 0x80
  const u8 = value => (at = headers.writeUInt8(value, at))
  const u16 = value => (at = headers.writeUInt16LE(value, at))
  const u32 = value => (at = headers.writeUInt32LE(value, at))
  const u64 = value => (at = headers.writeBigUInt64LE(value, at))
  u32(0x4550) // "PE\0\0"
  u16(0x8664)
  u16(2) // sections
  for (const value of [0, 0, 0]) u32(value) // no time, no symbols
  u16(240)
  u16(0x22) // executable, large addresses
  u16(0x20b) // PE32+
  u8(14)
  u8(0)
  u32(padded(code.length))
  u32(padded(rdata.length))
  u32(0)
  u32(TEXT) // entry point
  u32(TEXT)
  u64(IMAGE_BASE)
  u32(PAGE)
  u32(FILE_ALIGN)
  for (const value of [6, 0, 0, 0, 6, 0]) u16(value) // operating system, image, subsystem: 6.0
  u32(0)
  u32(3 * PAGE)
  u32(headers.length)
  u32(0)
  u16(3) // console
  u16(0x8100) // NX compatible, terminal server aware
  for (const value of [0x100000n, 0x1000n, 0x100000n, 0x1000n]) u64(value) // stack, heap
  u32(0)
  u32(16)
  const directories = Array.from({ length: 16 }, () => [0, 0])
  directories[1] = [RDATA, 40]
  directories[12] = [RDATA + 40, imports.tableSize]
  for (const [address, size] of directories) {
    u32(address)
    u32(size)
  }
  section('.text', code.length, TEXT, headers.length, 0x60000020)
  section('.rdata', rdata.length, RDATA, headers.length + padded(code.length), 0x40000040)
  return Buffer.concat([headers, fill(code), fill(rdata)])

  function section(name, size, address, offset, characteristics) {
    headers.write(name, at, 'latin1')
    at += 8
    for (const value of [size, address, padded(size), offset, 0, 0, 0, characteristics]) u32(value)
  }
}

/** Import directory (one DLL and the end), address table, lookup table, names; all addresses are relative to the image. */
function importTable(dll, names) {
  const tableSize = 8 * (names.length + 1)
  const tableAt = RDATA + 40
  const lookupAt = tableAt + tableSize
  let next = lookupAt + tableSize
  const hints = names.map(name => {
    const bytes = Buffer.concat([Buffer.alloc(2), Buffer.from(`${name}\0`)])
    const address = next
    const even = bytes.length % 2 ? Buffer.concat([bytes, Buffer.alloc(1)]) : bytes
    next += even.length
    return { address, bytes: even }
  })
  const directory = Buffer.alloc(40)
  directory.writeUInt32LE(lookupAt, 0)
  directory.writeUInt32LE(next, 12)
  directory.writeUInt32LE(tableAt, 16)
  const table = Buffer.alloc(tableSize)
  for (const [i, hint] of hints.entries()) table.writeBigUInt64LE(BigInt(hint.address), 8 * i)
  const bytes = Buffer.concat([directory, table, table, ...hints.map(hint => hint.bytes), Buffer.from(`${dll}\0`)])
  return { bytes, tableSize, address: name => tableAt + 8 * names.indexOf(name) }
}

function program(length, messageAt, address) {
  const parts = []
  let at = TEXT
  const emit = (...bytes) => {
    parts.push(Buffer.from(bytes))
    at += bytes.length
  }
  /** An instruction whose last four bytes are an address relative to its end. */
  const relative = (target, ...opcode) => {
    const bytes = Buffer.alloc(opcode.length + 4)
    Buffer.from(opcode).copy(bytes)
    bytes.writeInt32LE(target - (at + bytes.length), opcode.length)
    emit(...bytes)
  }
  const call = name => relative(address(name), 0xff, 0x15)
  emit(0x48, 0x83, 0xec, 0x38) // sub rsp, 56: shadow space, fifth argument, the count; 16-byte aligned
  emit(0xb9, 0xf5, 0xff, 0xff, 0xff) // mov ecx, -11 (STD_OUTPUT_HANDLE)
  call('GetStdHandle')
  emit(0x48, 0x89, 0xc1) // mov rcx, rax
  relative(messageAt, 0x48, 0x8d, 0x15) // lea rdx, [rip + message]
  emit(0x41, 0xb8, length & 255, length >> 8, 0, 0) // mov r8d, length
  emit(0x4c, 0x8d, 0x4c, 0x24, 0x28) // lea r9, [rsp + 40]
  emit(0x48, 0xc7, 0x44, 0x24, 0x20, 0, 0, 0, 0) // mov qword [rsp + 32], 0
  call('WriteFile')
  emit(0x31, 0xc9) // xor ecx, ecx
  call('ExitProcess')
  emit(0xcc)
  return Buffer.concat(parts)
}

function padded(size) {
  return Math.ceil(size / FILE_ALIGN) * FILE_ALIGN
}

function fill(bytes) {
  return Buffer.concat([bytes, Buffer.alloc(padded(bytes.length) - bytes.length)])
}
