import type { Digest } from '../oci/digest.ts'
import { checksum } from '../sys/hash.ts'
import { decodePath, encodePath } from '../tar/path-bytes.ts'

/**
 * Where hashes of files are kept from run to run: by the context's root, as bytes that mean something to this module only.
 * One object stands for one run: contexts that are opened with it share what they have seen.
 */
export interface HashMemory {
  load(root: string): Uint8Array | undefined
  save(root: string, bytes: Uint8Array): void
}

/** What tells one content of a file from another without reading it. Times in milliseconds. */
export interface FileStamp {
  readonly ino: number
  readonly size: number
  readonly mtimeMs: number
  readonly ctimeMs: number
  readonly mode: number
}

export interface Remembered {
  readonly digest: Digest
  /** Whether the file has extended attributes that matter; undefined when nobody asked. */
  readonly xattrs?: boolean
}

const MAGIC = 'archimage hashes 1\n'
const HEADER = 40
/** Bytes of one record beside its path: four doubles, mode, start of the path, age, flags, digest. */
const RECORD = 4 * 8 + 4 + 4 + 1 + 1 + 32
/** So many files are searched for one by one before all paths are made strings. */
const FEW = 24
const MAX_RECORDS = 2_000_000
/** A record that this many changed versions of the file did not use is dropped. */
const MAX_AGE = 32

/** The records of earlier runs. Their paths, one after the other with NUL between, become strings when many are asked for. */
interface Columns {
  readonly count: number
  readonly names: Buffer
  /** Where each path begins in `names`. */
  readonly starts: Uint32Array
  readonly numbers: Float64Array
  readonly modes: Uint32Array
  readonly ages: Uint8Array
  readonly flags: Uint8Array
  readonly digests: Buffer
}

const NONE: Columns = {
  count: 0,
  names: Buffer.alloc(0),
  starts: new Uint32Array(0),
  numbers: new Float64Array(0),
  modes: new Uint32Array(0),
  ages: new Uint8Array(0),
  flags: new Uint8Array(0),
  digests: Buffer.alloc(0),
}

/** Anything that is not exactly what `encode` wrote is no memory at all. */
function decode(root: string, bytes: Uint8Array | undefined): Columns {
  if (bytes === undefined || bytes.byteLength < HEADER) return NONE
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (buffer.toString('latin1', 0, MAGIC.length) !== MAGIC) return NONE
  const count = buffer.readUInt32LE(24)
  const body = buffer.subarray(HEADER)
  if (count === 0 || count > MAX_RECORDS || body.length < count * RECORD) return NONE
  if (buffer.readDoubleLE(32) !== checksum(root, body)) return NONE
  let at = 0
  const take = (size: number): ArrayBuffer => {
    const start = body.byteOffset + at
    at += size
    return body.buffer.slice(start, start + size) as ArrayBuffer
  }
  const numbers = new Float64Array(take(count * 32))
  const modes = new Uint32Array(take(count * 4))
  const starts = new Uint32Array(take(count * 4))
  const ages = new Uint8Array(take(count))
  const flags = new Uint8Array(take(count))
  const digests = Buffer.from(take(count * 32))
  return { count, names: body.subarray(at), starts, numbers, modes, ages, flags, digests }
}

type Fresh = FileStamp & Remembered

/** The hashes of one root: those of earlier runs, and those of this one. */
export class HashTable {
  readonly #memory: HashMemory
  readonly #root: string
  readonly #old: Columns
  #asked = 0
  #paths: readonly string[] | undefined
  /** Files come in the order of the last run as a rule: then no map of paths is needed. */
  #cursor = 0
  #index: Map<string, number> | undefined
  /** In order of use: the number of an old record, or a new one. */
  readonly #used = new Map<string, number | Fresh>()
  #changed = false

  constructor(memory: HashMemory, root: string) {
    this.#memory = memory
    this.#root = root
    this.#old = decode(root, memory.load(root))
  }

