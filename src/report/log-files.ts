import { createHash } from 'node:crypto'
import { closeSync, lstatSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { sanitize } from '../errors/render-text.ts'
import type { CellName, Failure, RunEvent } from '../run/events.ts'
import { FOLDER, makeFolder } from './folder.ts'
import { cellKey } from './format.ts'
import { LineBuffer } from './lines.ts'

/** As many lines as a failure carries with it. */
const LAST_LINES = 20

interface Log {
  readonly buffer: LineBuffer
  /** Undefined until there is a line, and when the file cannot be written. */
  fd?: number
  failed: boolean
  /** By number: the steps that may still say something. */
  readonly steps: Map<number, string>
  /** The number of the step that spoke last, and whether it was said which one that is. */
  speaker?: number
  headed: boolean
  last: string[]
}

/** `api-linux-arm64.log`; a short hash tells names apart that look alike as file names. */
export function logFileName(cell: CellName): string {
  const plain = cell.service
    .replace(/[^A-Za-z0-9._-]/g, '_')
    .replace(/^\.+/, '_')
    .slice(0, 100)
  const hash = createHash('sha256').update(cell.service).digest('hex').slice(0, 8)
  const service = plain === cell.service && plain === plain.toLowerCase() ? plain : `${plain}-${hash}`
  return `${service}-${cell.platform.replace(/[^A-Za-z0-9._]+/g, '-')}.log`
}

/**
 * Writes what the steps of each cell say to `.archimage/logs/<service>-<platform>.log` below `root`: whole lines,
 * redacted and without control sequences, so that they can be shown by anything. A file appears with its first line;
 * those of former runs of the same cells go when a run starts. Without a root there are no files, and failures know their last lines.
 */
export class LogFiles {
  readonly #root: string | undefined
  readonly #logs = new Map<string, Log>()
  /** What the failures of cells that ended say of their logs. */
  readonly #ended = new Map<string, Pick<Failure, 'log' | 'logFile'>>()

  #problem: string | undefined

  constructor(root: string | undefined) {
    this.#root = root
  }

  /** Why a log could not be written. */
  get problem(): string | undefined {
    return this.#problem
  }

  /**
   * Takes the event in, and gives it back with the failures in it knowing their log: its last lines, and its file
   * (relative to the root). A disk that cannot be written only costs the file.
   */
  emit(event: RunEvent): RunEvent {
    switch (event.type) {
      case 'run-started':
        this.#forget(event.cells)
        return event
      case 'cell-step': {
        const log = this.#of(event.cell)
        this.#write(event.cell, log, log.buffer.end())
        log.steps.set(event.number, `[${event.number}/${event.total}] ${sanitize(event.step)}`)
        log.speaker = event.number
        log.headed = false
        return event
      }
      case 'cell-log': {
        const log = this.#of(event.cell)
        if (event.step !== undefined && event.step !== log.speaker) {
          log.speaker = event.step
          log.headed = false
        }
        this.#write(event.cell, log, log.buffer.push(event.text))
        return event
      }
      case 'cell-ended':
        this.#end(event.cell)
        return { ...event, ...this.#failureOf(event.cell, event.failure) }
      case 'run-ended': {
        const cells = event.result.cells.map(cell => ({ ...cell, ...this.#failureOf(cell, cell.failure) }))
        return { ...event, result: { ...event.result, cells } }
      }
      default:
        return event
    }
  }

  /** Closes the files of cells that have not ended. */
  close(): void {
    for (const log of this.#logs.values()) if (log.fd !== undefined) closeSync(log.fd)
    this.#logs.clear()
  }

  #of(cell: CellName): Log {
    const log = this.#logs.get(cellKey(cell)) ?? {
      buffer: new LineBuffer(),
      failed: false,
      last: [],
      steps: new Map(),
      headed: true,
    }
    this.#logs.set(cellKey(cell), log)
    return log
  }

  #write(cell: CellName, log: Log, lines: readonly string[]): void {
    if (lines.length === 0) return
    log.last = [...log.last, ...lines].slice(-LAST_LINES)
    if (log.failed || this.#root === undefined) return
    try {
      log.fd ??= this.#open(cell, this.#root)
      const heading = log.headed ? [] : [log.steps.get(log.speaker!) ?? '']
      log.headed = true
      writeSync(log.fd, [...heading, ...lines, ''].join('\n'))
    } catch (error) {
      log.failed = true
      this.#problem ??= `no log files: ${(error as Error).message}`
    }
  }

  /** `wx` follows no link and opens nothing that a stranger put there. */
  #open(cell: CellName, root: string): number {
    const path = join(makeFolder(root, FOLDER, 'logs'), logFileName(cell))
    rmSync(path, { force: true })
    return openSync(path, 'wx', 0o644)
  }

  #end(cell: CellName): void {
    const log = this.#logs.get(cellKey(cell))
    if (log === undefined) return
    this.#write(cell, log, log.buffer.end())
    if (log.fd !== undefined) closeSync(log.fd)
    this.#logs.delete(cellKey(cell))
    if (log.last.length === 0) return
    const file = log.fd === undefined ? {} : { logFile: `${FOLDER}/logs/${logFileName(cell)}` }
    this.#ended.set(cellKey(cell), { log: log.last, ...file })
  }

  /** What the engine said of the log wins. */
  #failureOf(cell: CellName, failure: Failure | undefined): { failure?: Failure } {
    return failure === undefined ? {} : { failure: { ...this.#ended.get(cellKey(cell)), ...failure } }
  }

  #forget(cells: readonly CellName[]): void {
    if (this.#root === undefined) return
    try {
      const folder = join(this.#root, FOLDER, 'logs')
      if (!lstatSync(folder, { throwIfNoEntry: false })?.isDirectory()) return
      makeFolder(this.#root, FOLDER, 'logs')
      for (const cell of cells) rmSync(join(folder, logFileName(cell)), { force: true })
    } catch {
      // An old log that cannot go is no reason not to build.
    }
  }
}
