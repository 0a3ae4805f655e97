import { type Descriptor, type ImageIndex, parseManifest, sorted } from '../oci/manifest.ts'
import { DOCKER, OCI } from '../oci/media-types.ts'
import type { Platform } from '../oci/platform.ts'

/**
 * An index byte for byte as Go's encoding/json writes the structs of manifest-tool: fields in their order there (Docker's
 * lists have the size before the digest), two spaces, `<`, `>` and `&` escaped, no line feed at the end.
 */
export function encodeGoList(
  docker: boolean,
  manifests: readonly Descriptor[],
  annotations: Readonly<Record<string, string>> = {},
): ImageIndex {
  const text = docker
    ? { schemaVersion: 2, mediaType: DOCKER.index, manifests: manifests.map(dockerEntry) }
    : {
        schemaVersion: 2,
        mediaType: OCI.index,
        manifests: manifests.map(ociEntry),
        ...filled('annotations', annotations),
      }
  const json = JSON.stringify(text, null, 2).replace(/[<>&\u2028\u2029]/g, escaped)
  return parseManifest(Buffer.from(json)) as ImageIndex
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

function filled(key: string, map: Readonly<Record<string, string>> | undefined): Record<string, unknown> {
  return map === undefined || Object.keys(map).length === 0 ? {} : { [key]: sorted(map) }
}

function dockerEntry({ mediaType, size, digest, annotations, platform }: Descriptor): Record<string, unknown> {
  return { mediaType, size, digest, ...filled('annotations', annotations), platform: platformOf(platform!) }
}

function ociEntry(entry: Descriptor): Record<string, unknown> {
  const { mediaType, digest, size, urls, annotations, data, platform, artifactType } = entry
  return {
    mediaType,
    digest,
    size,
    ...(urls?.length ? { urls } : {}),
    ...filled('annotations', annotations),
    ...(data ? { data } : {}),
    ...(platform === undefined ? {} : { platform: platformOf(platform) }),
    ...(artifactType ? { artifactType } : {}),
  }
}

function platformOf(platform: Platform): Record<string, unknown> {
  const { architecture, os, variant } = platform
  return {
    architecture,
    os,
    ...(platform['os.version'] ? { 'os.version': platform['os.version'] } : {}),
    ...(platform['os.features']?.length ? { 'os.features': platform['os.features'] } : {}),
    ...(variant ? { variant } : {}),
  }
}
