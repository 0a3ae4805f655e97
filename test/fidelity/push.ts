import { createHash } from 'node:crypto'
import { type Compressor, compressors } from './compress.ts'
import { type Entry, writeTar } from './tar.ts'

export interface BaseLayer {
  readonly entries: readonly Entry[]
  /** In place of entries: a whole tar. */
  readonly tar?: Buffer
  readonly compression?: 'gzip' | 'zstd' | 'none'
}

export interface BaseImage {
  readonly platform: {
    readonly os: string
    readonly architecture: string
    readonly variant?: string
    readonly 'os.version'?: string
  }
  readonly layers: readonly BaseLayer[]
  readonly config?: Readonly<Record<string, unknown>>
  /** Further fields of the image config. */
  readonly more?: Readonly<Record<string, unknown>>
  readonly history?: readonly Readonly<Record<string, unknown>>[]
}

interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly platform?: BaseImage['platform']
}

export const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

async function must(response: Response): Promise<Response> {
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${await response.text()}`)
  return response
}

async function putBlob(host: string, repository: string, bytes: Buffer, mediaType: string): Promise<Descriptor> {
  const digest = sha256(bytes)
  const opened = await must(await fetch(`http://${host}/v2/${repository}/blobs/uploads/`, { method: 'POST' }))
  const place = new URL(opened.headers.get('location')!, `http://${host}`)
  place.searchParams.set('digest', digest)
  const headers = { 'content-type': 'application/octet-stream' }
  await must(await fetch(place, { method: 'PUT', body: new Uint8Array(bytes), headers }))
  return { mediaType, digest, size: bytes.length }
}

async function putManifest(
  host: string,
  repository: string,
  tag: string | undefined,
  value: Descriptor['mediaType'],
  json: unknown,
): Promise<Descriptor> {
  const bytes = Buffer.from(JSON.stringify(json))
  const digest = sha256(bytes)
  const url = `http://${host}/v2/${repository}/manifests/${tag ?? digest}`
  await must(await fetch(url, { method: 'PUT', body: new Uint8Array(bytes), headers: { 'content-type': value } }))
  return { mediaType: value, digest, size: bytes.length }
}

const TYPES: Record<NonNullable<BaseLayer['compression']>, { compressor: Compressor; type: string }> = {
  gzip: { compressor: 'gzip', type: 'application/vnd.oci.image.layer.v1.tar+gzip' },
  zstd: { compressor: 'zstd', type: 'application/vnd.oci.image.layer.v1.tar+zstd' },
  none: { compressor: 'none', type: 'application/vnd.oci.image.layer.v1.tar' },
}

async function putImage(host: string, repository: string, image: BaseImage, tag?: string): Promise<Descriptor> {
  const tars = image.layers.map(layer => layer.tar ?? writeTar(layer.entries))
  const layers: Descriptor[] = []
  for (const [i, layer] of image.layers.entries()) {
    const { compressor, type } = TYPES[layer.compression ?? 'gzip']
    layers.push(await putBlob(host, repository, compressors[compressor](tars[i]!), type))
  }
  const config = {
    ...image.more,
    ...image.platform,
    created: '2024-01-02T03:04:05Z',
    config: image.config ?? {},
    rootfs: { type: 'layers', diff_ids: tars.map(sha256) },
    history:
      image.history ??
      image.layers.map((_, i) => ({ created: '2024-01-02T03:04:05Z', created_by: `layer ${i + 1} of the base` })),
  }
  const configType = 'application/vnd.oci.image.config.v1+json'
  const manifestType = 'application/vnd.oci.image.manifest.v1+json'
  const manifest = {
    schemaVersion: 2,
    mediaType: manifestType,
    config: await putBlob(host, repository, Buffer.from(JSON.stringify(config)), configType),
    layers,
  }
  return { ...(await putManifest(host, repository, tag, manifestType, manifest)), platform: image.platform }
}

/** Pushes an index with these images; a single one without index. `name` is `repository:tag`. */
export async function push(host: string, name: string, images: readonly BaseImage[], single = false): Promise<void> {
  const [repository, tag] = name.split(':') as [string, string]
  if (single) return void (await putImage(host, repository, images[0]!, tag))
  const manifests: Descriptor[] = []
  for (const image of images) manifests.push(await putImage(host, repository, image))
  const type = 'application/vnd.oci.image.index.v1+json'
  await putManifest(host, repository, tag, type, { schemaVersion: 2, mediaType: type, manifests })
}
