import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { configPlatform, type ImageConfig, parseImageConfig } from '../oci/config.ts'
import type { Digest } from '../oci/digest.ts'
import { MAX_JSON } from '../oci/json.ts'
import { type Descriptor, isAttestation, type Manifest, parseManifest } from '../oci/manifest.ts'
import { isIndexType, isManifestType } from '../oci/media-types.ts'
import type { Platform } from '../oci/platform.ts'
import { familiarReference, parseReference } from '../oci/reference.ts'
import { blobSize, readBlob } from './blobs.ts'
import type { Parts } from './prune.ts'
import type { Ref } from './types.ts'

/** One name of the store, for `archimage ls`. */
export interface Image extends Ref {
  /** As people write it: without docker.io/ and library/. */
  readonly familiar: string
  readonly platforms: readonly Platform[]
  /** Bytes of all manifests, configs and layers, each counted once. */
  readonly size: number
  /** `created` of the first config that has one. */
  readonly created?: string
  /** False when something of it is missing or damaged. */
  readonly complete: boolean
}

/** The images of the store by name. Never fails because of a damaged image: that one is incomplete. */
export function listImages({ root, refs }: Parts): Image[] {
  return refs
    .all()
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    .map(ref => ({ ...ref, familiar: familiar(ref.name), ...look(root, ref.descriptor) }))
}

function familiar(name: string): string {
  try {
    return familiarReference(parseReference(name))
  } catch (error) {
    if (isArchimageError(error)) return name
    throw error
  }
}

function look(root: string, top: Descriptor): Pick<Image, 'platforms' | 'size' | 'complete' | 'created'> {
  const sizes = new Map<Digest, number>()
  const platforms: Platform[] = []
  let complete = true
  let created: string | undefined
  const visit = (descriptor: Descriptor, depth: number): void => {
    const { digest, size, mediaType, platform } = descriptor
    if (sizes.has(digest)) return
    sizes.set(digest, size)
    // Layers that stay where their urls say are not ours to have.
    if (blobSize(root, digest) !== size) complete = complete && descriptor.urls !== undefined
    if (depth > 4 || !(isIndexType(mediaType) || isManifestType(mediaType))) return
    const manifest = attempt(() => parse(root, descriptor))
    if (manifest === undefined) complete = false
    else if (manifest.kind === 'index') for (const child of manifest.manifests) visit(child, depth + 1)
    else {
      for (const part of [manifest.config, ...manifest.layers]) visit(part, 5)
      if (isAttestation(descriptor)) return
      const config = attempt(() => readConfig(root, manifest.config.digest))
      if (config === undefined && platform === undefined) return
      platforms.push(platform ?? configPlatform(config!))
      created ??= config?.created
    }
  }
  visit(top, 0)
  const size = [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0)
  return { platforms, size, complete, ...(created === undefined ? {} : { created }) }
}

function parse(root: string, { digest, mediaType }: Descriptor): Manifest {
  return parseManifest(readBlob(root, digest, MAX_JSON), mediaType, `manifest ${digest}`, digest)
}

function readConfig(root: string, digest: Digest): ImageConfig {
  return parseImageConfig(readBlob(root, digest, MAX_JSON), `config ${digest}`)
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    if (isArchimageError(error)) return undefined
    throw error
  }
}

/**
 * Takes names away: `what` is a name, or the beginning of a digest (then all its names go). The content stays until
 * pruning. Throws NOT_FOUND with a suggestion, or USAGE when several digests begin so.
 */
export function removeImage({ root, refs }: Parts, what: string): Ref[] {
  const named = refs.get(what)
  if (named !== undefined) return refs.unset([named.name])
  const all = refs.all()
  const prefix = what.replace(/^sha(?:256|512):/, '').toLowerCase()
  if (/^[0-9a-f]{4,128}$/.test(prefix)) {
    const found = all.filter(({ descriptor }) => descriptor.digest.slice(7).startsWith(prefix))
    const digests = new Set(found.map(({ descriptor }) => descriptor.digest))
    if (digests.size > 1)
      throw new ArchimageError('USAGE', `${digests.size} images have a digest that begins with "${what}"`, {
        hint: `write more of it: ${[...digests].join(', ')}`,
      })
    if (found.length > 0) return refs.unset(found.map(ref => ref.name))
  }
  throw new ArchimageError('NOT_FOUND', `there is no image "${what}" in the store ${root}`, {
    hint:
      didYouMean(what, [...all.map(ref => familiar(ref.name)), ...all.map(ref => ref.name)]) ??
      'archimage ls shows the images that there are',
  })
}
