import {
  type Descriptor,
  describe,
  encodeImageManifest,
  type ImageManifest,
  type Manifest,
} from '../../src/oci/manifest.ts'
import { DOCKER } from '../../src/oci/media-types.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { imageOf, type TestImage } from '../../src/transports/testing/images.ts'

/** Puts bytes into a registry by hand: nothing of archimage's clients takes part. */
async function put(url: string, body: Uint8Array, mediaType: string): Promise<void> {
  const answer = await fetch(url, {
    method: 'PUT',
    body: body as Uint8Array<ArrayBuffer>,
    headers: { 'content-type': mediaType },
  })
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`)
}

async function putBlob(host: string, repository: string, bytes: Uint8Array, digest: string): Promise<void> {
  const begun = await fetch(`http://${host}/v2/${repository}/blobs/uploads/`, { method: 'POST' })
  const place = new URL(begun.headers.get('location')!, `http://${host}`)
  place.searchParams.set('digest', digest)
  await put(place.href, bytes, 'application/octet-stream')
}

/** Gives a registry an image of one file for a platform, under a tag; in Docker's media types with `docker`. */
export async function pushImage(
  host: string,
  name: string,
  platform: string,
  options: { readonly content?: string; readonly docker?: boolean } = {},
): Promise<ImageManifest> {
  const [repository, tag] = name.split(':') as [string, string]
  const image: TestImage = imageOf(options.content ?? platform, parsePlatform(platform))
  let manifest = image.manifests[0] as ImageManifest
  if (options.docker === true)
    manifest = encodeImageManifest({
      docker: true,
      config: { ...manifest.config, mediaType: DOCKER.config },
      layers: manifest.layers.map(layer => ({ ...layer, mediaType: DOCKER.layer })),
    })
  for (const { descriptor, bytes } of image.blobs) await putBlob(host, repository, bytes, descriptor.digest)
  await put(`http://${host}/v2/${repository}/manifests/${tag}`, manifest.raw, manifest.mediaType)
  return manifest
}

export async function pushIndex(host: string, name: string, index: Manifest): Promise<void> {
  const [repository, tag] = name.split(':') as [string, string]
  await put(`http://${host}/v2/${repository}/manifests/${tag}`, index.raw, index.mediaType)
}

export function entryOf(manifest: Manifest, platform: string): Descriptor {
  return { ...describe(manifest), platform: parsePlatform(platform) }
}

/** The manifest that a registry has, as text. */
export async function read(host: string, repository: string, tag: string): Promise<string> {
  const accept =
    'application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json'
  const answer = await fetch(`http://${host}/v2/${repository}/manifests/${tag}`, { headers: { accept } })
  if (!answer.ok) throw new Error(`${repository}:${tag}: ${answer.status}`)
  return answer.text()
}

export interface IndexJson {
  readonly mediaType: string
  readonly annotations?: Readonly<Record<string, string>>
  readonly manifests: readonly {
    readonly mediaType: string
    readonly digest: string
    readonly platform?: { readonly os: string; readonly architecture: string; readonly variant?: string }
    readonly annotations?: Readonly<Record<string, string>>
  }[]
}

export async function readIndex(host: string, repository: string, tag: string): Promise<IndexJson> {
  return JSON.parse(await read(host, repository, tag)) as IndexJson
}
