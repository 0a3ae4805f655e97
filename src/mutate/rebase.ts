import { ArchimageError } from '../errors/error.ts'
import { compressionOf, convertType } from '../oci/media-types.ts'
import type { Draft, DraftLayer } from './draft.ts'
import { withFields } from './edits.ts'
import { historyOf, stepsOfLayers } from './history.ts'

/** One base, before and after, for the platform of the image. */
export interface Bases {
  readonly old: Draft & { readonly name: string }
  readonly new: Draft & { readonly name: string }
}

/**
 * The image on another base: layers and history of the new one, then what the image has above the old one. Its own
 * configuration stays (ENV, USER and the like, also where the image got them from the old base); os.version is the new
 * base's, as Windows wants it. Throws USAGE when the image does not begin with the layers of the old base.
 */
export function rebase(draft: Draft, bases: Bases, name: string): Draft {
  const { old, new: base } = bases
  for (const [i, { descriptor }] of old.layers.entries()) {
    const own = draft.layers[i]?.descriptor.digest
    if (own === descriptor.digest) continue
    throw new ArchimageError('USAGE', `${name} does not stand on ${old.name}`, {
      hint:
        own === undefined
          ? `it has ${draft.layers.length} layers, the base has ${old.layers.length}`
          : `layer ${i + 1} of it is ${own}, of the base ${descriptor.digest}`,
    })
  }
  const above = draft.layers.slice(old.layers.length)
  const own = historyOf(draft)
  const fromBase = historyOf(old).length
  // a base's own steps end where its layers do, with the steps without a layer that it has behind them
  const cut = Math.min(fromBase, stepsOfLayers(own, old.layers.length))
  return {
    ...draft,
    layers: [...base.layers.map(layer => asIn(draft, layer)), ...above],
    config: withFields(draft.config, {
      ...(base.config['history'] === undefined && draft.config['history'] === undefined
        ? {}
        : { history: [...historyOf(base), ...own.slice(cut)] }),
      ...(base.config['os.version'] === undefined && draft.config['os.version'] === undefined
        ? {}
        : { 'os.version': base.config['os.version'] }),
    }),
  }
}

/** A layer of a base in the other family of media types: the bytes are the same. */
function asIn({ docker }: Draft, layer: DraftLayer): DraftLayer {
  const { descriptor } = layer
  if (docker && compressionOf(descriptor.mediaType) === 'zstd')
    throw new ArchimageError('UNSUPPORTED', `layer ${descriptor.digest} is zstd, and Docker's format has gzip only`, {
      hint: 'archimage copy --format oci makes an OCI image of it first',
    })
  return { ...layer, descriptor: { ...descriptor, mediaType: convertType(descriptor.mediaType, docker) } }
}
