import { DATA_ADDRESS, staticProgram } from './static-program.ts'
import { type Abi, systemCalls } from './system-calls.ts'

/**
 * A program that makes one system call after the other, from a list of records of eight 64-bit words: number, six arguments,
 * and what to do. It is all that runs between archimage and the command of a step: a threaded runtime can neither fork nor enter
 * namespaces, and a C program would have to be compiled on every machine.
 *
 * A call that fails is reported on file descriptor 3 (address of its record, errno; 16 bytes) and ends the program with 125,
 * unless bit `errno` of the last word is set. Its bit 63 means: when the result is not 0, go on in the second list (the parent
 * after a fork). The data begins with the report's buffer and the address of that list.
 */
const CODE: Readonly<Record<string, string>> = {
  x64: `
    41 bc 40 01 60 00  mov r12d, 0x600140    ; the data
    49 8d 5c 24 40     lea rbx, [r12+64]     ; the first record
    48 8b 03           mov rax, [rbx]        ; loop:
    48 8b 7b 08        mov rdi, [rbx+8]
    48 8b 73 10        mov rsi, [rbx+16]
    48 8b 53 18        mov rdx, [rbx+24]
    4c 8b 53 20        mov r10, [rbx+32]
    4c 8b 43 28        mov r8, [rbx+40]
    4c 8b 4b 30        mov r9, [rbx+48]
    0f 05              syscall
    48 8b 6b 38        mov rbp, [rbx+56]
    48 3d 01 f0 ff ff  cmp rax, -4095
    73 17              jae failed
    48 85 ed           test rbp, rbp
    79 0c              jns next
    48 85 c0           test rax, rax
    74 07              jz next
    49 8b 5c 24 10     mov rbx, [r12+16]
    eb c6              jmp loop
    48 83 c3 40        add rbx, 64           ; next:
    eb c0              jmp loop
    48 f7 d8           neg rax               ; failed:
    49 89 c5           mov r13, rax
    49 89 1c 24        mov [r12], rbx
    49 89 44 24 08     mov [r12+8], rax
    bf 03 00 00 00     mov edi, 3
    4c 89 e6           mov rsi, r12
    ba 10 00 00 00     mov edx, 16
    b8 01 00 00 00     mov eax, 1            ; write
    0f 05              syscall
    4c 0f a3 ed        bt rbp, r13
    72 d1              jc next
    bf 7d 00 00 00     mov edi, 125
    b8 e7 00 00 00     mov eax, 231          ; exit_group
    0f 05              syscall
  `,
  arm64: `
    14 28 80 d2  mov x20, 0x140              ; the data
    14 0c a0 f2  movk x20, 0x60, lsl 16
    93 02 01 91  add x19, x20, 64            ; the first record
    68 02 40 a9  ldp x8, x0, [x19]           ; loop:
    61 0a 41 a9  ldp x1, x2, [x19, 16]
    63 12 42 a9  ldp x3, x4, [x19, 32]
    65 56 43 a9  ldp x5, x21, [x19, 48]
    01 00 00 d4  svc 0
    1f fc 3f b1  cmn x0, 4095
    e2 00 00 54  b.hs failed
    95 00 f8 b6  tbz x21, 63, next
    60 00 00 b4  cbz x0, next
    93 0a 40 f9  ldr x19, [x20, 16]
    f6 ff ff 17  b loop
    73 02 01 91  add x19, x19, 64            ; next:
    f4 ff ff 17  b loop
    f6 03 00 cb  neg x22, x0                 ; failed:
    93 5a 00 a9  stp x19, x22, [x20]
    60 00 80 d2  mov x0, 3
    e1 03 14 aa  mov x1, x20
    02 02 80 d2  mov x2, 16
    08 08 80 d2  mov x8, 64                  ; write
    01 00 00 d4  svc 0
    b5 26 d6 9a  lsr x21, x21, x22
    d5 fe 07 37  tbnz x21, 0, next
    a0 0f 80 d2  mov x0, 125
    c8 0b 80 d2  mov x8, 94                  ; exit_group
    01 00 00 d4  svc 0
  `,
}

const RECORD = 64

/**
 * An argument: a number, or what is put into the program's memory and handed over by its address. Strings get the NUL of C; a list
 * is an array of 64-bit words.
 */
export type Argument = number | string | Uint8Array | readonly Argument[]

