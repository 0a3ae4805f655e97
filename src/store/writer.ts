import { closeSync, openSync, renameSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ArchimageError, systemError } from '../errors/error.ts'
import { algorithmOf, type Digest } from '../oci/digest.ts'
import { makeDir, removeFile, temporaryName, writeAll } from '../sys/files.ts'
import { createHasher, type Hasher } from '../sys/hash.ts'
import { NAMES } from './home.ts'
import type { BlobWriter } from './types.ts'

const BUFFER = 256 * 1024

/** Writes to a temporary file of the store and renames it to where its digest says. */
export class FileWriter implements BlobWriter {
  readonly #root: string
  readonly #place: (digest: Digest) => string
  readonly #algorithm: 'sha256' | 'sha512'
  readonly #ended: () => void
  readonly #file: string
  readonly #known: Digest | undefined
  readonly #hasher: Hasher | undefined
  #fd: number | undefined
  #buffer: Uint8Array | undefined
  #buffered = 0
  #size = 0

  /** `place` is the final path for a digest; `ended` is called once, at commit or abort; `known`: the digest, which others check. */
  constructor(
    root: string,
    place: (digest: Digest) => string,
    algorithm: 'sha256' | 'sha512' = 'sha256',
    ended: () => void = () => {},
    known?: Digest,
  ) {
    this.#root = root
    this.#place = place
    this.#algorithm = algorithm
    this.#ended = ended
    this.#known = known
    this.#hasher = known === undefined ? createHasher(algorithm) : undefined
    this.#file = join(root, NAMES.tmp, temporaryName())
    this.#fd = this.#guard(() => {
      try {
        return openSync(this.#file, 'wx', 0o644)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
        makeDir(join(root, NAMES.tmp), 0o700)
        return openSync(this.#file, 'wx', 0o644)
      }
    })
  }

  write(chunk: Uint8Array): void {
    if (this.#fd === undefined) throw new Error('write to a blob that has ended')
    this.#hasher?.update(chunk)
    this.#size += chunk.length
    const large = chunk.length >= BUFFER / 2
    if (large || this.#buffered + chunk.length > BUFFER) this.#flush()
    if (large) {
      const fd = this.#fd
      this.#guard(() => writeAll(fd, chunk))
      return
    }
    this.#buffer ??= new Uint8Array(BUFFER)
    this.#buffer.set(chunk, this.#buffered)
    this.#buffered += chunk.length
  }

  commit(expected?: { readonly digest: Digest; readonly size: number }): {
    readonly digest: Digest
    readonly size: number
  } {
    if (this.#fd === undefined) throw new Error('commit of a blob that has ended')
    this.#flush()
    const digest = this.#known ?? (`${this.#algorithm}:${this.#hasher!.hex()}` as Digest)
    const size = this.#size
    if (expected !== undefined && (expected.digest !== digest || expected.size !== size)) {
      this.abort()
      throw mismatch(expected, { digest, size })
    }
    const fd = this.#fd
    const path = this.#place(digest)
    this.#guard(() => {
      closeSync(fd)
      this.#fd = undefined
      const there = statSync(path, { throwIfNoEntry: false })
      if (there?.isFile() && there.size === size) removeFile(this.#file)
      else moveInto(this.#file, path)
    })
    this.#end()
    return { digest, size }
  }

  abort(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
    removeFile(this.#file)
    this.#end()
  }

  #flush(): void {
    if (this.#buffered === 0 || this.#fd === undefined) return
    const [fd, bytes] = [this.#fd, this.#buffer!.subarray(0, this.#buffered)]
    this.#buffered = 0
    this.#guard(() => writeAll(fd, bytes))
  }

  #guard<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      this.abort()
      throw systemError(error, `writing to the store ${this.#root}`)
    }
  }

  #over = false
  #end(): void {
    this.#buffer = undefined
    if (!this.#over) this.#ended()
    this.#over = true
  }
}

function moveInto(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    makeDir(dirname(dirname(to)), 0o700)
    makeDir(dirname(to), 0o700)
    renameSync(from, to)
  }
}

function mismatch(
  expected: { readonly digest: Digest; readonly size: number },
  found: { readonly digest: Digest; readonly size: number },
): ArchimageError {
  const difference =
    expected.size === found.size
      ? `its digest is ${found.digest}`
      : `it has ${found.size} bytes instead of ${expected.size}`
  return new ArchimageError(
    'DIGEST_MISMATCH',
    `the content for ${expected.digest} is not what was promised: ${difference}`,
    {
      hint: 'try again; if it repeats, the place that it comes from is damaged',
      details: { expected: expected.digest, found: found.digest, algorithm: algorithmOf(expected.digest) },
    },
  )
}
