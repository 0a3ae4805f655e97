import { isArchimageError } from '../errors/error.ts'
import { isRecord, parseJsonObject } from '../oci/json.ts'
import { isAttestation } from '../oci/manifest.ts'
import { formatPlatform } from '../oci/platform.ts'
import type { Transport } from '../transports/transport.ts'
import { attestationSubject, platformOf } from './describe.ts'
import { imagesOf } from './narrow.ts'
import { type ImageNode, nodesOf, readSmall } from './read.ts'

/** What attestations say, by platform: as `docker buildx imagetools inspect` calls it. */
export interface Statements {
  readonly provenance: Readonly<Record<string, { readonly SLSA: unknown }>>
  readonly sbom: Readonly<Record<string, { readonly SPDX: unknown }>>
}

/** Reads the in-toto statements of the attestations in an index. One that is no JSON, or too big, counts as none. */
export async function readStatements(
  top: ImageNode,
  transport: Transport,
  options: { readonly signal?: AbortSignal } = {},
): Promise<Statements> {
  const platforms = new Map(
    imagesOf(top).map(node => [node.descriptor.digest as string, formatPlatform(platformOf(node)!)]),
  )
  const provenance: Record<string, { SLSA: unknown }> = {}
  const sbom: Record<string, { SPDX: unknown }> = {}
  for (const { descriptor, manifest } of nodesOf(top)) {
    const platform = platforms.get(attestationSubject(descriptor) ?? '')
    if (!isAttestation(descriptor) || manifest?.kind !== 'image' || platform === undefined) continue
    for (const layer of manifest.layers) {
      const type = layer.annotations?.['in-toto.io/predicate-type'] ?? ''
      const wanted = type.includes('slsa.dev/provenance') || type.includes('spdx.dev')
      if (!wanted) continue
      const predicate = await predicateOf(readSmall(transport, layer, options))
      if (predicate === undefined) continue
      if (type.includes('spdx.dev')) sbom[platform] ??= { SPDX: predicate }
      else provenance[platform] ??= { SLSA: predicate }
    }
  }
  return { provenance, sbom }
}

async function predicateOf(reading: Promise<Buffer>): Promise<unknown> {
  try {
    const { predicate } = parseJsonObject(await reading, 'attestation')
    return isRecord(predicate) ? predicate : undefined
  } catch (error) {
    if (isArchimageError(error) && error.exit === 1) return undefined
    throw error
  }
}
