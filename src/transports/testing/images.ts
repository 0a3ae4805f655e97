import { gzipSync } from 'node:zlib'
import { sha256 } from '../../oci/digest.ts'
import { type Descriptor, describe, encodeImageManifest, encodeIndex, type Manifest } from '../../oci/manifest.ts'
import { OCI } from '../../oci/media-types.ts'
import type { Platform } from '../../oci/platform.ts'
import { END_OF_ARCHIVE, encodeHeader, padding } from '../../tar/writer.ts'
import type { BodySource, Transport } from '../transport.ts'

export interface TestImage {
  /** The top first. */
  readonly manifests: readonly Manifest[]
  readonly blobs: readonly { readonly descriptor: Descriptor; readonly bytes: Uint8Array }[]
}

export const bodyOf =
  (bytes: Uint8Array, chunk = 1 << 16): BodySource =>
  () => {
    let at = 0
    return new ReadableStream<Uint8Array>({
      pull(controller) {
        if (at < bytes.length) controller.enqueue(bytes.slice(at, at + chunk))
        at += chunk
        if (at >= bytes.length) controller.close()
      },
    })
  }

/** A tar of one file: what a layer without compression is. */
export function layerOf(path: string, content: string | Uint8Array): Buffer {
  const bytes = Buffer.from(content)
  const header = encodeHeader({
    path,
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: bytes.length,
    mtime: 318_211_200,
  })
  return Buffer.concat([header, bytes, Buffer.alloc(padding(bytes.length)), END_OF_ARCHIVE])
}

/** An image of one layer, with a file /content in it. */
export function imageOf(
  content: string | Uint8Array,
  platform: Platform = { os: 'linux', architecture: 'amd64' },
  gzip = false,
): TestImage {
  const plain = layerOf('content', content)
  const layer = gzip ? gzipSync(plain) : plain
  const config = Buffer.from(
    JSON.stringify({
      created: '1980-02-01T00:00:00Z',
      ...platform,
      config: { Cmd: ['/content'] },
      rootfs: { type: 'layers', diff_ids: [sha256(plain)] },
      history: [{ created: '1980-02-01T00:00:00Z', created_by: 'test' }],
    }),
  )
  const blobs = [
    { descriptor: { mediaType: OCI.config, digest: sha256(config), size: config.length }, bytes: config },
    {
      descriptor: { mediaType: gzip ? OCI.layerGzip : OCI.layer, digest: sha256(layer), size: layer.length },
      bytes: layer,
    },
  ]
  const manifest = encodeImageManifest({
    docker: false,
    config: blobs[0]!.descriptor,
    layers: [blobs[1]!.descriptor],
  })
  return { manifests: [manifest], blobs }
}

export function indexOf(content: string, platforms: readonly Platform[], gzip = false): TestImage {
  const images = platforms.map(platform => imageOf(`${content} ${platform.architecture}`, platform, gzip))
  const manifests = images.map((image, i) => describe(image.manifests[0]!, platforms[i]))
  return {
    manifests: [encodeIndex({ docker: false, manifests }), ...images.flatMap(image => image.manifests)],
    blobs: images.flatMap(image => image.blobs),
  }
}

/** Blobs, children by digest, then the top under its name. */
export async function putAll(to: Transport, image: TestImage, name?: string): Promise<void> {
  for (const { descriptor, bytes } of image.blobs) await to.putBlob(descriptor, bodyOf(bytes))
  const [top, ...children] = image.manifests
  for (const child of children) await to.putManifest(child)
  await to.putManifest(top!, name)
}

/** Everything that a name leads to, read to the last byte. */
export async function readAll(from: Transport, name: string): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>()
  const visit = async (manifest: Manifest | undefined): Promise<void> => {
    if (manifest === undefined) throw new Error('a manifest is missing')
    found.set(manifest.digest, Buffer.from(manifest.raw))
    if (manifest.kind === 'index')
      for (const child of manifest.manifests) await visit(await from.manifest(child.digest))
    else
      for (const blob of [manifest.config, ...manifest.layers])
        found.set(blob.digest, Buffer.from(await new Response(await from.blob(blob)).arrayBuffer()))
  }
  await visit(await from.manifest(name))
  return found
}
