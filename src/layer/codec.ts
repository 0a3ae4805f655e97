import type { Digest } from '../oci/digest.ts'
import type { Entry } from './entry.ts'
import type { LayerIndex, LayerRecord } from './index.ts'

/** First line of an encoded index; another one means that it must be made again. */
const MAGIC = Buffer.from('archimage layer index 2\n')
const TYPES = { f: 'file', d: 'dir', l: 'symlink', c: 'char', b: 'block', p: 'fifo' } as const
const LETTERS = { file: 'f', dir: 'd', symlink: 'l', char: 'c', block: 'b', fifo: 'p' } as const

/**
 * The index in columns: values of one kind stand together, which JSON parses many times faster than objects. Behind the
 * JSON stand the sha256 of the files, 32 bytes each. `shared` is how many characters a path has in common with the one
 * before it.
 */
interface Columns {
  readonly diffId: Digest
  readonly size: number
  readonly files?: Readonly<Record<string, string>>
  /** One letter per record: a type of TYPES, `h` hard link, `w` whiteout, `o` opaque. */
  readonly kinds: string
  readonly shared: number[]
  readonly rests: string[]
  /** Mode, uid, gid and mtime of every entry and hard link, as numbers into `owners`: few combinations exist. */
  readonly owners: (readonly [mode: number, uid: number, gid: number, mtime: number])[]
  readonly owner: number[]
  /** Size and offset of every file, one after the other. */
  readonly contents: number[]
  readonly links: string[]
  readonly devices: number[]
  /** xattrs, pax, inode of the few entries (or hard links) that have them. */
  readonly extras: Record<string, Pick<Entry, 'xattrs' | 'pax' | 'inode'>>
}

export function encodeIndex(index: LayerIndex): Buffer {
  const columns: Columns & { kinds: string } = {
    diffId: index.diffId,
    size: index.size,
    ...(index.files && { files: mapValues(index.files, bytes => Buffer.from(bytes).toString('base64')) }),
    kinds: '',
    shared: [],
    rests: [],
    owners: [],
    owner: [],
    contents: [],
    links: [],
    devices: [],
    extras: {},
  }
  const digests: Buffer[] = []
  const owners = new Map<string, number>()
  const kinds: string[] = []
  let before = ''
  for (const [number, { path, kind, entry, link, inode: linked }] of index.entries.entries()) {
    let shared = 0
    while (shared < before.length && path.charCodeAt(shared) === before.charCodeAt(shared)) shared++
    columns.shared.push(shared)
    columns.rests.push(path.slice(shared))
    before = path
    kinds.push(kind === 'whiteout' ? 'w' : kind === 'opaque' ? 'o' : entry === undefined ? 'h' : LETTERS[entry.type])
    if (link !== undefined) columns.links.push(link)
    const stat = entry ?? linked
    if (stat === undefined) {
      if (link !== undefined) columns.owner.push(-1)
      continue
    }
    const { mode, uid, gid, mtime, xattrs } = stat
    const owner = `${mode} ${uid} ${gid} ${mtime}`
    if (!owners.has(owner)) owners.set(owner, columns.owners.push([mode, uid, gid, mtime]) - 1)
    columns.owner.push(owners.get(owner)!)
    const { pax, inode } = entry ?? {}
    if (entry?.type === 'file') {
      columns.contents.push(entry.size, entry.content?.kind === 'layer' ? entry.content.offset : 0)
      digests.push(Buffer.from(entry.digest!.slice(7), 'hex'))
    }
    if (entry?.link !== undefined) columns.links.push(entry.link)
    if (entry?.type === 'char' || entry?.type === 'block') columns.devices.push(entry.major ?? 0, entry.minor ?? 0)
    if (xattrs || pax || inode)
      columns.extras[number] = { ...(xattrs && { xattrs }), ...(pax && { pax }), ...(inode && { inode }) }
  }
  const json = Buffer.from(JSON.stringify({ ...columns, kinds: kinds.join('') }))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(json.length)
  return Buffer.concat([MAGIC, length, json, ...digests])
}

/** The index, or undefined when the bytes are of another version or damaged: then it is to be made again. */
export function decodeIndex(bytes: Uint8Array): LayerIndex | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const start = MAGIC.length + 4
  if (buffer.length < start || !buffer.subarray(0, MAGIC.length).equals(MAGIC)) return undefined
  const end = start + buffer.readUInt32LE(MAGIC.length)
  try {
    return fromColumns(JSON.parse(buffer.toString('utf8', start, end)) as Columns, buffer.toString('hex', end))
  } catch {
    return undefined
  }
}

function fromColumns(columns: Columns, digests: string): LayerIndex | undefined {
  const { diffId, size, kinds, shared, rests, owner, owners, contents, links, devices, extras } = columns
  if (digests.length !== contents.length * 32 || shared.length !== kinds.length || rests.length !== kinds.length)
    return undefined
  const entries: LayerRecord[] = []
  let path = ''
  let [entryAt, fileAt, linkAt, deviceAt] = [0, 0, 0, 0]
  for (let i = 0; i < kinds.length; i++) {
    path = path.slice(0, shared[i]) + rests[i]!
    const letter = kinds[i]!
    if (letter === 'h') {
      const stat = owners[owner[entryAt++]!]
      const inode = stat && { mode: stat[0], uid: stat[1], gid: stat[2], mtime: stat[3], ...extras[i] }
      entries.push({ path, kind: 'entry', link: links[linkAt++]!, ...(inode && { inode }) })
    } else if (letter === 'w') entries.push({ path, kind: 'whiteout' })
    else if (letter === 'o') entries.push({ path, kind: 'opaque' })
    else {
      const type = TYPES[letter as keyof typeof TYPES]
      const [mode, uid, gid, mtime] = owners[owner[entryAt++]!]!
      let entry: Entry
      if (type === 'file') {
        const digest: Digest = `sha256:${digests.slice(fileAt * 64, fileAt * 64 + 64)}`
        const content = { kind: 'layer', diffId, offset: contents[fileAt * 2 + 1]! } as const
        entry = { type, mode, uid, gid, mtime, size: contents[fileAt * 2]!, digest, content }
        fileAt++
      } else if (type === 'symlink') entry = { type, mode, uid, gid, mtime, size: 0, link: links[linkAt++]! }
      else if (type === 'char' || type === 'block')
        entry = { type, mode, uid, gid, mtime, size: 0, major: devices[deviceAt++]!, minor: devices[deviceAt++]! }
      else entry = { type, mode, uid, gid, mtime, size: 0 }
      const extra = extras[i]
      entries.push({ path, kind: 'entry', entry: extra === undefined ? entry : { ...entry, ...extra } })
    }
  }
  const files = columns.files && mapValues(columns.files, text => Buffer.from(text, 'base64'))
  return { diffId, size, entries, ...(files && { files }) }
}

function mapValues<A, B>(record: Readonly<Record<string, A>>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]))
}
