import { ArchimageError } from '../errors/error.ts'
import { describe, encodeIndex, type ImageIndex, type ImageManifest } from '../oci/manifest.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'

export interface Member {
  readonly platform: Platform
  readonly manifest: ImageManifest
}

/**
 * Puts the images of one service under one index, in the given order (the platform list's, DESIGN §4). The same digest for
 * two platforms keeps both entries. Throws INCOMPLETE for an empty set.
 */
export function assembleIndex(
  members: readonly Member[],
  options: { readonly docker: boolean; readonly annotations?: Readonly<Record<string, string>> },
): ImageIndex {
  if (members.length === 0) throw new ArchimageError('INCOMPLETE', 'an index needs at least one image')
  const seen = new Set<string>()
  for (const { platform } of members) {
    const name = formatPlatform(platform)
    if (seen.has(name)) throw new ArchimageError('MANIFEST_INVALID', `two images for ${name} in one index`)
    seen.add(name)
  }
  return encodeIndex({
    docker: options.docker,
    manifests: members.map(({ manifest, platform }) => describe(manifest, platform)),
    ...(options.annotations && !options.docker ? { annotations: options.annotations } : {}),
  })
}
