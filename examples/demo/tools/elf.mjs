// A static Linux executable: write(1, message, length); exit(0). One loadable segment, section headers for the tools.
const MACHINES = {
  amd64: { bits: 64, machine: 62, flags: 0, base: 0x400000, code: amd64 },
  arm64: { bits: 64, machine: 183, flags: 0, base: 0x400000, code: arm64 },
  // EF_ARM_EABI_VER5 | EF_ARM_ABI_FLOAT_HARD
  arm: { bits: 32, machine: 40, flags: 0x05000400, base: 0x10000, code: arm },
}

/** @param {'amd64' | 'arm64' | 'arm'} arch @param {string} message @returns {Buffer} */
export function elf(arch, message) {
  const { bits, machine, flags, base, code } = MACHINES[arch]
  const wide = bits === 64
  const [headerSize, programSize, sectionSize] = wide ? [64, 56, 64] : [52, 32, 40]
  const text = Buffer.from(message, 'latin1')
  const start = headerSize + 2 * programSize
  const program = Buffer.concat([code(text.length), text])
  const attributes = arch === 'arm' ? armAttributes() : Buffer.alloc(0)
  const names = Buffer.from('\0.text\0.shstrtab\0.ARM.attributes\0')
  const attributesAt = start + program.length
  const namesAt = attributesAt + attributes.length
  const sectionsAt = align(namesAt + names.length, 8)

  const sections = [
    section({}),
    // PROGBITS, ALLOC | EXECINSTR
    section({ name: 1, type: 1, flags: 6, addr: base + start, offset: start, size: program.length, align: 4 }),
    section({ name: 7, type: 3, offset: namesAt, size: names.length, align: 1 }),
    ...(attributes.length
      ? [section({ name: 17, type: 0x70000003, offset: attributesAt, size: attributes.length, align: 1 })]
      : []),
  ]

  const header = Buffer.alloc(headerSize)
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1, 0]).copy(header)
  let at = 16
  const u16 = value => (at = header.writeUInt16LE(value, at))
  const u32 = value => (at = header.writeUInt32LE(value, at))
  const word = value => (at = wide ? header.writeBigUInt64LE(BigInt(value), at) : header.writeUInt32LE(value, at))
  u16(2) // ET_EXEC
  u16(machine)
  u32(1)
  word(base + start) // entry
  word(headerSize) // program headers
  word(sectionsAt)
  u32(flags)
  u16(headerSize)
  u16(programSize)
  u16(2)
  u16(sectionSize)
  u16(sections.length)
  u16(2) // index of .shstrtab

  const end = start + program.length
  const load = segment({ type: 1, flags: 5, offset: 0, addr: base, size: end, align: 0x10000 })
  const stack = segment({ type: 0x6474e551, flags: 6, offset: 0, addr: 0, size: 0, align: 16 })
  const padding = Buffer.alloc(sectionsAt - namesAt - names.length)
  return Buffer.concat([header, load, stack, program, attributes, names, padding, ...sections])

  function segment({ type, flags, offset, addr, size, align }) {
    const out = Buffer.alloc(programSize)
    if (wide) {
      out.writeUInt32LE(type, 0)
      out.writeUInt32LE(flags, 4)
      for (const [i, value] of [offset, addr, addr, size, size, align].entries())
        out.writeBigUInt64LE(BigInt(value), 8 + 8 * i)
    } else {
      for (const [i, value] of [type, offset, addr, addr, size, size, flags, align].entries())
        out.writeUInt32LE(value, 4 * i)
    }
    return out
  }

  function section({ name = 0, type = 0, flags = 0, addr = 0, offset = 0, size = 0, align = 0 }) {
    const out = Buffer.alloc(sectionSize)
    out.writeUInt32LE(name, 0)
    out.writeUInt32LE(type, 4)
    const rest = [flags, addr, offset, size]
    if (wide) {
      for (const [i, value] of rest.entries()) out.writeBigUInt64LE(BigInt(value), 8 + 8 * i)
      out.writeBigUInt64LE(BigInt(align), 48)
    } else {
      for (const [i, value] of rest.entries()) out.writeUInt32LE(value, 8 + 4 * i)
      out.writeUInt32LE(align, 32)
    }
    return out
  }
}

function amd64(length) {
  const code = Buffer.from([
    ...[0xb8, 1, 0, 0, 0], // mov eax, 1 (write)
    ...[0xbf, 1, 0, 0, 0], // mov edi, 1
    ...[0x48, 0x8d, 0x35, 0, 0, 0, 0], // lea rsi, [rip + message]
    ...[0xba, 0, 0, 0, 0], // mov edx, length
    ...[0x0f, 0x05], // syscall
    ...[0xb8, 60, 0, 0, 0], // mov eax, 60 (exit)
    ...[0x31, 0xff], // xor edi, edi
    ...[0x0f, 0x05], // syscall
  ])
  code.writeInt32LE(code.length - 17, 13) // from the end of the lea
  code.writeUInt32LE(length, 18)
  return code
}

function arm64(length) {
  const adr = offset => (0x10000000 | ((offset & 3) << 29) | ((offset >> 2) << 5) | 1) >>> 0
  const movz = (register, value) => (0xd2800000 | (value << 5) | register) >>> 0
  const svc = 0xd4000001
  // adr is the second of eight instructions, the message follows the last.
  return words([movz(0, 1), adr(7 * 4), movz(2, length), movz(8, 64), svc, movz(0, 0), movz(8, 93), svc])
}

function arm(length) {
  const mov = (register, value) => (0xe3a00000 | (register << 12) | value) >>> 0
  const movw = (0xe3000000 | (2 << 12) | ((length >> 12) << 16) | (length & 0xfff)) >>> 0
  const svc = 0xef000000
  // pc reads as the address of the instruction plus 8.
  const address = (0xe28f1000 | (7 * 4 - 8)) >>> 0
  return words([mov(0, 1), address, movw, mov(7, 4), svc, mov(0, 0), mov(7, 1), svc])
}

/** Build attributes that say ARMv7-A, as compilers write them ("ELF for the ARM architecture", build attributes). */
function armAttributes() {
  const tags = Buffer.from([6, 10, 7, 0x41, 8, 1]) // CPU_arch v7, profile A, ARM instructions
  const file = Buffer.concat([Buffer.from([1]), u32le(tags.length + 5), tags])
  const vendor = Buffer.from('aeabi\0')
  return Buffer.concat([Buffer.from('A'), u32le(4 + vendor.length + file.length), vendor, file])
}

function words(values) {
  return Buffer.concat(values.map(u32le))
}

function u32le(value) {
  const out = Buffer.alloc(4)
  out.writeUInt32LE(value)
  return out
}

function align(value, to) {
  return Math.ceil(value / to) * to
}