export interface Call {
  readonly name: string
  readonly args: readonly Argument[]
  /** Numbers of errors (1 to 62) after which the program goes on. */
  readonly unless?: readonly number[]
  /** With a result other than 0 the program goes on with the second list. */
  readonly fork?: boolean
}

/** What a program said on file descriptor 3. */
export interface Said {
  readonly failures: readonly { readonly call: Call; readonly errno: number }[]
  /** How the child ended, as waitpid(2) gives it. */
  readonly status?: number
}

export interface LaunchProgram {
  readonly bytes: Uint8Array
  read(said: Buffer): Said
}

/** Puts the program together; `second` is what the parent does after a fork. */
export function launchProgram(
  first: readonly Call[],
  second: readonly Call[],
  arch = process.arch as Abi,
): LaunchProgram {
  const calls = [...first, ...second]
  const numbers = systemCalls(arch)
  const head = RECORD + calls.length * RECORD
  const parts: Buffer[] = []
  let size = head
  const placed = new Map<Argument, bigint>()
  /** The same value is there once. */
  const place = (value: Argument, bytes: Uint8Array): bigint => {
    const known = placed.get(value)
    if (known !== undefined) return known
    const at = BigInt(DATA_ADDRESS + size)
    const padded = Buffer.alloc((bytes.length + 7) & ~7)
    padded.set(bytes)
    parts.push(padded)
    size += padded.length
    placed.set(value, at)
    return at
  }
  const address = (value: Argument): bigint => {
    if (typeof value === 'number') return BigInt.asUintN(64, BigInt(value))
    if (typeof value === 'string') return place(value, Buffer.from(`${value}\0`))
    if (value instanceof Uint8Array) return place(value, value)
    const list = Buffer.alloc(value.length * 8)
    for (const [i, one] of value.entries()) list.writeBigUInt64LE(address(one), i * 8)
    return place(value, list)
  }
  const records = Buffer.alloc(head)
  records.writeBigUInt64LE(BigInt(DATA_ADDRESS + RECORD + first.length * RECORD), 16)
  for (const [i, { name, args, unless = [], fork = false }] of calls.entries()) {
    const at = RECORD + i * RECORD
    records.writeBigUInt64LE(BigInt(numbers.get(name)!), at)
    for (const [j, value] of args.entries()) records.writeBigUInt64LE(address(value), at + 8 + j * 8)
    const flags = unless.reduce((sum, errno) => sum | (1n << BigInt(errno)), fork ? 1n << 63n : 0n)
    records.writeBigUInt64LE(flags, at + 56)
  }
  return {
    bytes: staticProgram(machineCode(arch), Buffer.concat([records, ...parts]), arch),
    read: said => read(said, calls),
  }
}

/** In the place of an errno: what comes before it is the status of the child. */
const ENDED = 2n ** 64n - 1n

/** Says that the calls before it were made: `status` is then 0. */
export function sayDone(): Call {
  const done = Buffer.alloc(16)
  done.writeBigUInt64LE(ENDED, 8)
  return { name: 'write', args: [3, done, done.length] }
}

/** The second list: the parent waits for its child, says how it ended, and ends. */
export function waitForChild(): Call[] {
  const status = Buffer.alloc(16)
  status.writeBigUInt64LE(ENDED, 8)
  return [
    { name: 'wait4', args: [-1, status, 0, 0] },
    { name: 'write', args: [3, status, status.length] },
    { name: 'exit_group', args: [0] },
  ]
}

function machineCode(arch: string): Uint8Array {
  const pairs = CODE[arch]!.split('\n').flatMap(
    line =>
      line
        .match(/^\s+((?:[0-9a-f]{2} )+)/)?.[1]
        ?.trim()
        .split(' ') ?? [],
  )
  return Buffer.from(pairs.join(''), 'hex')
}

function read(said: Buffer, calls: readonly Call[]): Said {
  const failures: { call: Call; errno: number }[] = []
  let status: number | undefined
  for (let at = 0; at + 16 <= said.length; at += 16) {
    const errno = said.readBigUInt64LE(at + 8)
    const call = calls[(Number(said.readBigUInt64LE(at)) - DATA_ADDRESS - RECORD) / RECORD]
    if (errno === ENDED) status = said.readUInt32LE(at)
    else if (call !== undefined) failures.push({ call, errno: Number(errno) })
  }
  return { failures, ...(status === undefined ? {} : { status }) }
}
