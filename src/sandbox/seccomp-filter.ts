import type { Seccomp, SystemCallRule } from './confinement.ts'
import { type Abi, systemCalls } from './system-calls.ts'

/** AUDIT_ARCH_*, and the ABI's table. The native one first. */
const ARCHITECTURES: Readonly<Record<string, readonly (readonly [audit: number, abi: Abi])[]>> = {
  x64: [
    [0xc000003e, 'x64'],
    [0x40000003, 'x86'],
  ],
  arm64: [
    [0xc00000b7, 'arm64'],
    [0x40000028, 'arm'],
  ],
}

/** One classic BPF instruction, see linux/filter.h. */
type Instruction = readonly [code: number, jt: number, jf: number, k: number]

const [LOAD, JUMP, IF_EQUAL, IF_GREATER, IF_AT_LEAST, AND, RETURN] = [0x20, 0x05, 0x15, 0x25, 0x35, 0x54, 0x06]
const [KILL_PROCESS, ERRNO, ALLOW] = [0x80000000, 0x00050000, 0x7fff0000]
/** Offsets in struct seccomp_data. */
const [NUMBER, ARCHITECTURE, ARGUMENTS] = [0, 4, 16]
const ENOSYS = 38
/** The bit of calls of the x32 ABI, which nobody uses: they do not exist. */
const X32 = 0x40000000

/**
 * A profile as a program for seccomp(2). Calls that our tables do not know do not exist (ENOSYS), so that libraries fall
 * back, as runc has it for those that are too new; what is forbidden has the profile's errno. Of arguments the lower 32 bits count, which is what the kernel takes of these.
 */
export function seccompFilter(profile: Seccomp, arch: string = process.arch): Uint8Array {
  const sections = ARCHITECTURES[arch]!.map(([audit, abi]) => ({ audit, code: section(profile, abi) }))
  const head: Instruction[] = [[LOAD, 0, 0, ARCHITECTURE]]
  let distance = sections.length * 2
  for (const [i, { audit, code }] of sections.entries()) {
    head.push([IF_EQUAL, 0, 1, audit], [JUMP, 0, 0, distance - 2 * i - 1])
    distance += code.length
  }
  head.push([RETURN, 0, 0, KILL_PROCESS])
  return encode([...head, ...sections.flatMap(({ code }) => code)])
}

function section(profile: Seccomp, abi: Abi): Instruction[] {
  const numbers = systemCalls(abi)
  const denied = ERRNO | profile.defaultErrnoRet
  const plain = new Set<number>()
  const special = new Map<number, SystemCallRule[]>()
  for (const rule of profile.syscalls)
    for (const name of rule.names) {
      const number = numbers.get(name)
      if (number === undefined) continue
      if (rule.args === undefined && rule.action === 'SCMP_ACT_ALLOW') plain.add(number)
      else special.set(number, [...(special.get(number) ?? []), rule])
    }
  return [
    [LOAD, 0, 0, NUMBER],
    ...(abi === 'x64'
      ? ([
          [IF_AT_LEAST, 0, 1, X32],
          [RETURN, 0, 0, ERRNO | ENOSYS],
        ] as const)
      : []),
    ...[...special].flatMap(([number, rules]) => {
      const block = [...rules.flatMap(test), [RETURN, 0, 0, denied] as const]
      return [[IF_EQUAL, 0, block.length, number] as const, ...block]
    }),
    ...decide(verdicts(numbers.values(), plain, denied)),
  ]
}

/** Returns when the rule holds; falls through otherwise. */
function test(rule: SystemCallRule): Instruction[] {
  const verdict: Instruction = [RETURN, 0, 0, rule.action === 'SCMP_ACT_ALLOW' ? ALLOW : ERRNO | (rule.errnoRet ?? 1)]
  const [argument, more] = rule.args ?? []
  if (argument === undefined) return [verdict]
  if (more !== undefined) throw new Error(`a rule for ${rule.names.join()} has several conditions`)
  const { index, op, value, valueTwo = 0 } = argument
  const load: Instruction = [LOAD, 0, 0, ARGUMENTS + 8 * index]
  if (op === 'SCMP_CMP_EQ') return [load, [IF_EQUAL, 0, 1, value], verdict]
  if (op === 'SCMP_CMP_GT') return [load, [IF_GREATER, 0, 1, value], verdict]
  if (op === 'SCMP_CMP_LT') return [load, [IF_AT_LEAST, 1, 0, value], verdict]
  return [load, [AND, 0, 0, value], [IF_EQUAL, 0, 1, valueTwo], verdict]
}

interface Verdict {
  /** The first number that it is for. */
  readonly from: number
  readonly value: number
}

/** Verdicts for all numbers, in ascending order, neighbours differing: what the table does not know does not exist. */
function verdicts(known: Iterable<number>, allowed: ReadonlySet<number>, denied: number): Verdict[] {
  const all: Verdict[] = []
  const add = (from: number, value: number): void => {
    if (all.at(-1)?.value !== value) all.push({ from, value })
  }
  let next = 0
  for (const number of [...known].sort((a, b) => a - b)) {
    if (number > next) add(next, ERRNO | ENOSYS)
    add(number, allowed.has(number) ? ALLOW : denied)
    next = number + 1
  }
  add(next, ERRNO | ENOSYS)
  return all
}

/** A binary tree of comparisons. */
function decide(all: readonly Verdict[]): Instruction[] {
  if (all.length === 1) return [[RETURN, 0, 0, all[0]!.value]]
  const middle = all.length >> 1
  const [below, above] = [decide(all.slice(0, middle)), decide(all.slice(middle))]
  return [[IF_AT_LEAST, below.length, 0, all[middle]!.from], ...below, ...above]
}

/** struct sock_filter. */
function encode(program: readonly Instruction[]): Uint8Array {
  const out = Buffer.alloc(program.length * 8)
  for (const [i, [code, jt, jf, k]] of program.entries()) {
    if (jt > 255 || jf > 255) throw new Error('a jump of the filter is too long')
    out.writeUInt16LE(code, i * 8)
    out[i * 8 + 2] = jt
    out[i * 8 + 3] = jf
    out.writeUInt32LE(k >>> 0, i * 8 + 4)
  }
  return out
}
