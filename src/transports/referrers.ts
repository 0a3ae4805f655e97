import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts'
import { type Descriptor, describe, encodeIndex, type ImageIndex, type Manifest } from '../oci/manifest.ts'

/** The tag under which an index of the referrers is where nothing lists them (distribution-spec, referrers tag schema). */
export function referrersTag(subject: Digest): string {
  return `${algorithmOf(subject)}-${hexOf(subject)}`
}

/** How a list of referrers has a manifest: with its annotations, and what kind of artifact it is. */
function asReferrer(manifest: Manifest): Descriptor {
  const { annotations, kind } = manifest
  const artifactType = manifest.artifactType ?? (kind === 'image' ? manifest.config.mediaType : undefined)
  return {
    ...describe(manifest),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    ...(artifactType === undefined ? {} : { artifactType }),
  }
}

/** A list of referrers with this one in addition; undefined when it is there. */
export function withReferrer(listed: readonly Descriptor[], manifest: Manifest): ImageIndex | undefined {
  if (listed.some(one => one.digest === manifest.digest)) return undefined
  return encodeIndex({ docker: false, manifests: [...listed, asReferrer(manifest)] })
}

/** Those of `candidates` whose subject it really is, each once. */
export function* referrersAmong(
  candidates: readonly Descriptor[],
  subject: Digest,
  artifactType: string | undefined,
  read: (descriptor: Descriptor) => Manifest | undefined,
): Generator<Descriptor> {
  const seen = new Set<Digest>()
  for (const candidate of candidates) {
    if (seen.has(candidate.digest)) continue
    seen.add(candidate.digest)
    const manifest = read(candidate)
    if (manifest?.subject?.digest !== subject) continue
    const referrer = asReferrer(manifest)
    if (artifactType === undefined || referrer.artifactType === artifactType) yield referrer
  }
}
