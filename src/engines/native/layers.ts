import { createHash } from 'node:crypto'
import type { LayerContent } from '../../layer/content.ts'
import { type LayerItem, writeLayer } from '../../layer/write.ts'
import type { Digest } from '../../oci/digest.ts'
import { layerType } from '../../oci/media-types.ts'
import { FORMAT } from '../../plan/key.ts'
import type { BuildTools, Cell } from '../engine.ts'
import { type LayerBlob, rememberIndex } from './base.ts'
import { entryText } from './times.ts'

/** Record kind: the blob of a layer by what is in it. */
const LAYER = 'layer'

export interface WrittenLayer extends LayerBlob {
  readonly diffId: Digest
}

/** Layers that are being written in this process: cells that need the same one share it. */
const writing = new Map<string, Promise<WrittenLayer>>()

interface LayerInput {
  /** Parents first; `label` says what wrote them. */
  readonly items: readonly LayerItem[]
  readonly label: string
  readonly cell: Pick<Cell, 'platform' | 'options'>
  readonly content: LayerContent
}

/** The blob of a layer: the one that was written for the same items before, or a new one. */
export async function layerBlob(input: LayerInput, tools: BuildTools): Promise<WrittenLayer> {
  const { items, cell } = input
  const { store } = tools
  const { docker, compression } = cell.options
  const key = layerKey(items, cell.options, cell.platform.os === 'windows')
  const mediaType = layerType(compression, docker)
  const known = store.records.get<WrittenLayer>(LAYER, key)
  if (known && store.has(known.digest, known.size)) return { ...known, mediaType }
  const flight = `${store.root} ${key}`
  let promise = writing.get(flight)
  if (!promise) {
    promise = write(input, key, mediaType, tools).finally(() => writing.delete(flight))
    writing.set(flight, promise)
  }
  return { ...(await promise), mediaType }
}

/** The same items, written in the same way, are the same blob. */
function layerKey(
  items: readonly LayerItem[],
  { compression, level }: Pick<Cell['options'], 'compression' | 'level'>,
  windows: boolean,
): string {
  const hash = createHash('sha256').update(`layer ${FORMAT} ${compression} ${level ?? ''} ${windows}\n`)
  for (const { path, kind = 'entry', entry } of items)
    hash.update(entry === undefined ? JSON.stringify([path, kind]) : entryText(path, entry, true)).update('\n')
  return hash.digest('hex')
}

/** Takes a blob that another machine wrote for the one that would be written here. */
export function rememberLayer(
  store: BuildTools['store'],
  items: readonly LayerItem[],
  written: Pick<Cell['options'], 'compression' | 'level'>,
  layer: WrittenLayer,
): void {
  store.records.put(LAYER, layerKey(items, written, false), layer)
}

async function write(
  { items, label, cell, content }: LayerInput,
  key: string,
  mediaType: string,
  { store, signal, emit }: BuildTools,
): Promise<WrittenLayer> {
  const { compression, level, workers } = cell.options
  const total = items.reduce((sum, { entry }) => sum + (entry?.size ?? 0), 0)
  const id = `write ${key}`
  const report =
    total < 8 << 20
      ? undefined
      : (current: number, done = false): void =>
          emit({ type: 'transfer', id, direction: 'write', what: label, current, total, done })
  const sink = store.create()
  try {
    const written = await writeLayer({
      entries: items,
      windows: cell.platform.os === 'windows',
      compression,
      ...(level === undefined ? {} : { level }),
      ...(workers === undefined ? {} : { workers }),
      sink,
      signal,
      open: entry => content.open(entry),
      ...(report ? { progress: bytes => report(bytes) } : {}),
    })
    const layer: WrittenLayer = {
      digest: written.digest,
      size: written.size,
      diffId: written.diffId,
      mediaType,
      members: written.members,
    }
    rememberIndex(store, written.index, layer)
    store.records.put(LAYER, key, layer)
    return layer
  } catch (error) {
    sink.abort()
    throw error
  } finally {
    report?.(total, true)
  }
}
