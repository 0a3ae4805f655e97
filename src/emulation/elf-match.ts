import { PROBE_MACHINES } from './probe-program.ts'

/**
 * Which files an emulator of an architecture is for, as magic and mask over the ELF header (gABI): class, byte order and
 * machine must be the same; any OS ABI and ABI version; ET_EXEC and ET_DYN, which differ in one bit. Undefined for an
 * architecture that is not known.
 */
export function elfMatch(
  architecture: string,
): { readonly magic: Uint8Array<ArrayBuffer>; readonly mask: Uint8Array<ArrayBuffer> } | undefined {
  const name = architecture === 'arm' ? 'arm/v5' : architecture
  const known = Object.hasOwn(PROBE_MACHINES, name) ? PROBE_MACHINES[name] : undefined
  if (known === undefined) return undefined
  const { bits, endian, machine } = known
  const little = endian === 'little'
  // o32 and n32 have the same class and machine: EF_MIPS_ABI2 in e_flags, at 36 of a 32-bit header, tells them apart.
  const o32 = machine === 8 && bits === 32
  const magic = new Uint8Array(o32 ? 40 : 20)
  const mask = new Uint8Array(magic.length)
  magic.set([0x7f, 0x45, 0x4c, 0x46, bits === 64 ? 2 : 1, little ? 1 : 2, 1])
  mask.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
  const [magicView, maskView] = [new DataView(magic.buffer), new DataView(mask.buffer)]
  magicView.setUint16(16, 2, little)
  maskView.setUint16(16, 0xfffe, little)
  magicView.setUint16(18, machine, little)
  maskView.setUint16(18, 0xffff, little)
  if (o32) maskView.setUint32(36, 0x20, little)
  return { magic, mask }
}
