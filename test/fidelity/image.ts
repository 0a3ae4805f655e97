import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decompressed } from './compress.ts'
import { type Entry, readTar } from './tar.ts'
import { type Flat, flatten } from './tree.ts'

interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly platform?: { readonly os: string; readonly architecture: string; readonly variant?: string }
  readonly annotations?: Readonly<Record<string, string>>
}

type Json = Record<string, unknown>

export interface Image {
  /** As in its index, or in its config when there is no index. */
  readonly platform: string
  readonly config: Json
  /** Of the image; it is compared where SOURCE_DATE_EPOCH says it. */
  readonly created?: unknown
  readonly history: readonly Json[]
  readonly layers: readonly (readonly Entry[])[]
  readonly tree: Flat
}

/** The bytes of a file of an OCI layout. */
type Layout = (name: string) => Buffer

export function layoutOfArchive(file: string): Layout {
  const files = new Map(readTar(readFileSync(file)).map(({ path, data }) => [path, data]))
  return name => {
    const bytes = files.get(name)
    if (bytes === undefined) throw new Error(`${file} has no ${name}`)
    return bytes
  }
}

export function layoutOfFolder(folder: string): Layout {
  return name => readFileSync(join(folder, name))
}

/** All images of a layout (or of the one that `name` names there), by platform. */
export function readImages(layout: Layout, name?: string): Map<string, Image> {
  const json = <T>(path: string): T => JSON.parse(layout(path).toString()) as T
  const blob = (digest: string): string => `blobs/${digest.replace(':', '/')}`
  const images = new Map<string, Image>()
  const visit = (descriptor: Descriptor): void => {
    if (descriptor.mediaType.includes('index') || descriptor.mediaType.includes('manifest.list')) {
      for (const child of json<{ manifests: Descriptor[] }>(blob(descriptor.digest)).manifests) visit(child)
      return
    }
    const manifest = json<{ config: Descriptor; layers: Descriptor[] | null }>(blob(descriptor.digest))
    const { history, created, rootfs, ...config } = json<Json>(blob(manifest.config.digest))
    const diffIds = (rootfs as { diff_ids: string[] | null }).diff_ids ?? []
    const blobs = manifest.layers ?? []
    if (diffIds.length !== blobs.length) throw new Error('layers and diff IDs differ in number')
    const layers = blobs.map(layer => readTar(decompressed(layout(blob(layer.digest)))))
    const platform = [config['os'], config['architecture'], config['variant']].filter(Boolean).join('/')
    const image: Image = {
      platform,
      config,
      created,
      history: ((history ?? []) as Json[]).map(({ created: _, ...entry }) => entry),
      layers,
      tree: flatten(layers),
    }
    images.set(platform, image)
  }
  const { manifests } = json<{ manifests: Descriptor[] }>('index.json')
  const wanted =
    name === undefined
      ? manifests
      : manifests.filter(({ annotations }) => annotations?.['org.opencontainers.image.ref.name'] === name)
  if (wanted.length === 0) throw new Error(`the layout has no image ${name}`)
  for (const descriptor of wanted) visit(descriptor)
  return images
}
