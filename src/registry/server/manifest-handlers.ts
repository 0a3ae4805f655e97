import { isArchimageError } from '../../errors/error.ts'
import { type Digest, digestLike, sha256 } from '../../oci/digest.ts'
import { type Descriptor, type Manifest, parseManifest } from '../../oci/manifest.ts'
import { isForeignLayer, isIndexType, isManifestType } from '../../oci/media-types.ts'
import { isTag } from '../../oci/reference.ts'
import { answer, type Fault, isUnchanged, Refusal, refuse } from './answers.ts'
import { withoutSilence } from './silence.ts'
import type { Storage } from './storage.ts'
import type { StorageReader } from './storage-reader.ts'

/** distribution-spec, "Pushing Manifests": every side must be able to take 4 MiB. */
export const MAX_MANIFEST = 4 * 1024 * 1024
/** Milliseconds without a byte of a manifest. */
const SILENCE = 60_000

/** What a request names: a tag or a digest. */
export interface ManifestName {
  readonly repository: string
  readonly tag?: string
  readonly digest?: Digest
}

export interface ManifestWriting {
  readonly request: Request
  readonly storage: Storage
  readonly query: URLSearchParams
  /** Takes manifests as they come, as some registries do. */
  readonly lenient: boolean
  /** Takes manifests some of whose blobs and members are not there. */
  readonly sparse: boolean
}

/** GET and HEAD. Where the storage can be written, whoever asks by digest is about to rely on it. */
export function getManifest(
  request: Request,
  storage: StorageReader,
  writable: Storage | undefined,
  { repository, tag, digest }: ManifestName,
): Response {
  const wanted = tag === undefined ? digest! : storage.tag(repository, tag)
  if (writable && digest !== undefined) writable.steady(() => writable.keepManifest(repository, digest))
  const found = wanted && storage.manifest(repository, wanted)
  if (!found) throw unknownManifest(storage, repository, tag ?? digest!)
  const etag = `"${found.digest}"`
  if (isUnchanged(request, etag)) return answer(304, { etag, 'docker-content-digest': found.digest })
  const headers = {
    'content-type': found.mediaType,
    'content-length': String(found.bytes.byteLength),
    'docker-content-digest': found.digest,
    etag,
  }
  return answer(200, headers, request.method === 'HEAD' ? null : (found.bytes as Uint8Array<ArrayBuffer>))
}

export function deleteManifest(storage: Storage, { repository, tag, digest }: ManifestName): Response {
  if (tag !== undefined) {
    if (storage.deleteTag(repository, tag)) return answer(202)
    throw unknownManifest(storage, repository, tag)
  }
  const found = storage.manifest(repository, digest!)
  if (!found || !storage.deleteManifest(repository, digest!)) throw unknownManifest(storage, repository, digest!)
  const subject = subjectOf(found.bytes, found.mediaType)
  if (subject) storage.deleteReferrer(repository, subject, digest!)
  return answer(202)
}

export async function putManifest(
  { request, storage, query, lenient, sparse }: ManifestWriting,
  { repository, tag, digest: said }: ManifestName,
): Promise<Response> {
  const tags = tag === undefined ? query.getAll('tag') : [tag]
  for (const name of tags) if (!isTag(name)) throw refuse(400, 'TAG_INVALID', 'not a tag', { tag: name.slice(0, 200) })
  const bytes = await readLimited(request)
  const digest = said === undefined ? sha256(bytes) : digestLike(said, bytes)
  if (said !== undefined && said !== digest)
    throw refuse(400, 'DIGEST_INVALID', 'the manifest has another digest', { digest: said, found: digest })
  const type = request.headers.get('content-type')?.split(';')[0]?.trim() ?? ''
  const manifest = parse(bytes, type, digest, lenient)
  const mediaType = manifest ? mediaTypeOf(manifest, type) : type
  storage.steady(() => {
    const faults = manifest ? missingReferences(storage, repository, manifest) : []
    if (faults.length > 0 && !lenient && !sparse) throw new Refusal(404, faults.slice(0, 100))
    if (manifest?.subject) {
      // The entry for the referrers API first: without the manifest it is ignored, and a client that finds the manifest
      // pushes nothing again.
      const descriptor = referrerOf(manifest, mediaType, bytes.byteLength)
      storage.putReferrer(repository, manifest.subject.digest, digest, descriptor)
      storage.keepManifest(repository, manifest.subject.digest)
    }
    storage.putManifest(repository, { mediaType, digest, bytes })
    for (const name of tags) storage.putTag(repository, name, digest)
  })
  return answer(201, {
    location: `/v2/${repository}/manifests/${digest}`,
    'docker-content-digest': digest,
    ...(manifest?.subject ? { 'oci-subject': manifest.subject.digest } : {}),
    ...(tag === undefined && tags.length > 0 ? { 'oci-tag': tags.join(', ') } : {}),
  })
}

