import { availableParallelism } from 'node:os'
import { ArchimageError } from '../errors/error.ts'
import type { Entry } from '../layer/entry.ts'
import type { Answer, Batch, End } from './write-worker.ts'

/** With one processor threads would only wait for each other. */
export const canThread: boolean = availableParallelism() > 1
/** Files up to this size are worth a thread's while. */
export const SMALL = 64 * 1024
const BATCH_BYTES = 512 * 1024
const BATCH_FILES = 500
/** Batches that a thread has at hand, so that it never waits. */
const DEPTH = 3
/** More threads than these wait for each other in the file system. */
const MAX_THREADS = 4

/** The types of the web know no `unref`. */
type BunWorker = Worker & { unref(): void }

const jobs = new Map<number, (answer: Answer & { readonly ended?: boolean }) => void>()
const threads: BunWorker[] = []
const spare: ArrayBuffer[] = []
let nextJob = 1
/** Keeps the program alive while there are jobs; the threads themselves never do. */
let alive: ReturnType<typeof setInterval> | undefined

function thread(number: number): BunWorker {
  threads[number] ??= start()
  return threads[number]
}

function start(): BunWorker {
  const worker = new Worker(new URL('./write-worker.ts', import.meta.url)) as BunWorker
  worker.unref()
  worker.onmessage = ({ data }: MessageEvent<Answer>) => jobs.get(data.job)?.(data)
  worker.onerror = ({ message }) => {
    threads.splice(0)
    for (const [job, take] of jobs) take({ job, ended: true, failure: { message: `a thread ended: ${message}` } })
  }
  return worker
}

interface Filling {
  paths: string[]
  numbers: number[]
  xattrs: Record<number, Readonly<Record<string, string>>>
  bytes: ArrayBuffer
  filled: number
  /** Batches that the thread has not answered. */
  pending: number
}

/**
 * Writes small files below a directory in threads that all jobs of the process share: making a file is work for the kernel, of
 * which two processors do twice as much. Files of one directory go to one thread.
 */
export class WriteThreads {
  readonly #job = nextJob++
  readonly #root: string
  readonly #fillings: Filling[]
  readonly #turns = new Map<string, number>()
  #failure: Error | undefined
  #attributes = 0
  #ending = false
  #ends = 0
  #wake: (() => void) | undefined

  constructor(root: string) {
    this.#root = root
    const count = Math.min(availableParallelism(), MAX_THREADS)
    this.#fillings = Array.from({ length: count }, () => emptyFilling())
    if (jobs.size === 0) alive = setInterval(() => {}, 2 ** 30)
    jobs.set(this.#job, answer => this.#take(answer))
  }

  /** Where the `entry.size` bytes of a file are to be put, before anything else is asked for. Throws what a thread met. */
  space(path: string, entry: Entry): Uint8Array | Promise<Uint8Array> {
    if (this.#failure !== undefined) throw this.#failure
    const dir = path.slice(0, Math.max(0, path.lastIndexOf('/')))
    let turn = this.#turns.get(dir)
    if (turn === undefined) {
      turn = this.#turns.size % this.#fillings.length
      this.#turns.set(dir, turn)
    }
    const filling = this.#fillings[turn]!
    if (filling.filled + entry.size <= BATCH_BYTES && filling.paths.length < BATCH_FILES)
      return reserve(filling, path, entry)
    this.#send(turn)
    if (filling.pending < DEPTH) return reserve(filling, path, entry)
    return this.#room(filling).then(() => reserve(filling, path, entry))
  }

  /** Waits until all is written; returns how many attributes could not be set. Throws what a thread met. */
  async end(): Promise<number> {
    for (const turn of this.#fillings.keys()) this.#send(turn)
    await this.#finish()
    if (this.#failure !== undefined) throw this.#failure
    return this.#attributes
  }

  /** To be called in any case: from here on no thread writes anything. */
  async close(): Promise<void> {
    await this.#finish()
    jobs.delete(this.#job)
    if (jobs.size === 0) clearInterval(alive)
  }

  async #finish(): Promise<void> {
    if (!this.#ending)
      for (const i of this.#fillings.keys()) thread(i).postMessage({ job: this.#job, end: true } satisfies End)
    this.#ending = true
    while (this.#ends < this.#fillings.length) await this.#answer()
  }

  #send(turn: number): void {
    const filling = this.#fillings[turn]!
    const { paths, xattrs, bytes, pending } = filling
    if (paths.length === 0) return
    const numbers = Float64Array.from(filling.numbers)
    const batch: Batch = { job: this.#job, turn, root: this.#root, paths: paths.join('\0'), numbers, xattrs, bytes }
    thread(turn).postMessage(batch, [bytes, numbers.buffer])
    Object.assign(filling, emptyFilling(), { pending: pending + 1 })
  }

  #take({ turn, bytes, attributes, failure, ended = false }: Answer & { readonly ended?: boolean }): void {
    if (turn !== undefined) this.#fillings[turn]!.pending--
    if (bytes !== undefined && spare.length < 8) spare.push(bytes)
    if (attributes !== undefined) {
      this.#attributes += attributes
      this.#ends++
    }
    if (failure !== undefined) this.#failure ??= errorOf(failure)
    if (ended) this.#ends = this.#fillings.length
    this.#wake?.()
  }

  #answer(): Promise<void> {
    return new Promise(resolve => {
      this.#wake = resolve
    })
  }

  async #room(filling: Filling): Promise<void> {
    while (filling.pending >= DEPTH && this.#failure === undefined) await this.#answer()
    if (this.#failure !== undefined) throw this.#failure
  }
}

function emptyFilling(): Filling {
  return {
    ...{ paths: [], numbers: [], xattrs: {}, filled: 0, pending: 0 },
    bytes: spare.pop() ?? new ArrayBuffer(BATCH_BYTES),
  }
}

function reserve(filling: Filling, path: string, { mode, uid, gid, mtime, size, xattrs }: Entry): Uint8Array {
  if (xattrs !== undefined) filling.xattrs[filling.paths.length] = xattrs
  filling.paths.push(path)
  filling.numbers.push(mode, uid, gid, mtime, size)
  const space = new Uint8Array(filling.bytes, filling.filled, size)
  filling.filled += size
  return space
}

function errorOf({ code, message, hint }: NonNullable<Answer['failure']>): Error {
  return code === undefined
    ? new Error(message)
    : new ArchimageError(code as 'TAR_INVALID', message, hint === undefined ? {} : { hint })
}
