import { writeFileSync } from 'node:fs'
import { ArchimageError } from '../errors/error.ts'
import { describe, type ImageManifest } from '../oci/manifest.ts'
import { formatPlatform } from '../oci/platform.ts'
import { formatReference } from '../oci/reference.ts'
import { writeFileAtomic } from '../sys/files.ts'
import { fileError, lookAt } from '../sys/target.ts'
import { type OutputImage, taggedNames } from './image.ts'

/**
 * `--iidfile`: what identifies the image, without a newline: the config digest of a single platform (docker's image ID), the
 * digest of the index of several, as buildx. Throws USAGE for several images.
 */
export function writeIidFile(path: string, images: readonly OutputImage[]): void {
  const [image, ...others] = images
  if (image === undefined || others.length > 0)
    throw new ArchimageError('USAGE', `--iidfile is for one image, and there are ${images.length}`, {
      hint: '--metadata-file takes the digests of all of them',
    })
  const [member] = image.members
  writeText(path, image.members.length === 1 ? member!.manifest.config.digest : image.index.digest)
}

/** `--metadata-file`: buildx's keys and the digest of every platform; for several services bake's shape, one object each. */
export function writeMetadataFile(path: string, images: readonly OutputImage[]): void {
  const [image, ...others] = images
  const content =
    image !== undefined && others.length === 0
      ? imageMetadata(image)
      : Object.fromEntries(images.map(each => [each.service, imageMetadata(each)]))
  writeText(path, `${JSON.stringify(content, null, 2)}\n`)
}

/** What the metadata file says of one image. */
export function imageMetadata(image: OutputImage): Record<string, unknown> {
  const { index, members } = image
  const names = taggedNames(image).map(formatReference)
  const [only, ...others] = members
  return {
    ...(only !== undefined && others.length === 0
      ? { 'containerimage.config.digest': only.manifest.config.digest }
      : {}),
    'containerimage.descriptor': describe(index),
    'containerimage.digest': index.digest,
    ...(names.length === 0 ? {} : { 'image.name': names.join(',') }),
    'archimage.platforms': Object.fromEntries(
      members.map(({ platform, manifest }) => [
        formatPlatform(platform),
        { digest: manifest.digest, configDigest: manifest.config.digest, size: sizeOf(manifest) },
      ]),
    ),
  }
}

/** Bytes that a pull of this platform transfers: manifest, config and layers. */
function sizeOf(manifest: ImageManifest): number {
  return manifest.raw.length + manifest.config.size + manifest.layers.reduce((sum, layer) => sum + layer.size, 0)
}

function writeText(path: string, text: string): void {
  const there = lookAt(path)
  try {
    // a pipe or device is written to, not replaced
    if (there !== undefined && !there.isFile() && !there.isDirectory()) writeFileSync(path, text)
    else writeFileAtomic(path, text)
  } catch (error) {
    throw fileError(error, `writing ${path}`)
  }
}
