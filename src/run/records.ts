import type { EngineName } from '../engines/names.ts'
import type { Digest } from '../oci/digest.ts'
import type { ImageManifest } from '../oci/manifest.ts'
import { isForeignLayer } from '../oci/media-types.ts'
import { type CellKey, engineKey } from '../plan/key.ts'
import type { Store } from '../store/store.ts'
import type { BlobFetcher } from './blobs.ts'

/** Record kinds: the image that a key made; the key that a cell had when it was last right. */
const CELL = 'cell'
const LAST = 'last'

export interface CellRecord {
  readonly digest: Digest
  readonly configDigest: Digest
  /** Bytes of manifest, config and layers. */
  readonly size: number
}

export interface LastBuild {
  readonly key: string
  readonly parts: Readonly<Record<string, string>>
}

/** The image that a key made before, if all of it is still to be had. */
export function recordedImage(
  key: string,
  store: Store,
  blobs: BlobFetcher,
): { readonly record: CellRecord; readonly manifest: ImageManifest } | undefined {
  const record = store.records.get<CellRecord>(CELL, key)
  if (!record || !store.has(record.digest) || !store.has(record.configDigest)) return undefined
  const manifest = store.manifest(record.digest)
  if (manifest.kind !== 'image') return undefined
  const there = manifest.layers.every(
    layer =>
      isForeignLayer(layer.mediaType) ||
      store.has(layer.digest, layer.size) ||
      blobs.sourceOf(layer.digest) !== undefined,
  )
  return there ? { record, manifest } : undefined
}

/** The image that one of these engines made of a cell before; the first one's, when there are several. */
export function knownImage(
  prepared: CellKey,
  engines: readonly EngineName[],
  store: Store,
  blobs: BlobFetcher,
):
  | (NonNullable<ReturnType<typeof recordedImage>> & { readonly keyed: CellKey; readonly engine: EngineName })
  | undefined {
  for (const engine of engines) {
    const keyed = engineKey(prepared, engine)
    const known = recordedImage(keyed.key, store, blobs)
    if (known) return { ...known, keyed, engine }
  }
  return undefined
}

export function lastBuild(root: string, cell: string, store: Store): LastBuild | undefined {
  return store.records.get<LastBuild>(LAST, `${root} ${cell}`)
}

/** Written as soon as it is true (DESIGN §5): a later failure in the run does not take it away. */
export function recordImage(key: string, manifest: ImageManifest, store: Store): CellRecord {
  const record: CellRecord = {
    digest: manifest.digest,
    configDigest: manifest.config.digest,
    size: manifest.raw.length + manifest.config.size + manifest.layers.reduce((sum, layer) => sum + layer.size, 0),
  }
  store.records.put(CELL, key, record)
  return record
}

export function recordLast(root: string, cell: string, { key, parts }: CellKey, store: Store): void {
  if (lastBuild(root, cell, store)?.key === key) return
  const last: LastBuild = { key, parts: parts() }
  store.records.put(LAST, `${root} ${cell}`, last)
}

/** The platforms for which a service of a project was built here, as `formatPlatform`. */
export function builtPlatforms(root: string, service: string, store: Store): string[] {
  const prefix = `${root} ${service} `
  return store.records.list(LAST).flatMap(({ key }) => (key.startsWith(prefix) ? [key.slice(prefix.length)] : []))
}
