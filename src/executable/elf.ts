import { type Bytes, latin1, viewOf } from './bytes.ts'

/** What an ELF file says of itself (gABI, ELF header and program header; psABIs for the flags). */
export interface Elf {
  readonly kind: 'elf'
  readonly bits: 32 | 64
  readonly endian: 'little' | 'big'
  /** e_machine. */
  readonly machine: number
  /** OCI's word (`arm64`), or the usual one for what OCI has no word for (`sparc64`, `machine 1234`). */
  readonly architecture: string
  readonly type: 'executable' | 'shared' | 'object' | 'core' | 'other'
  /** e_flags. */
  readonly flags: number
  /** Of arm: which registers floats are passed in, where the file says so. */
  readonly floatAbi?: 'hard' | 'soft'
  /** The loader that a dynamically linked program asks for (PT_INTERP), as it stands there; absent for static ones. */
  readonly interpreter?: string
  /** Why no kernel runs it; absent for a program that is whole as far as its headers tell. */
  readonly defect?: string
}

const [PT_LOAD, PT_INTERP] = [1, 3]
/** The kernel's own limits: program headers of one page of 64 KiB, PATH_MAX for the loader's path. */
const MAX_HEADERS = 65536
const MAX_INTERPRETER = 4096
const TYPES = ['other', 'object', 'executable', 'shared', 'core'] as const

/** Reads the headers of an ELF file of any architecture; undefined for what is no ELF. Never throws, whatever the bytes. */
export function readElf(file: Bytes): Elf | undefined {
  const ident = viewOf(file, 0, 16)
  if (ident === undefined || ident.getUint32(0) !== 0x7f454c46) return undefined
  const bits = ident.getUint8(4) === 1 ? 32 : 64
  const endian = ident.getUint8(5) === 2 ? 'big' : 'little'
  const wide = bits === 64
  const header = viewOf(file, 0, wide ? 64 : 52)
  const broken = (defect: string): Elf => ({
    ...{ kind: 'elf', bits, endian, machine: 0, architecture: 'an unknown machine', type: 'other', flags: 0, defect },
  })
  if (header === undefined) return broken('it ends within its header')
  if (![1, 2].includes(ident.getUint8(4)) || ![1, 2].includes(ident.getUint8(5))) return broken('its header is damaged')
  const little = endian === 'little'
  const machine = header.getUint16(18, little)
  const flags = header.getUint32(wide ? 48 : 36, little)
  const type = TYPES[header.getUint16(16, little)] ?? 'other'
  const { interpreter, defect } = readSegments(file, header, wide, little)
  const floatAbi = machine === 40 ? ({ 1024: 'hard', 512: 'soft' } as const)[flags & 0x600] : undefined
  const reason =
    type === 'object' ? 'it is an object file that was not linked' : type === 'core' ? 'it is a core dump' : defect
  return {
    ...{ kind: 'elf', bits, endian, machine, architecture: architectureOf(machine, bits, endian, flags), type, flags },
    ...(floatAbi && { floatAbi }),
    ...(interpreter !== undefined && { interpreter }),
    ...(reason !== undefined && { defect: reason }),
  }
}

function readSegments(
  file: Bytes,
  header: DataView,
  wide: boolean,
  little: boolean,
): { readonly interpreter?: string; readonly defect?: string } {
  const word = (view: DataView, at: number): number =>
    wide ? Number(view.getBigUint64(at, little)) : view.getUint32(at, little)
  const at = word(header, wide ? 32 : 28)
  const size = header.getUint16(wide ? 54 : 42, little)
  const count = header.getUint16(wide ? 56 : 44, little)
  if (count === 0) return { defect: 'it has no program headers' }
  if (size !== (wide ? 56 : 32) || size * count > MAX_HEADERS) return { defect: 'its program headers are damaged' }
  const table = viewOf(file, at, size * count)
  if (table === undefined) return { defect: 'it is cut off' }
  let interpreter: string | undefined
  let defect: string | undefined
  for (let i = 0; i < table.byteLength; i += size) {
    const type = table.getUint32(i, little)
    const offset = word(table, i + (wide ? 8 : 4))
    const length = word(table, i + (wide ? 32 : 16))
    if (type === PT_LOAD && offset + length > file.size) defect = 'it is cut off'
    if (type !== PT_INTERP || interpreter !== undefined) continue
    const view = length > MAX_INTERPRETER ? undefined : viewOf(file, offset, length)
    if (view === undefined) defect ??= 'its program headers are damaged'
    else interpreter = latin1(new Uint8Array(view.buffer, view.byteOffset, view.byteLength)).split('\0')[0]!
  }
  return { ...(interpreter !== undefined && { interpreter }), ...(defect !== undefined && { defect }) }
}

/** e_machine → the word, for 32 and 64 bits, little and big endian; a single word is for all. */
const MACHINES: ReadonlyMap<number, string | readonly [le32: string, le64: string, be32?: string, be64?: string]> =
  new Map<number, string | readonly [string, string, string?, string?]>([
    [2, 'sparc'],
    [3, '386'],
    [4, 'm68k'],
    [8, ['mipsle', 'mips64le', 'mips', 'mips64']],
    [15, 'hppa'],
    [18, 'sparc32plus'],
    [20, 'ppc'],
    [21, ['ppc64le', 'ppc64le', 'ppc64', 'ppc64']],
    [22, ['s390', 's390x', 's390', 's390x']],
    [40, ['arm', 'arm', 'big-endian arm', 'big-endian arm']],
    [42, 'sh4'],
    [43, 'sparc64'],
    [50, 'ia64'],
    [62, ['x32', 'amd64']],
    [92, 'or1k'],
    [94, 'xtensa'],
    [164, 'hexagon'],
    [183, ['arm64 with 32-bit pointers', 'arm64', 'big-endian arm64', 'big-endian arm64']],
    [189, 'microblaze'],
    [243, ['riscv32', 'riscv64']],
    [247, 'BPF'],
    [258, ['loong32', 'loong64']],
    [0x9026, 'alpha'],
  ])

function architectureOf(machine: number, bits: 32 | 64, endian: 'little' | 'big', flags: number): string {
  const found = MACHINES.get(machine)
  if (found === undefined) return `machine ${machine}`
  if (typeof found === 'string') return found
  const name = found[(bits === 64 ? 1 : 0) + (endian === 'big' ? 2 : 0)] ?? found[bits === 64 ? 1 : 0]!
  // EF_MIPS_ABI2: the n32 ABI is 64-bit code with 32-bit pointers, which needs an emulator of its own.
  return machine === 8 && bits === 32 && (flags & 0x20) !== 0 ? `${name} with the n32 ABI` : name
}
