import { decodeIndex, encodeIndex } from '../../layer/codec.ts'
import type { Entry } from '../../layer/entry.ts'
import type { LayerItem } from '../../layer/write.ts'
import type { Digest } from '../../oci/digest.ts'
import { fsPath } from '../../tar/path-bytes.ts'
import { contentOf } from './root.ts'

/** Record kind: what a step left, by its key; a file of its own. */
export const STEP = 'step'

/** What a RUN step left, however that came to be known. */
export interface StepResult {
  /** Digest of all that it changed; undefined when it changed nothing. */
  readonly id?: Digest
  /** For layers and trees; empty when it changed nothing. */
  readonly items: readonly LayerItem[]
  /** Its directory for overlays, as long as the store has it. */
  readonly directory?: string
  /** How long it took when it ran, and whether it was emulated then. */
  readonly seconds: number
  readonly emulated: boolean
}

/** What is remembered of it, beside the directory that holds the bytes. */
type Remembered = Omit<StepResult, 'directory'>

/**
 * A record that stands by itself in a file (not in the database, which may be deleted at any time): a head as JSON with its
 * length before it, then the items as the index of a layer.
 */
export function encodeStep({ id, items, seconds, emulated }: Remembered): Buffer {
  const head = Buffer.from(
    JSON.stringify({ ...(id ? { id } : {}), seconds: Math.round(seconds * 1000) / 1000, emulated }),
  )
  const length = Buffer.alloc(4)
  length.writeUInt32LE(head.length)
  const entries = items.map(({ path, kind = 'entry', entry }) => ({ path, kind, ...(entry ? { entry } : {}) }))
  return Buffer.concat([length, head, encodeIndex({ diffId: id ?? 'sha256:', size: 0, entries })])
}

/** Undefined for a record of another version. Contents of files are not in it: see `located`. */
export function decodeStep(bytes: Uint8Array): Remembered | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const end = 4 + buffer.readUInt32LE()
  const head = JSON.parse(buffer.toString('utf8', 4, end)) as Omit<Remembered, 'items'>
  const index = decodeIndex(buffer.subarray(end))
  return (
    index && { ...head, items: index.entries.map(({ path, kind, entry }) => ({ path, kind, ...(entry && { entry }) })) }
  )
}

/**
 * The items of a step as they are remembered: hard links are named after the first of their names, so that the same content
 * is the same wherever it came from.
 */
export function canonical(items: readonly LayerItem[]): { readonly id: Digest; readonly items: readonly LayerItem[] } {
  const names = new Map<string, string>()
  const named = items.map((item): LayerItem => {
    const { path, entry } = item
    if (entry?.inode === undefined) return item
    if (!names.has(entry.inode)) names.set(entry.inode, path)
    return { ...item, entry: { ...entry, inode: names.get(entry.inode)! } }
  })
  return { id: contentOf(named), items: named }
}

/** The items with the bytes of their files in the step's directory, and with hard links apart from those of other layers. */
export function located(items: readonly LayerItem[], id: Digest, directory: string): readonly LayerItem[] {
  return withContent(items, id, path => ({ kind: 'host', path: fsPath(`${directory}/${path}`) }))
}

/** The same for what is known of the layer's blob only. */
export function withContent(
  items: readonly LayerItem[],
  id: Digest,
  content: (path: string) => Entry['content'],
): readonly LayerItem[] {
  return items.map((item): LayerItem => {
    const { path, entry } = item
    if (entry === undefined) return item
    const { inode, content: _, ...rest } = entry
    const bytes = entry.type === 'file' ? content(inode ?? path) : undefined
    return {
      ...item,
      entry: {
        ...rest,
        ...(bytes ? { content: bytes } : {}),
        ...(inode === undefined ? {} : { inode: `${id.slice(7, 23)}:${inode}` }),
      },
    }
  })
}