  #oldPaths(): readonly string[] {
    const { count, names } = this.#old
    this.#paths ??= count === 0 ? [] : decodePath(names).split('\0')
    return this.#paths
  }

  #find(path: string): number | undefined {
    if (this.#paths === undefined && ++this.#asked <= FEW) return this.#search(path)
    const paths = this.#oldPaths()
    if (paths[this.#cursor] === path) return this.#cursor++
    if (this.#index === undefined) {
      this.#index = new Map()
      for (let i = 0; i < paths.length; i++) this.#index.set(paths[i]!, i)
    }
    const found = this.#index.get(path)
    if (found !== undefined) this.#cursor = found + 1
    return found
  }

  #search(path: string): number | undefined {
    const { count, names, starts } = this.#old
    const bytes = encodePath(path)
    for (let at = names.indexOf(bytes); at >= 0; at = names.indexOf(bytes, at + 1)) {
      let [low, high] = [0, count - 1]
      while (low < high) {
        const middle = (low + high + 1) >> 1
        if (starts[middle]! <= at) low = middle
        else high = middle - 1
      }
      const end = low + 1 < count ? starts[low + 1]! - 1 : names.length
      if (starts[low] !== at || end !== at + bytes.length) continue
      this.#cursor = low + 1
      return low
    }
    return undefined
  }

  get(path: string, stamp: FileStamp): Remembered | undefined {
    const used = this.#used.get(path)
    if (typeof used === 'object') return used
    const i = used ?? this.#find(path)
    if (i === undefined) return undefined
    const { numbers, modes, flags, digests } = this.#old
    if (
      numbers[i * 4] !== stamp.ino ||
      numbers[i * 4 + 1] !== stamp.size ||
      numbers[i * 4 + 2] !== stamp.mtimeMs ||
      numbers[i * 4 + 3] !== stamp.ctimeMs ||
      modes[i] !== stamp.mode
    )
      return undefined
    if (used === undefined) this.#used.set(path, i)
    const digest = `sha256:${digests.toString('hex', i * 32, i * 32 + 32)}` as Digest
    return flags[i] === 0 ? { digest } : { digest, xattrs: flags[i] === 2 }
  }

  set(path: string, stamp: FileStamp, value: Remembered): void {
    const { ino, size, mtimeMs, ctimeMs, mode } = stamp
    this.#used.set(path, { ino, size, mtimeMs, ctimeMs, mode, ...value })
    this.#changed = true
  }

  /** Hands all records to the memory, if there is a new one. */
  save(): void {
    if (!this.#changed) return
    this.#changed = false
    this.#memory.save(this.#root, this.#encode())
  }

  #encode(): Buffer {
    const old = this.#old
    const rows: [string, number | Fresh, number][] = []
    for (const [path, record] of this.#used) rows.push([path, record, 0])
    for (const [i, path] of this.#oldPaths().entries())
      if (!this.#used.has(path) && old.ages[i]! < MAX_AGE) rows.push([path, i, old.ages[i]! + 1])
    rows.length = Math.min(rows.length, MAX_RECORDS)
    const count = rows.length
    const paths = encodePath(rows.map(row => row[0]).join('\0'))
    const starts = new Uint32Array(count)
    for (let row = 1, at = 0; row < count; row++) {
      at = paths.indexOf(0, at) + 1
      starts[row] = at
    }
    const out = Buffer.alloc(HEADER + count * RECORD + paths.length)
    const body = out.subarray(HEADER)
    const modesAt = count * 32
    const startsAt = modesAt + count * 4
    const agesAt = startsAt + count * 4
    const digestsAt = agesAt + count * 2
    for (const [row, [, record, age]] of rows.entries()) {
      const from = typeof record === 'number' ? record : undefined
      const numbers =
        typeof record === 'number'
          ? old.numbers.subarray(record * 4, record * 4 + 4)
          : [record.ino, record.size, record.mtimeMs, record.ctimeMs]
      for (let k = 0; k < 4; k++) body.writeDoubleLE(numbers[k]!, row * 32 + k * 8)
      const fresh = record as Fresh
      body.writeUInt32LE(from === undefined ? fresh.mode : old.modes[from]!, modesAt + row * 4)
      body.writeUInt32LE(starts[row]!, startsAt + row * 4)
      body[agesAt + row] = age
      body[agesAt + count + row] =
        from === undefined ? (fresh.xattrs === undefined ? 0 : fresh.xattrs ? 2 : 1) : old.flags[from]!
      if (from === undefined) body.write(fresh.digest.slice(7), digestsAt + row * 32, 'hex')
      else old.digests.copy(body, digestsAt + row * 32, from * 32, from * 32 + 32)
    }
    paths.copy(body, count * RECORD)
    out.write(MAGIC, 0, 'latin1')
    out.writeUInt32LE(count, 24)
    out.writeDoubleLE(checksum(this.#root, body), 32)
    return out
  }
}

/** Forgets everything at the end of the process. */
export function forgetfulMemory(): HashMemory {
  return { load: () => undefined, save: () => {} }
}
