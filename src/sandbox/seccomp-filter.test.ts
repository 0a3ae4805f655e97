import { expect, test } from 'bun:test'
import { seccompProfile } from './confinement.ts'
import { seccompFilter } from './seccomp-filter.ts'
import { type Abi, systemCalls } from './system-calls.ts'

/** A machine for the classic BPF that seccomp(2) takes, after linux/filter.h and the manual of bpf. */
function run(program: Uint8Array, data: { arch: number; number: number; args?: readonly bigint[] }): number {
  const bytes = Buffer.from(program)
  const input = Buffer.alloc(64)
  input.writeUInt32LE(data.number >>> 0, 0)
  input.writeUInt32LE(data.arch >>> 0, 4)
  for (const [i, arg] of (data.args ?? []).entries()) input.writeBigUInt64LE(arg, 16 + 8 * i)
  let [a, pc] = [0, 0]
  for (let steps = 0; steps < 10_000; steps++) {
    const [code, jt, jf, k] = [
      bytes.readUInt16LE(pc * 8),
      bytes[pc * 8 + 2]!,
      bytes[pc * 8 + 3]!,
      bytes.readUInt32LE(pc * 8 + 4),
    ]
    pc++
    if (code === 0x20) a = input.readUInt32LE(k)
    else if (code === 0x54) a = (a & k) >>> 0
    else if (code === 0x05) pc += k
    else if (code === 0x15) pc += a === k ? jt : jf
    else if (code === 0x25) pc += a > k ? jt : jf
    else if (code === 0x35) pc += a >= k ? jt : jf
    else if (code === 0x06) return k
    else throw new Error(`instruction ${code}`)
  }
  throw new Error('no end')
}

const [ALLOW, EPERM, ENOSYS, KILL] = [0x7fff0000, 0x00050001, 0x00050026, 0x80000000]
const AUDIT = { x64: 0xc000003e, x86: 0x40000003, arm64: 0xc00000b7, arm: 0x40000028 } as const

for (const [host, abis] of [
  ['x64', ['x64', 'x86']],
  ['arm64', ['arm64', 'arm']],
] as const) {
  const profile = seccompProfile(host)!
  const filter = seccompFilter(profile, host)
  const verdict = (abi: Abi, name: string, ...args: bigint[]): number =>
    run(filter, { arch: AUDIT[abi], number: systemCalls(abi).get(name)!, args })

  for (const abi of abis)
    test(`${abi} on ${host}: every known call has the verdict of the profile`, () => {
      const free = new Set(
        profile.syscalls
          .filter(rule => rule.args === undefined && rule.action === 'SCMP_ACT_ALLOW')
          .flatMap(rule => rule.names),
      )
      const special = new Set(profile.syscalls.filter(rule => !free.has(rule.names[0]!)).flatMap(rule => rule.names))
      for (const name of systemCalls(abi).keys())
        if (!special.has(name)) expect([name, verdict(abi, name)]).toEqual([name, free.has(name) ? ALLOW : EPERM])
      expect(verdict(abi, 'clone3')).toBe(ENOSYS)
      for (const number of [500, 5000, 2 ** 31, 2 ** 32 - 1])
        expect(run(filter, { arch: AUDIT[abi], number })).toBe(ENOSYS)
    })

  test(`${host}: arguments`, () => {
    const abi = abis[0]
    for (let family = 0n; family < 50n; family++)
      expect(verdict(abi, 'socket', family)).toBe(family === 38n || family === 40n ? EPERM : ALLOW)
    // The kernel takes the lower half of it.
    expect(verdict(abi, 'socket', 0x1_0000_0028n)).toBe(EPERM)
    expect(verdict(abi, 'clone', 17n)).toBe(ALLOW)
    for (const namespace of [0x20000n, 0x2000000n, 0x4000000n, 0x8000000n, 0x10000000n, 0x20000000n, 0x40000000n])
      expect(verdict(abi, 'clone', 17n | namespace)).toBe(EPERM)
    for (const persona of [0n, 8n, 0x20000n, 0x20008n, 0xffffffffn])
      expect(verdict(abi, 'personality', persona)).toBe(ALLOW)
    for (const persona of [1n, 0x40000n, 0x400000n]) expect(verdict(abi, 'personality', persona)).toBe(EPERM)
  })

  test(`${host}: an architecture that is neither ends the process`, () => {
    const other = host === 'x64' ? AUDIT.arm64 : AUDIT.x64
    expect(run(filter, { arch: other, number: 0 })).toBe(KILL)
  })
}

test('calls of x32 do not exist', () => {
  const filter = seccompFilter(seccompProfile('x64')!, 'x64')
  expect(run(filter, { arch: AUDIT.x64, number: 0x40000000 })).toBe(ENOSYS)
})

// From include/uapi/asm-generic/unistd.h, arch/x86/entry/syscalls/, arch/arm/tools/syscall.tbl.
test('numbers of some calls', () => {
  const some = [
    'read',
    'openat',
    'execve',
    'clone',
    'exit_group',
    'mount',
    'seccomp',
    'clone3',
    'mount_setattr',
  ] as const
  const of = (abi: Abi) => some.map(name => systemCalls(abi).get(name)!)
  expect(of('x64')).toEqual([0, 257, 59, 56, 231, 165, 317, 435, 442])
  expect(of('x86')).toEqual([3, 295, 11, 120, 252, 21, 354, 435, 442])
  expect(of('arm64')).toEqual([63, 56, 221, 220, 94, 40, 277, 435, 442])
  expect(of('arm')).toEqual([3, 322, 11, 120, 248, 21, 383, 435, 442])
})
