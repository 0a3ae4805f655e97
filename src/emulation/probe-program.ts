import type { Platform } from '../oci/platform.ts'
import { X86_LEVEL } from './x86-level.ts'

/**
 * A program of a few instructions that ends with exit code 64, or 64 + its x86-64 level: exit codes that neither a shell nor
 * an emulator gives when something went wrong.
 */
export interface ProbeProgram {
  /** The same for platforms that one run tells about: `amd64` for all its levels. */
  readonly name: string
  readonly bytes: Uint8Array
}

export const PROBE_EXIT = 64

export interface Machine {
  readonly machine: number
  readonly bits: 32 | 64
  readonly endian: 'little' | 'big'
  readonly flags?: number
  /** Instructions of four bytes as the manuals write them, or bytes as they stand in memory. */
  readonly code: readonly number[] | Uint8Array
}

const le32 = { bits: 32, endian: 'little' } as const
const le64 = { bits: 64, endian: 'little' } as const
const be32 = { bits: 32, endian: 'big' } as const
const be64 = { bits: 64, endian: 'big' } as const

// mov r0,#64; mov r7,#1; svc #0 (EABI)
const ARM_EXIT = [0xe3a00040, 0xe3a07001, 0xef000000]
// movz x0,#64; movz x8,#93; svc #0
const ARM64_EXIT = [0xd2800800, 0xd2800ba8, 0xd4000001]
// addiu $a0,$0,64; then the number of exit, which is another one in each ABI, into $v0; syscall
const mipsExit = (call: number): number[] => [0x24040040, 0x24020000 | call, 0x0000000c]
// li r0,1; li r3,64; sc
const POWER_EXIT = [0x38000001, 0x38600040, 0x44000002]
/** EF_ARM_EABI_VER5. */
const EABI5 = 0x05000000

/** exit(64) in the machine language of each architecture; of arm for each level, with an instruction that is new in it. */
export const PROBE_MACHINES: Readonly<Record<string, Machine>> = {
  // x86-level.ts: exit(64 + level)
  amd64: { ...le64, machine: 62, code: X86_LEVEL },
  // mov eax,1; mov ebx,64; int 0x80
  386: { ...le32, machine: 3, code: Uint8Array.of(0xb8, 1, 0, 0, 0, 0xbb, 64, 0, 0, 0, 0xcd, 0x80) },
  arm64: { ...le64, machine: 183, code: ARM64_EXIT },
  // pmul z0.b,z0.b,z0.b: SVE2, which Armv9-A has and Armv8-A has not
  'arm64/v9': { ...le64, machine: 183, code: [0x04206400, ...ARM64_EXIT] },
  'arm/v5': { ...le32, machine: 40, flags: EABI5, code: ARM_EXIT },
  // rev r1,r0; vmov s0,r0: Armv6, VFPv2
  'arm/v6': { ...le32, machine: 40, flags: EABI5, code: [0xe6bf1f30, 0xee000a10, ...ARM_EXIT] },
  // movw r1,#0; dmb ish; vmov.f32 s0,#1.0: Armv7, VFPv3
  'arm/v7': { ...le32, machine: 40, flags: EABI5, code: [0xe3001000, 0xf57ff05b, 0xeeb70a00, ...ARM_EXIT] },
  // li a0,64; li a7,93; ecall
  riscv64: { ...le64, machine: 243, code: [0x04000513, 0x05d00893, 0x00000073] },
  // The flag is the ELFv2 ABI: the entry point is code, not a descriptor.
  ppc64le: { ...le64, machine: 21, flags: 2, code: POWER_EXIT },
  ppc64: { ...be64, machine: 21, flags: 2, code: POWER_EXIT },
  // lghi %r2,64; svc 1
  s390x: { ...be64, machine: 22, code: Uint8Array.of(0xa7, 0x29, 0, 64, 0x0a, 1) },
  // addi.w $a0,$zero,64; addi.w $a7,$zero,93; syscall 0 (the flags: double-precision floats, object ABI 1)
  loong64: { ...le64, machine: 258, flags: 0x43, code: [0x02810004, 0x0281740b, 0x002b0000] },
  // The flags: MIPS64 r2; MIPS32 r2 with the o32 ABI.
  mips64le: { ...le64, machine: 8, flags: 0x80000000, code: mipsExit(5058) },
  mips64: { ...be64, machine: 8, flags: 0x80000000, code: mipsExit(5058) },
  mipsle: { ...le32, machine: 8, flags: 0x70001000, code: mipsExit(4001) },
  mips: { ...be32, machine: 8, flags: 0x70001000, code: mipsExit(4001) },
}

/**
 * The program that tells whether this platform runs; undefined for platforms that no Linux runs. A variant that is not
 * measured by itself (`arm64/v8.2`) counts as its architecture.
 */
export function probeProgram({ os, architecture, variant }: Platform): ProbeProgram | undefined {
  if (os !== 'linux') return undefined
  const exact = `${architecture}/${variant}`
  const name = Object.hasOwn(PROBE_MACHINES, exact) ? exact : architecture === 'arm' ? 'arm/v7' : architecture
  const machine = Object.hasOwn(PROBE_MACHINES, name) ? PROBE_MACHINES[name] : undefined
  return machine && { name, bytes: elf(machine) }
}

/** Where the program is loaded: nothing else lies there on any architecture, and it is a multiple of every page size. */
const BASE = 0x400000

/** An ELF file of one segment with the code, and one that says that the stack is not executable. */
function elf({ machine, bits, endian, flags = 0, code }: Machine): Uint8Array {
  const wide = bits === 64
  const little = endian === 'little'
  const [headerSize, segmentSize] = wide ? [64, 56] : [52, 32]
  const start = headerSize + 2 * segmentSize
  const length = start + (code instanceof Uint8Array ? code.length : code.length * 4)
  const bytes = new Uint8Array(length)
  const view = new DataView(bytes.buffer)
  let at = 0
  const u16 = (value: number): void => {
    view.setUint16(at, value, little)
    at += 2
  }
  const u32 = (value: number): void => {
    view.setUint32(at, value, little)
    at += 4
  }
  /** An address or a size. */
  const word = (value: number): void => {
    if (wide) view.setBigUint64(at, BigInt(value), little)
    else view.setUint32(at, value, little)
    at += wide ? 8 : 4
  }
  bytes.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, little ? 1 : 2, 1])
  at = 16
  u16(2) // ET_EXEC
  u16(machine)
  u32(1)
  word(BASE + start)
  word(headerSize)
  word(0)
  u32(flags)
  for (const value of [headerSize, segmentSize, 2, 0, 0, 0]) u16(value)
  const segment = (type: number, access: number, size: number, align: number): void => {
    u32(type)
    if (wide) u32(access)
    for (const value of [0, size && BASE, size && BASE, size, size]) word(value)
    if (!wide) u32(access)
    word(align)
  }
  segment(1, 5, length, 0x10000) // PT_LOAD, readable and executable
  segment(0x6474e551, 6, 0, 16) // PT_GNU_STACK
  if (code instanceof Uint8Array) bytes.set(code, start)
  else for (const instruction of code) u32(instruction)
  return bytes
}
