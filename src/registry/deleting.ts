import { randomUUID } from 'node:crypto'
import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { type Digest, isDigest, sha256 } from '../oci/digest.ts'
import { encodeImageManifest, type ImageManifest, type Manifest } from '../oci/manifest.ts'
import { DOCKER, OCI } from '../oci/media-types.ts'
import { builtin } from '../sys/builtin.ts'
import { writeBlob } from './blob-writing.ts'
import { readHead, readManifest } from './manifest-reading.ts'
import { writeManifest } from './manifest-writing.ts'
import { type Site, siteName, siteRequest } from './site.ts'

/** DELETE of a manifest or a tag. False when there was nothing. Throws UNSUPPORTED when the registry does not do this. */
export async function deleteManifest(
  site: Site,
  tagOrDigest: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const request = (actions: 'pull,delete' | '*') =>
    siteRequest(site, `deleting ${tagOrDigest}`, {
      method: 'DELETE',
      path: `manifests/${tagOrDigest}`,
      actions,
      signal,
    })
  let answer = await site.client.request(request('pull,delete')).catch(error => {
    if (isRefused(error)) return undefined
    throw error
  })
  // Tokens of Quay know no "delete", only everything.
  if (
    answer === undefined ||
    ((answer.status === 401 || answer.status === 403) && site.host.challenge?.kind === 'bearer')
  ) {
    await answer?.drain()
    answer = await site.client.request(request('*'))
  }
  if ([200, 202, 204, 404].includes(answer.status)) {
    await answer.drain()
    return answer.status !== 404
  }
  const error = await site.client.refusal(request('pull,delete'), answer)
  const codes = (error.details['codes'] ?? []) as readonly string[]
  // A server that takes every reference for a digest says so of a tag with one of several codes.
  const never = [405, 501].includes(answer.status) || (answer.status === 400 && !isDigest(tagOrDigest))
  if (!never && !codes.includes('UNSUPPORTED') && !codes.includes('DIGEST_INVALID')) throw error
  throw new ArchimageError('UNSUPPORTED', error.message, {
    hint: isDigest(tagOrDigest)
      ? "the registry does not delete: distribution's needs REGISTRY_STORAGE_DELETE_ENABLED=true"
      : 'this registry deletes by digest only, and all tags of that digest with it',
    cause: error,
    details: error.details,
  })
}

/**
 * Takes a tag away; its manifest and the other tags stay. Where the registry deletes by digest only, the tag is first moved
 * to an image made for this and nothing else, which is then deleted; before, the registry has to show that it deletes
 * such an image. False when there was no such tag. Throws UNSUPPORTED, with the tag as it was.
 */
export async function deleteTag(site: Site, tag: string, signal: AbortSignal | undefined): Promise<boolean> {
  try {
    if (await deleteManifest(site, tag, signal)) return true
  } catch (error) {
    if (!isUnsupported(error)) throw error
  }
  const before = await readManifest(site, tag, signal)
  if (before === undefined) return false
  const docker = before.mediaType === DOCKER.index || before.mediaType === DOCKER.manifest
  const { image, blobs } = throwaway(docker)
  await proveDeletion(site, tag, image, blobs, signal)
  await writeManifest(site, image, tag, signal)
  try {
    await deleteManifest(site, image.digest, signal)
    if ((await readHead(site, tag, signal))?.digest !== image.digest) return true
  } catch (error) {
    throw await restored(site, tag, before, error)
  }
  throw await restored(site, tag, before, undefined)
}

/** Throws UNSUPPORTED unless the registry deletes `image` by its digest. */
async function proveDeletion(
  site: Site,
  tag: string,
  image: ImageManifest,
  blobs: ReadonlyMap<Digest, Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const refused = (cause: unknown) =>
    new ArchimageError(
      'UNSUPPORTED',
      `${siteName(site)}: the tag ${tag} cannot be deleted: the registry deletes neither tags nor manifests`,
      {
        hint: "let the registry delete (distribution's: REGISTRY_STORAGE_DELETE_ENABLED=true), or use its own interface",
        cause,
      },
    )
  try {
    // It is not there yet: a registry that never deletes says so now, and nothing of ours stays behind.
    await deleteManifest(site, image.digest, signal)
    for (const blob of [image.config, ...image.layers])
      await writeBlob(site, blob, () => new Blob([blobs.get(blob.digest) as Uint8Array<ArrayBuffer>]).stream(), {
        ...(signal === undefined ? {} : { signal }),
      })
    await writeManifest(site, image, undefined, signal)
    if (await deleteManifest(site, image.digest, signal)) return
  } catch (error) {
    throw isUnsupported(error) ? refused(error) : error
  }
  throw refused(undefined)
}

/** Puts the tag back, whatever stopped us: also after an interruption. The error to throw. */
async function restored(site: Site, tag: string, before: Manifest, cause: unknown): Promise<ArchimageError> {
  const what = `${siteName(site)}: the tag ${tag} could not be deleted`
  try {
    await writeManifest(site, before, tag, undefined)
  } catch (error) {
    return new ArchimageError('REGISTRY_ERROR', `${what}, nor put back to ${before.digest}`, {
      hint: `the manifest is still there: give it the tag ${tag} again`,
      cause: cause ?? error,
    })
  }
  if (isArchimageError(cause)) return cause
  return new ArchimageError('REGISTRY_ERROR', `${what}: it is ${before.digest} again`, {
    hint: "use the registry's own interface",
    ...(cause === undefined ? {} : { cause }),
  })
}

/** By the token server, which does not know one of the actions, or does not give it to this user. */
function isRefused(error: unknown): boolean {
  if (!isArchimageError(error)) return false
  return error.code === 'UNAUTHORIZED' || (error.code === 'REGISTRY_ERROR' && error.details['status'] === 400)
}

function isUnsupported(error: unknown): boolean {
  return isArchimageError(error) && error.code === 'UNSUPPORTED'
}

/** An image that no other push has, of the kind that the tag has: some registries take one kind only. */
function throwaway(docker: boolean): {
  readonly image: ImageManifest
  readonly blobs: ReadonlyMap<Digest, Uint8Array>
} {
  const tar = new Uint8Array(1024)
  const layer = builtin.zlib.gzipSync(tar)
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Labels: { 'archimage.deleted-tag': randomUUID() } },
      rootfs: { type: 'layers', diff_ids: [sha256(tar)] },
    }),
  )
  const types = docker ? DOCKER : OCI
  const describe = (mediaType: string, bytes: Uint8Array) => ({
    mediaType,
    digest: sha256(bytes),
    size: bytes.byteLength,
  })
  const image = encodeImageManifest({
    docker,
    config: describe(types.config, config),
    layers: [describe(types.layerGzip, layer)],
  })
  return {
    image,
    blobs: new Map([
      [sha256(config), config],
      [sha256(layer), layer],
    ]),
  }
}
