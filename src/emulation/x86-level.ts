/**
 * Machine code that ends with exit code 64 + the x86-64 level of the CPU (x86-64 psABI, microarchitecture levels), be it a
 * real one or that of an emulator: cpuid for the features, xgetbv for what the kernel saves of the registers.
 * `jb`, `jne` and `je` go to the end.
 */
const CODE: readonly string[] = [
  'bf 41 00 00 00', //        mov edi, 65            level 1
  '31 c0', //                 xor eax, eax
  '0f a2', //                 cpuid
  '41 89 c0', //              mov r8d, eax           the highest leaf
  'b8 00 00 00 80', //        mov eax, 0x80000000
  '0f a2', //                 cpuid
  '3d 01 00 00 80', //        cmp eax, 0x80000001
  'jb',
  'b8 01 00 00 80', //        mov eax, 0x80000001
  '0f a2', //                 cpuid
  '41 89 c9', //              mov r9d, ecx
  'b8 01 00 00 00', //        mov eax, 1
  '0f a2', //                 cpuid
  '41 89 ca', //              mov r10d, ecx
  '81 e1 01 22 98 00', //     and ecx, 0x00982201    SSE3 SSSE3 CMPXCHG16B SSE4.1 SSE4.2 POPCNT
  '81 f9 01 22 98 00', //     cmp ecx, 0x00982201
  'jne',
  '41 f6 c1 01', //           test r9b, 0x01         LAHF/SAHF
  'je',
  'ff c7', //                 inc edi                level 2
  '41 83 f8 07', //           cmp r8d, 7
  'jb',
  '44 89 d1', //              mov ecx, r10d
  '81 e1 00 10 40 38', //     and ecx, 0x38401000    FMA MOVBE OSXSAVE AVX F16C
  '81 f9 00 10 40 38', //     cmp ecx, 0x38401000
  'jne',
  '41 f6 c1 20', //           test r9b, 0x20         LZCNT
  'je',
  'b8 07 00 00 00', //        mov eax, 7
  '31 c9', //                 xor ecx, ecx
  '0f a2', //                 cpuid
  '41 89 db', //              mov r11d, ebx
  '81 e3 28 01 00 00', //     and ebx, 0x128         BMI1 AVX2 BMI2
  '81 fb 28 01 00 00', //     cmp ebx, 0x128
  'jne',
  '31 c9', //                 xor ecx, ecx
  '0f 01 d0', //              xgetbv
  '41 89 c0', //              mov r8d, eax
  '24 06', //                 and al, 0x06           XMM YMM
  '3c 06', //                 cmp al, 0x06
  'jne',
  'ff c7', //                 inc edi                level 3
  '41 81 e3 00 00 03 d0', //  and r11d, 0xd0030000   AVX512 F DQ CD BW VL
  '41 81 fb 00 00 03 d0', //  cmp r11d, 0xd0030000
  'jne',
  '41 81 e0 e6 00 00 00', //  and r8d, 0xe6          opmask ZMM
  '41 81 f8 e6 00 00 00', //  cmp r8d, 0xe6
  'jne',
  'ff c7', //                 inc edi                level 4
]
const EXIT = 'b8 3c 00 00 00 0f 05' // mov eax, 60; syscall

const JUMPS: Readonly<Record<string, readonly [number, number]>> = {
  jb: [0x0f, 0x82],
  jne: [0x0f, 0x85],
  je: [0x0f, 0x84],
}

export const X86_LEVEL: Uint8Array = assemble()

function assemble(): Uint8Array {
  const bytes: number[] = []
  const holes: number[] = []
  for (const line of [...CODE, EXIT]) {
    const jump = JUMPS[line]
    if (jump === undefined) bytes.push(...Buffer.from(line.replaceAll(' ', ''), 'hex'))
    else {
      bytes.push(...jump, 0, 0, 0, 0)
      holes.push(bytes.length - 4)
    }
  }
  const out = Uint8Array.from(bytes)
  const end = out.length - EXIT.split(' ').length
  for (const hole of holes) new DataView(out.buffer).setInt32(hole, end - hole - 4, true)
  return out
}
