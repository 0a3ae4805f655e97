import { createHash, type Hash, randomUUID } from 'node:crypto'
import {
  closeSync,
  constants,
  createReadStream,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { algorithmOf, type Digest } from '../../oci/digest.ts'
import { statFile } from './absence.ts'
import { withoutSilence } from './silence.ts'

type Algorithm = 'sha256' | 'sha512'

/** An upload between its POST and its PUT. */
export interface Session {
  readonly id: string
  readonly file: string
  /** Bytes received so far, all of them in `file`. */
  offset: number
  /** State of the hash over these bytes; undefined after a restart of the server or a failed write. */
  hash: { readonly algorithm: Algorithm; readonly state: Hash } | undefined
  /** A request is writing. */
  busy: boolean
  cancelled: boolean
  touched: number
}

const ID = /^[0-9a-f]{16}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const OLD = 24 * 3600 * 1000
/** Sessions in memory; those that were not used for longest are forgotten, and found again by their files. */
const MAX_KNOWN = 1000
/** Milliseconds; who sends nothing for that long in the middle of a body is gone, and may go on in another request. */
const SILENCE = 600_000
const SWEEP = 3600 * 1000

/**
 * The unfinished uploads in a directory, each a file, so that another server of the same directory can go on with them. Those
 * that nobody touched for a day are removed; the others outlive a restart.
 */
export class Uploads {
  readonly #dir: string
  readonly #silence: number
  readonly #sessions = new Map<string, Session>()
  #swept = 0

  constructor(dir: string, silence = SILENCE) {
    this.#dir = dir
    this.#silence = silence
  }

  start(repository: string, algorithm: Algorithm = 'sha256'): Session {
    this.sweep()
    const id = `${mark(repository)}-${randomUUID()}`
    closeSync(openSync(join(this.#dir, id), 'wx', 0o600))
    return this.#keep(id, 0, { algorithm, state: createHash(algorithm) })
  }

  /** The session, if it is one of this repository. */
  find(repository: string, id: string): Session | undefined {
    if (!ID.test(id) || !id.startsWith(mark(repository))) return undefined
    const known = this.#sessions.get(id)
    if (known?.busy) return known
    const size = statFile(join(this.#dir, id))?.size
    this.#sessions.delete(id)
    if (size === undefined) return undefined
    if (known === undefined || known.offset !== size) return this.#keep(id, size, undefined)
    this.#sessions.set(id, known)
    return known
  }

  /** Writes a body behind what is there and hashes it. When the body breaks off, what came of it counts. */
  async append(session: Session, body: ReadableStream<Uint8Array>): Promise<void> {
    const fd = openSync(session.file, constants.O_WRONLY | (constants.O_NOFOLLOW ?? 0))
    session.busy = true
    try {
      for await (const chunk of withoutSilence(body, this.#silence)) {
        if (session.cancelled) return
        write(fd, chunk, session)
        session.hash?.state.update(chunk)
        session.offset += chunk.byteLength
        session.touched = Date.now()
      }
    } finally {
      closeSync(fd)
      session.busy = false
    }
  }

  /** The digest of all bytes, by the algorithm of `wanted`. */
  async digest(session: Session, wanted: Digest): Promise<string> {
    const algorithm = algorithmOf(wanted)
    if (session.hash?.algorithm === algorithm) return `${algorithm}:${session.hash.state.copy().digest('hex')}`
    const state = createHash(algorithm)
    if (session.offset > 0)
      for await (const chunk of createReadStream(session.file, { highWaterMark: 1 << 20 })) state.update(chunk)
    return `${algorithm}:${state.digest('hex')}`
  }

  /** The finished file; the session is over, and the file is the caller's. */
  release(session: Session): string {
    this.#sessions.delete(session.id)
    return session.file
  }

  cancel(session: Session): void {
    session.cancelled = true
    this.#sessions.delete(session.id)
    rmSync(session.file, { force: true })
  }

  sweep(now = Date.now()): void {
    if (now - this.#swept < SWEEP) return
    this.#swept = now
    for (const session of this.#sessions.values())
      if (!session.busy && now - session.touched > OLD) this.cancel(session)
    mkdirSync(this.#dir, { recursive: true })
    for (const name of readdirSync(this.#dir)) {
      const path = join(this.#dir, name)
      const modified = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? now
      if (!this.#sessions.has(name) && now - modified > OLD) rmSync(path, { force: true, recursive: true })
    }
  }

  #keep(id: string, offset: number, hash: Session['hash']): Session {
    const file = join(this.#dir, id)
    const session: Session = { id, file, offset, hash, busy: false, cancelled: false, touched: Date.now() }
    this.#sessions.set(id, session)
    for (const [other, { busy }] of this.#sessions) {
      if (this.#sessions.size <= MAX_KNOWN) break
      if (!busy) this.#sessions.delete(other)
    }
    return session
  }
}

/** Ties a session to its repository, also after a restart. */
function mark(repository: string): string {
  return createHash('sha256').update(repository).digest('hex').slice(0, 16)
}

function write(fd: number, chunk: Uint8Array, session: Session): void {
  try {
    for (let done = 0; done < chunk.byteLength; )
      done += writeSync(fd, chunk, done, chunk.byteLength - done, session.offset + done)
  } catch (error) {
    ftruncateSync(fd, session.offset)
    throw error
  }
}
