import { availableParallelism } from 'node:os'
import type { MemberFormat } from './compress-member.ts'
import type { Answer, Job } from './gzip-worker.ts'

/** Uncompressed bytes of a member: the step of the member tables, part of the format version (DESIGN §4). */
export const MEMBER_SIZE = 1 << 20

interface Task {
  readonly buffer: ArrayBuffer
  readonly length: number
  readonly format: MemberFormat
  readonly level: number
  readonly resolve: (out: Uint8Array) => void
  readonly reject: (error: Error) => void
}

/** The types of the web know no `unref`. */
type BunWorker = Worker & { unref(): void }

interface Slot {
  readonly worker: BunWorker
  readonly running: Map<number, Task>
}

/** Jobs that a worker has at hand, so that it never waits for the main thread. */
const DEPTH = 2

const slots: Slot[] = []
const queue: Task[] = []
const spare: ArrayBuffer[] = []
const waiting = new Set<{ readonly limit: number; readonly resolve: () => void }>()
let pending = 0
/** Keeps the program alive while jobs are under way; the workers themselves never do. */
let alive: ReturnType<typeof setInterval> | undefined
let nextId = 0

export const defaultWorkers: number = availableParallelism()

/** A buffer of MEMBER_SIZE; its content is undefined. */
export function takeBuffer(): ArrayBuffer {
  return spare.pop() ?? new ArrayBuffer(MEMBER_SIZE)
}

export function giveBuffer(buffer: ArrayBuffer): void {
  if (spare.length < 8) spare.push(buffer)
}

/** A promise to wait for while as many members are under way, in the whole process, as the workers can use. */
export function room(workers: number): Promise<void> | undefined {
  const limit = workers * (DEPTH + 1)
  if (pending < limit) return undefined
  return new Promise(resolve => waiting.add({ limit, resolve }))
}

/** Has a worker compress the first `length` bytes of a buffer, which then belongs to the pool. Starts workers as needed. */
export function compressInPool(
  buffer: ArrayBuffer,
  length: number,
  format: MemberFormat,
  level: number,
  workers: number,
): Promise<Uint8Array> {
  if (pending++ === 0) alive = setInterval(() => {}, 2 ** 30)
  return new Promise<Uint8Array>((resolve, reject) => {
    queue.push({ buffer, length, format, level, resolve, reject })
    if (slots.length < workers && slots.every(slot => slot.running.size > 0)) slots.push(start())
    assign()
  }).finally(() => {
    if (--pending === 0) clearInterval(alive)
    for (const waiter of waiting)
      if (pending < waiter.limit) {
        waiting.delete(waiter)
        waiter.resolve()
      }
  })
}

/** Gives queued jobs to the workers with the fewest. */
function assign(): void {
  for (;;) {
    let free: Slot | undefined
    for (const slot of slots)
      if (slot.running.size < DEPTH && slot.running.size < (free?.running.size ?? DEPTH)) free = slot
    const task = free && queue.shift()
    if (free === undefined || task === undefined) return
    const { buffer, length, format, level } = task
    const job: Job = { id: nextId++, buffer, length, format, level }
    free.running.set(job.id, task)
    free.worker.postMessage(job, [buffer])
  }
}

function start(): Slot {
  const worker = new Worker(new URL('./gzip-worker.ts', import.meta.url)) as BunWorker
  worker.unref()
  const slot: Slot = { worker, running: new Map() }
  worker.onmessage = ({ data }: MessageEvent<Answer>) => {
    const task = slot.running.get(data.id)
    slot.running.delete(data.id)
    giveBuffer(data.buffer)
    assign()
    if (data.out !== undefined) task?.resolve(data.out)
    else task?.reject(new Error(`compression failed: ${data.error}`))
  }
  worker.onerror = event => {
    slots.splice(slots.indexOf(slot), 1)
    for (const task of slot.running.values()) task.reject(new Error(`a compression worker died: ${event.message}`))
    worker.terminate()
    if (slots.length === 0) for (const task of queue.splice(0)) task.reject(new Error('no compression worker is left'))
    assign()
  }
  return slot
}
