import { ArchimageError } from '../../errors/error.ts'
import { LayerContent } from '../../layer/content.ts'
import { compressionOf } from '../../oci/media-types.ts'
import type { BuildTools } from '../engine.ts'
import { BLOB, type LayerBlob } from './base.ts'

/** Reads files of layers and archives that the store has or can fetch. */
export function layerContent({ store, fetch }: Pick<BuildTools, 'store' | 'fetch'>): LayerContent {
  return new LayerContent({
    locate: async diffId => {
      const blob = store.records.get<LayerBlob>(BLOB, diffId)
      if (!blob) throw new ArchimageError('NOT_FOUND', `the layer with diff ID ${diffId} is not in the store any more`)
      if (!store.has(blob.digest, blob.size)) await fetch(blob)
      return {
        path: store.blobPath(blob.digest),
        compression: compressionOf(blob.mediaType) ?? 'none',
        ...(blob.members ? { members: blob.members } : {}),
      }
    },
    tarPath: diffId => store.tarPath(diffId),
  })
}
