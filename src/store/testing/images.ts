import {
  type Descriptor,
  describe,
  encodeImageManifest,
  encodeIndex,
  type ImageIndex,
  type ImageManifest,
} from '../../oci/manifest.ts'
import { OCI } from '../../oci/media-types.ts'
import type { Platform } from '../../oci/platform.ts'
import type { Store } from '../store.ts'

/** Puts an image of one layer with this content into the store. */
export function putImage(
  store: Store,
  content: string | Uint8Array,
  platform: Platform = { os: 'linux', architecture: 'amd64' },
): ImageManifest {
  const layer = blob(store, content, OCI.layer)
  const config = blob(
    store,
    JSON.stringify({
      created: '1980-02-01T00:00:00Z',
      ...platform,
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
    }),
    OCI.config,
  )
  const manifest = encodeImageManifest({ docker: false, config, layers: [layer] })
  store.put(manifest.raw)
  return manifest
}

/** The same for several platforms, under one index. */
export function putIndex(store: Store, content: string, platforms: readonly Platform[]): ImageIndex {
  const manifests = platforms.map(platform =>
    describe(putImage(store, `${content} ${platform.architecture}`, platform), platform),
  )
  const index = encodeIndex({ docker: false, manifests })
  store.put(index.raw)
  return index
}

function blob(store: Store, content: string | Uint8Array, mediaType: string): Descriptor {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content
  return { mediaType, digest: store.put(bytes), size: bytes.length }
}
