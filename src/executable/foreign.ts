import { type Bytes, viewOf } from './bytes.ts'

/** A program for Windows (PE/COFF): IMAGE_FILE_HEADER.Machine tells the architecture. */
export interface Pe {
  readonly kind: 'pe'
  readonly architecture: string
}

/** A program for macOS; several architectures in a universal file. */
export interface MachO {
  readonly kind: 'mach-o'
  readonly architectures: readonly string[]
}

const PE_MACHINES: ReadonlyMap<number, string> = new Map([
  [0x14c, '386'],
  [0x1c0, 'arm'],
  [0x1c4, 'arm'],
  [0x8664, 'amd64'],
  [0xaa64, 'arm64'],
  [0x5064, 'riscv64'],
])
const CPU_TYPES: ReadonlyMap<number, string> = new Map([
  [7, '386'],
  [12, 'arm'],
  [18, 'ppc'],
  [0x01000007, 'amd64'],
  [0x0100000c, 'arm64'],
  [0x01000012, 'ppc64'],
])

/** Undefined for what is no PE file; never throws. */
export function readPe(file: Bytes): Pe | undefined {
  const dos = viewOf(file, 0, 64)
  if (dos === undefined || dos.getUint16(0) !== 0x4d5a) return undefined
  const coff = viewOf(file, dos.getUint32(60, true), 6)
  if (coff === undefined || coff.getUint32(0) !== 0x50450000) return undefined
  const machine = coff.getUint16(4, true)
  return { kind: 'pe', architecture: PE_MACHINES.get(machine) ?? `machine 0x${machine.toString(16)}` }
}

/** Undefined for what is no Mach-O file; never throws. */
export function readMachO(file: Bytes): MachO | undefined {
  const head = viewOf(file, 0, 8)
  if (head === undefined) return undefined
  const name = (type: number): string => CPU_TYPES.get(type) ?? `CPU type ${type}`
  const magic = head.getUint32(0)
  if (magic === 0xcefaedfe || magic === 0xcffaedfe)
    return { kind: 'mach-o', architectures: [name(head.getUint32(4, true))] }
  if (magic === 0xfeedface || magic === 0xfeedfacf) return { kind: 'mach-o', architectures: [name(head.getUint32(4))] }
  // A Java class has the same magic; its version stands where the number of architectures is, and began at 45.
  const count = head.getUint32(4)
  if (magic !== 0xcafebabe || count === 0 || count >= 45) return undefined
  const architectures: string[] = []
  for (let i = 0; i < count; i++) {
    const entry = viewOf(file, 8 + 20 * i, 4)
    if (entry === undefined) break
    architectures.push(name(entry.getUint32(0)))
  }
  return { kind: 'mach-o', architectures }
}
