import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Digest } from '../oci/digest.ts'
import { isDigest } from '../oci/digest.ts'
import { isRecord } from '../oci/json.ts'
import type { Store } from '../store/store.ts'
import { removeFile, temporaryName, writeFileAtomic } from '../sys/files.ts'
import { type Lock, lockFile } from '../sys/locks.ts'

/** One tag that a run is about to move. */
export interface Move {
  /** Whole reference with its tag. */
  readonly reference: string
  readonly before: Digest | undefined
  readonly after: Digest
}

/**
 * What a run is about to do to tags, written before the first one moves and removed after the last: a run that was killed
 * in between is completed by the next one (DESIGN §5, publication is a barrier). The writer holds a lock as long as it lives.
 */
export class Journal {
  private readonly path: string
  private readonly lock: Lock | undefined

  private constructor(path: string, lock: Lock | undefined) {
    this.path = path
    this.lock = lock
  }

  static write(store: Store, moves: readonly Move[]): Journal {
    const dir = folder(store)
    const path = join(dir, `${temporaryName()}.json`)
    const lock = lockFile(`${path}.lock`, 'exclusive')
    writeFileAtomic(path, JSON.stringify({ version: 1, moves }))
    return new Journal(path, lock)
  }

  close(): void {
    removeFile(this.path)
    removeFile(`${this.path}.lock`)
    this.lock?.release()
  }

  /** Lets go of it for a later run. */
  leave(): void {
    this.lock?.release()
  }

  /**
   * The journals of runs that no longer live and that `concerns` is true of; the caller finishes them and closes them.
   * Unreadable and very old ones are removed: what they speak of is history.
   */
  static abandoned(
    store: Store,
    concerns: (move: Move) => boolean,
  ): { readonly moves: readonly Move[]; readonly journal: Journal }[] {
    const dir = folder(store)
    const out: { moves: readonly Move[]; journal: Journal }[] = []
    for (const name of readdirSync(dir)) {
      if (!name.endsWith('.json')) continue
      const path = join(dir, name)
      const lock = lockFile(`${path}.lock`, 'exclusive')
      if (!lock) continue
      const moves = readMoves(path)
      const journal = new Journal(path, lock)
      if (!moves || isOld(path)) journal.close()
      else if (moves.some(concerns)) out.push({ moves, journal })
      else journal.leave()
    }
    return out
  }
}

function folder(store: Store): string {
  const dir = join(store.root, 'journal')
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  return dir
}

const OLD = 14 * 86_400_000

function isOld(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat === undefined || Date.now() - stat.mtimeMs > OLD
}

function readMoves(path: string): Move[] | undefined {
  try {
    const json: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (!isRecord(json) || json['version'] !== 1 || !Array.isArray(json['moves'])) return undefined
    const moves = json['moves'].filter(
      move =>
        isRecord(move) &&
        typeof move['reference'] === 'string' &&
        isDigest(move['after']) &&
        (move['before'] === undefined || isDigest(move['before'])),
    )
    return moves as Move[]
  } catch {
    return undefined
  }
}
