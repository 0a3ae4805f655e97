import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { type ImageConfig, parseImageConfig } from '../oci/config.ts'
import { MAX_JSON } from '../oci/json.ts'
import { type Descriptor, describe, type ImageManifest, isAttestation, type Manifest } from '../oci/manifest.ts'
import { DOCKER, OCI } from '../oci/media-types.ts'
import type { Transport } from '../transports/transport.ts'

/** A manifest with all that it leads to but the layers. */
export interface ImageNode {
  /** As its parent has it; of the topmost what the bytes say. */
  readonly descriptor: Descriptor
  /** Absent where the place does not have it. */
  readonly manifest?: Manifest
  /** Of an index, in its order. */
  readonly children: readonly ImageNode[]
  /** Of an image, not of attestations and other artifacts. */
  readonly config?: ImageConfig
  /** The bytes of `config`. */
  readonly rawConfig?: Uint8Array
  /** What is wrong with it, a sentence. */
  readonly problem?: string
}

/** An index names at most this many manifests, all levels together: whoever wants more has the raw bytes. */
const MAX_NODES = 2000
const MAX_DEPTH = 4

/**
 * What a tag or digest leads to: index, manifests, configs. What is not there or wrong below the top is a `problem` of its
 * node, not an exception. Undefined when there is nothing of that name. Throws MANIFEST_INVALID for what goes beyond all limits.
 */
export async function readImage(
  transport: Transport,
  name: string,
  options: { readonly signal?: AbortSignal } = {},
): Promise<ImageNode | undefined> {
  const top = await transport.manifest(name, options)
  if (top === undefined) return undefined
  let nodes = 0
  const read = async (descriptor: Descriptor, manifest: Manifest | undefined, depth: number): Promise<ImageNode> => {
    if (manifest === undefined) return { descriptor, children: [], problem: 'it is not there' }
    if (manifest.kind === 'image') {
      if (!isImage(manifest) || isAttestation(descriptor)) return { descriptor, manifest, children: [] }
      return { descriptor, manifest, children: [], ...(await configOf(transport, manifest, options)) }
    }
    nodes += manifest.manifests.length
    if (depth >= MAX_DEPTH || nodes > MAX_NODES)
      throw new ArchimageError(
        'MANIFEST_INVALID',
        depth >= MAX_DEPTH
          ? `the index holds indexes more than ${MAX_DEPTH} levels deep`
          : `the index leads to more than ${MAX_NODES} manifests`,
        { hint: '--raw prints its bytes as they are' },
      )
    const children = await Promise.all(
      manifest.manifests.map(async entry => {
        try {
          return await read(entry, await transport.manifest(entry.digest, options), depth + 1)
        } catch (error) {
          if (!local(error)) throw error
          return { descriptor: entry, children: [], problem: error.message }
        }
      }),
    )
    return { descriptor, manifest, children }
  }
  return read(describe(top), top, 0)
}

async function configOf(
  transport: Transport,
  { config }: ImageManifest,
  options: { readonly signal?: AbortSignal },
): Promise<Pick<ImageNode, 'config' | 'rawConfig' | 'problem'>> {
  try {
    const rawConfig = await readSmall(transport, config, options)
    return { rawConfig, config: parseImageConfig(rawConfig, `config ${config.digest}`) }
  } catch (error) {
    if (!local(error)) throw error
    return { problem: error.message }
  }
}

/** A wrong document spoils itself only; limits, and failures to reach the place, end the reading. */
function local(error: unknown): error is ArchimageError {
  return isArchimageError(error) && error.exit === 1 && error.hint?.startsWith('--raw') !== true
}

/** A blob that is JSON. Throws MANIFEST_INVALID for one that is bigger than JSON is allowed to be. */
export async function readSmall(
  transport: Transport,
  descriptor: Descriptor,
  options: { readonly signal?: AbortSignal } = {},
): Promise<Buffer> {
  if (descriptor.size > MAX_JSON)
    throw new ArchimageError(
      'MANIFEST_INVALID',
      `${descriptor.digest} has ${descriptor.size} bytes, more than the ${MAX_JSON} that are read`,
    )
  return Buffer.concat(await Array.fromAsync(await transport.blob(descriptor, options)))
}

/** True for what runs; false for artifacts, whose config is of another kind. */
export function isImage(manifest: ImageManifest): boolean {
  return manifest.config.mediaType === OCI.config || manifest.config.mediaType === DOCKER.config
}

/** All nodes of a tree, each before what is below it. */
export function* nodesOf(node: ImageNode): Generator<ImageNode> {
  yield node
  for (const child of node.children) yield* nodesOf(child)
}
