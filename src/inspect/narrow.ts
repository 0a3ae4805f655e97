import { ArchimageError } from '../errors/error.ts'
import { isAttestation } from '../oci/manifest.ts'
import { formatPlatform, type Platform, samePlatform } from '../oci/platform.ts'
import { attestationSubject, platformOf } from './describe.ts'
import { type ImageNode, nodesOf } from './read.ts'

/** The images of a tree, without attestations and other artifacts. */
export function imagesOf(top: ImageNode): readonly ImageNode[] {
  return [...nodesOf(top)].filter(node => node.config !== undefined)
}

/** The image for a platform, the first of several. Throws PLATFORM_MISSING, with what is there. */
export function imageFor(top: ImageNode, platform: Platform, name: string): ImageNode {
  const images = imagesOf(top)
  const found = images.find(node => samePlatform(platformOf(node)!, platform))
  if (found === undefined) throw missing(platform, images, name)
  return found
}

/** Only what is for these platforms, with their attestations. Throws PLATFORM_MISSING. */
export function narrow(top: ImageNode, platforms: readonly Platform[], name: string): ImageNode {
  if (platforms.length === 0) return top
  const images = imagesOf(top)
  const wanted = (node: ImageNode): boolean =>
    node.config !== undefined && platforms.some(platform => samePlatform(platformOf(node)!, platform))
  for (const platform of platforms)
    if (!images.some(node => samePlatform(platformOf(node)!, platform))) throw missing(platform, images, name)
  const digests = new Set<string>(images.filter(wanted).map(node => node.descriptor.digest))
  const keep = (node: ImageNode): ImageNode[] => {
    if (node.manifest?.kind === 'index') {
      const children = node.children.flatMap(keep)
      return children.length > 0 ? [{ ...node, children }] : []
    }
    if (isAttestation(node.descriptor)) return digests.has(attestationSubject(node.descriptor) ?? '') ? [node] : []
    return wanted(node) ? [node] : []
  }
  return keep(top)[0]!
}

function missing(platform: Platform, images: readonly ImageNode[], name: string): ArchimageError {
  const there = [...new Set(images.map(node => formatPlatform(platformOf(node)!)))]
  return new ArchimageError('PLATFORM_MISSING', `${name} is not there for ${formatPlatform(platform)}`, {
    hint: there.length === 0 ? 'it holds no image at all' : `it is there for ${there.join(', ')}`,
  })
}