function unknownManifest(storage: StorageReader, repository: string, reference: string): Refusal {
  return storage.tags(repository) === undefined
    ? refuse(404, 'NAME_UNKNOWN', 'no such repository', { name: repository })
    : refuse(404, 'MANIFEST_UNKNOWN', 'the repository has no such manifest', { reference })
}

async function readLimited(request: Request): Promise<Uint8Array> {
  const tooLarge = () => refuse(413, 'MANIFEST_INVALID', 'the manifest is too large', { limit: MAX_MANIFEST })
  if (Number(request.headers.get('content-length') ?? 0) > MAX_MANIFEST) throw tooLarge()
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of request.body ? withoutSilence(request.body, SILENCE) : []) {
    size += chunk.byteLength
    if (size > MAX_MANIFEST) throw tooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function parse(bytes: Uint8Array, type: string, digest: Digest, lenient: boolean): Manifest | undefined {
  try {
    return parseManifest(bytes, type, 'manifest', digest)
  } catch (error) {
    if (!isArchimageError(error)) throw error
    if (lenient) return undefined
    throw refuse(400, 'MANIFEST_INVALID', error.message)
  }
}

/** What the client called it, where that is a name of this kind of document; the header may be missing or a default. */
function mediaTypeOf(manifest: Manifest, type: string): string {
  if (isIndexType(type) || isManifestType(type)) {
    if (type === manifest.mediaType) return type
    throw refuse(400, 'MANIFEST_INVALID', 'the Content-Type is not the mediaType of the manifest', {
      contentType: type,
      mediaType: manifest.mediaType,
    })
  }
  return /^application\/vnd\.[\w.+-]+$/.test(type) ? type : manifest.mediaType
}

/**
 * Everything that a manifest names must be in the repository, so that nobody can pull a tag and get half an image. What is
 * there is kept from garbage collection from now on.
 */
function missingReferences(storage: Storage, repository: string, manifest: Manifest): readonly Fault[] {
  const faults: Fault[] = []
  const missing = (message: string, detail: object) => faults.push({ code: 'MANIFEST_BLOB_UNKNOWN', message, detail })
  const needBlob = ({ digest, size, mediaType }: Descriptor): void => {
    const found = storage.keepBlob(repository, digest)
    if (!found) missing('the manifest names a blob that the repository does not have', { digest, mediaType })
    else if (found.size !== size)
      missing('the manifest gives a blob another size than it has', { digest, mediaType, size, found: found.size })
  }
  if (manifest.kind === 'index') {
    for (const child of manifest.manifests) {
      const { digest, mediaType } = child
      if (storage.keepManifest(repository, digest)) continue
      if (!isIndexType(mediaType) && !isManifestType(mediaType)) needBlob(child)
      else missing('the index names a manifest that the repository does not have', { digest, mediaType })
    }
  } else
    for (const blob of [manifest.config, ...manifest.layers])
      if (!isForeignLayer(blob.mediaType) && !blob.urls?.length) needBlob(blob)
  return faults
}

/** distribution-spec, "Listing Referrers": an image without artifactType shows the type of its config. */
export function referrerOf(manifest: Manifest, mediaType: string, size: number): object {
  const artifactType = manifest.artifactType || (manifest.kind === 'image' ? manifest.config.mediaType : undefined)
  return {
    mediaType,
    digest: manifest.digest,
    size,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(Object.keys(manifest.annotations).length === 0 ? {} : { annotations: manifest.annotations }),
  }
}

function subjectOf(bytes: Uint8Array, mediaType: string): Digest | undefined {
  try {
    return parseManifest(bytes, mediaType).subject?.digest
  } catch {
    return undefined
  }
}
