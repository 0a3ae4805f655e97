import { join } from 'node:path'
import { systemError } from '../errors/error.ts'
import type { RunEvent, RunResult } from '../run/events.ts'
import { FOLDER, makeFolder, replaceFile } from './folder.ts'
import { stringify } from './json.ts'
import { foldState, initialState, interimResult } from './state.ts'

const WRITE_EVERY = 100

/** Writes `.archimage/result.json` below `dir` (the project's root), by rename. Gives its path. */
export function writeResult(result: RunResult, dir: string): string {
  try {
    const path = join(makeFolder(dir, FOLDER), 'result.json')
    replaceFile(path, `${stringify(result, 2)}\n`)
    return path
  } catch (error) {
    throw systemError(error, `writing ${join(dir, FOLDER, 'result.json')}`)
  }
}

/**
 * The result file of a run that goes on: written anew as cells end, at most every 100 ms, and as it is in the end. After
 * kill -9 the file says which cells had ended, and that the run is not complete.
 */
export class ResultFile {
  readonly #dir: string
  readonly #now: () => number
  readonly #state = initialState()
  #written = Number.NEGATIVE_INFINITY
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(dir: string, now: () => number = Date.now) {
    this.#dir = dir
    this.#now = now
  }

  /** Throws when the result of the whole run cannot be written; while it goes on, that is only tried again. */
  emit(event: RunEvent): void {
    if (event.type === 'cell-log' || event.type === 'transfer' || event.type === 'cell-step') return
    foldState(this.#state, event, this.#now())
    if (event.type === 'run-ended') {
      this.#stop()
      writeResult(event.result, this.#dir)
    } else if (event.type === 'run-started' || event.type === 'cell-ended' || event.type === 'tag') this.#soon()
  }

  /** Without `run-ended` before it, leaves the file as that of an incomplete run. */
  close(): void {
    this.#stop()
    if (this.#state.result === undefined && this.#state.cells.size > 0) this.#write()
  }

  #soon(): void {
    if (this.#timer !== undefined) return
    const wait = this.#written + WRITE_EVERY - this.#now()
    if (wait <= 0) this.#write()
    else {
      this.#timer = setTimeout(() => {
        this.#timer = undefined
        this.#write()
      }, wait)
      this.#timer.unref?.()
    }
  }

  #write(): void {
    this.#written = this.#now()
    try {
      writeResult(interimResult(this.#state, this.#now()), this.#dir)
    } catch {
      // Not worth ending a build for; the last writing reports it.
    }
  }

  #stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
