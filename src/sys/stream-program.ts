import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { builtin } from './builtin.ts'

export interface ProgramOptions {
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  /** Ends the program and all that it started; `run` still waits for its end. */
  readonly signal?: AbortSignal
  /** How it is told to end: by default its process group gets SIGTERM. What does not follow is killed in the end. */
  readonly end?: (pid: number) => void
  readonly input?: AsyncIterable<Uint8Array>
  /** Gets what the program writes as it comes; what it throws ends the program and is thrown on. */
  readonly stdout?: (chunk: Uint8Array) => void | Promise<void>
  readonly stderr?: (chunk: Uint8Array) => void | Promise<void>
}

export interface Ended {
  /** Absent when a signal ended it. */
  readonly code?: number
  readonly signal?: string
}

/** Milliseconds between two requests to end, and after which a program is killed. */
const ASK_AGAIN = 50
const KILL_AFTER = 3000
/** Milliseconds for which the output of a program that was ended may stay open in the hands of what it started. */
const LINGER = 500

/**
 * Runs a program without a shell, in a process group of its own, and hands on its output while it comes; a slow reader
 * slows the program. Rejects when it cannot be started (`code`: ENOENT, EACCES) and with what a reader throws.
 */
export async function streamProgram(
  command: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<Ended> {
  const { signal, end = endGroup } = options
  signal?.throwIfAborted()
  const child = builtin.childProcess.spawn(command, [...args], {
    stdio: [options.input ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    detached: process.platform !== 'win32',
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  })
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, name) => resolve(code === null ? { signal: name ?? 'SIGKILL' } : { code }))
  })
  // Whoever awaits it hears of it; until then it is no unhandled rejection.
  ended.catch(() => {})
  let timer: ReturnType<typeof setInterval> | undefined
  const stop = (): void => {
    const { pid } = child
    if (pid === undefined || timer !== undefined) return
    const until = performance.now() + KILL_AFTER
    const ask = (): void => (performance.now() < until ? end(pid) : endGroup(pid, 'SIGKILL'))
    timer = setInterval(ask, ASK_AGAIN)
    ask()
  }
  signal?.addEventListener('abort', stop, { once: true })
  const read = async (stream: AsyncIterable<Uint8Array>, take: ProgramOptions['stdout']): Promise<void> => {
    try {
      for await (const chunk of stream) await take?.(chunk)
    } catch (error) {
      stop()
      throw error
    }
  }
  const readers = Promise.all([read(child.stdout!, options.stdout), read(child.stderr!, options.stderr)])
  readers.catch(() => {})
  if (options.input) feed(child.stdin!, options.input, stop)
  try {
    const result = await ended
    if (timer === undefined) await readers
    else await Promise.race([readers, sleep(LINGER, undefined, { ref: false })])
    return result
  } finally {
    clearInterval(timer)
    signal?.removeEventListener('abort', stop)
  }
}

function feed(stdin: NodeJS.WritableStream, input: AsyncIterable<Uint8Array>, stop: () => void): void {
  // A program that ends without reading its input is no failure of ours; one that is not fed must not wait for ever.
  stdin.on('error', () => {})
  const write = async (): Promise<void> => {
    for await (const chunk of input) {
      const error = await new Promise<Error | null | undefined>(resolve => stdin.write(chunk, resolve))
      if (error) return
    }
    stdin.end()
  }
  write().catch(stop)
}

/** Sends a signal to a process and the group that it leads. */
export function endGroup(pid: number, signal: NodeJS.Signals = 'SIGTERM'): void {
  try {
    process.kill(process.platform === 'win32' ? pid : -pid, signal)
  } catch {
    // It has ended.
  }
}

/** The processes that a process started, directly or not, on Linux; empty elsewhere. */
export function descendants(pid: number): number[] {
  if (process.platform !== 'linux') return []
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      // The name in parentheses may hold anything, also parentheses.
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1')
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      children.set(parent, [...(children.get(parent) ?? []), Number(name)])
    } catch {
      // It has ended meanwhile.
    }
  }
  const below = (parent: number): number[] => (children.get(parent) ?? []).flatMap(child => [child, ...below(child)])
  return below(pid)
}

/** Cuts a stream of bytes into lines without their ends; a line beyond `limit` bytes comes in pieces. */
export class Lines {
  readonly #take: (line: string) => void
  readonly #limit: number
  #rest = Buffer.alloc(0)

  constructor(take: (line: string) => void, limit = 1 << 20) {
    this.#take = take
    this.#limit = limit
  }

  push(chunk: Uint8Array): void {
    let bytes = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk])
    for (let at = bytes.indexOf(10); at >= 0 || bytes.length > this.#limit; at = bytes.indexOf(10)) {
      const cut = at < 0 || at > this.#limit ? this.#limit : at
      this.#take(bytes.toString('utf8', 0, cut).replace(/\r$/, ''))
      bytes = bytes.subarray(cut === at ? cut + 1 : cut)
    }
    this.#rest = bytes
  }

  /** The last line, if it has no end. */
  finish(): void {
    if (this.#rest.length > 0) this.#take(this.#rest.toString('utf8'))
    this.#rest = Buffer.alloc(0)
  }
}
