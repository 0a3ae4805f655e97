import { writeSync } from 'node:fs'
import { isatty } from 'node:tty'

export interface Terminal {
  /** Returns when all of it is written. */
  write(text: string): void
  readonly isTTY: boolean
  /** As the terminal is now; undefined where it is none, or does not say (a pty that nobody gave a size has 0 × 0). */
  readonly columns: number | undefined
  readonly rows: number | undefined
}

const RETRY_EVERY = 5
const GIVE_UP_AFTER = 10_000

/**
 * Standard output or error, written at once: what process.stdout.write still holds when process.exit comes is lost on
 * pipes. A reader that went away (EPIPE) is not an error, its output just ends.
 */
export function terminal(fd: 1 | 2): Terminal {
  const stream = fd === 1 ? process.stdout : process.stderr
  const isTTY = isatty(fd)
  let gone = false
  return {
    isTTY,
    get columns() {
      return isTTY ? stream.columns || undefined : undefined
    },
    get rows() {
      return isTTY ? stream.rows || undefined : undefined
    },
    write(text) {
      if (!gone) gone = !writeAll(fd, Buffer.from(text))
    },
  }
}

/** False when nobody reads any more, or not for ten seconds. */
function writeAll(fd: number, bytes: Uint8Array): boolean {
  let waited = 0
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes, done)
      waited = 0
    } catch (error) {
      const { code } = error as { code?: string }
      // A pipe that another process made non-blocking is full.
      if (code !== 'EAGAIN' || waited >= GIVE_UP_AFTER) return false
      waited += RETRY_EVERY
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_EVERY)
    }
  }
  return true
}
