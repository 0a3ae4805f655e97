import { createReadStream, statSync } from 'node:fs'
import { basename } from 'node:path'
import { ArchimageError, systemError } from '../errors/error.ts'
import { type Descriptor, encodeImageManifest, type ImageManifest } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import type { Store } from '../store/store.ts'

export interface ArtifactOptions {
  /** What it is; podman's word for what does not say is the default. */
  readonly type?: string
  /** Bytes of the config; the empty one of the spec without. */
  readonly config?: Uint8Array
  readonly configType?: string
  /** Media type of the files. */
  readonly layerType?: string
  readonly subject?: Descriptor
  /** Files go without their names. */
  readonly excludeTitles?: boolean
}

const UNKNOWN = 'application/vnd.unknown.artifact.v1'
const TITLE = 'org.opencontainers.image.title'

/** Puts files into the store as an artifact: an image manifest whose layers they are (image-spec, manifest.md, "Guidelines for Artifact Usage"). */
export async function makeArtifact(
  store: Store,
  files: readonly string[],
  options: ArtifactOptions = {},
): Promise<ImageManifest> {
  const layers: Descriptor[] = []
  for (const path of files) {
    const { digest, size } = await putFile(store, path)
    layers.push({
      mediaType: options.layerType ?? 'application/octet-stream',
      digest,
      size,
      ...(options.excludeTitles === true ? {} : { annotations: { [TITLE]: basename(path) } }),
    })
  }
  const config = options.config ?? Buffer.from('{}')
  const manifest = encodeImageManifest({
    docker: false,
    artifactType: options.type ?? UNKNOWN,
    config: {
      mediaType: options.configType ?? (options.config === undefined ? OCI.empty : 'application/octet-stream'),
      digest: store.put(config),
      size: config.length,
    },
    layers,
    ...(options.subject === undefined ? {} : { subject: options.subject }),
  })
  store.put(manifest.raw)
  return manifest
}

async function putFile(store: Store, path: string): Promise<Pick<Descriptor, 'digest' | 'size'>> {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined || !stat.isFile())
    throw new ArchimageError('NOT_FOUND', `${path} is no file`, { hint: 'with --artifact, files are added' })
  const writer = store.create()
  try {
    for await (const chunk of createReadStream(path)) writer.write(chunk as Uint8Array)
    return writer.commit()
  } catch (error) {
    writer.abort()
    throw systemError(error, `reading ${path}`)
  }
}
