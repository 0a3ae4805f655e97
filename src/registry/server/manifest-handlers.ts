import { isArchimageError } from '../../errors/error.ts'
import { type Digest, digestLike, sha256 } from '../../oci/digest.ts'
import { type Descriptor, type Manifest, parseManifest } from '../../oci/manifest.ts'
import { isForeignLayer, isIndexType, isManifestType } from '../../oci/media-types.ts'
import { isTag } from '../../oci/reference.ts'
import { answer, type Fault, Refusal, refuse } from './answers.ts'
import type { Storage } from './storage.ts'

/** distribution-spec, "Pushing Manifests": every side must be able to take 4 MiB. */
export const MAX_MANIFEST = 4 * 1024 * 1024

export interface ManifestRequest {
  readonly request: Request
  readonly storage: Storage
  readonly repository: string
  readonly tag?: string
  readonly digest?: Digest
  readonly query: URLSearchParams
  /** Takes manifests as they come, as some registries do. */
  readonly lenient: boolean
}

export function handleManifest(input: ManifestRequest): Response | Promise<Response> {
  switch (input.request.method) {
    case 'GET':
    case 'HEAD':
      return getManifest(input)
    case 'PUT':
      return putManifest(input)
    case 'DELETE':
      return deleteManifest(input)
    default:
      throw refuse(405, 'UNSUPPORTED', `${input.request.method} does not go with a manifest`)
  }
}

function getManifest({ request, storage, repository, tag, digest }: ManifestRequest): Response {
  const wanted = tag === undefined ? digest! : storage.tag(repository, tag)
  const found = wanted && storage.manifest(repository, wanted)
  if (!found) throw unknownManifest(storage, repository, tag ?? digest!)
  const headers = {
    'content-type': found.mediaType,
    'content-length': String(found.bytes.byteLength),
    'docker-content-digest': found.digest,
    etag: `"${found.digest}"`,
  }
  return answer(200, headers, request.method === 'HEAD' ? null : (found.bytes as Uint8Array<ArrayBuffer>))
}

function deleteManifest({ storage, repository, tag, digest }: ManifestRequest): Response {
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

async function putManifest(input: ManifestRequest): Promise<Response> {
  const { request, storage, repository, tag, digest: said, query, lenient } = input
  const tags = tag === undefined ? query.getAll('tag') : [tag]
  for (const name of tags) if (!isTag(name)) throw refuse(400, 'TAG_INVALID', 'not a tag', { tag: name.slice(0, 200) })
  const bytes = await readLimited(request)
  const digest = said === undefined ? sha256(bytes) : digestLike(said, bytes)
  if (said !== undefined && said !== digest)
    throw refuse(400, 'DIGEST_INVALID', 'the manifest has another digest', { digest: said, found: digest })
  const type = request.headers.get('content-type')?.split(';')[0]?.trim() ?? ''
  const manifest = parse(bytes, type, digest, lenient)
  const mediaType = manifest ? mediaTypeOf(manifest, type) : type
  if (manifest && !lenient) checkReferences(storage, repository, manifest)
  // The entry for the referrers API first: without the manifest it is ignored, and a client that finds the manifest
  // pushes nothing again.
  if (manifest?.subject)
    storage.putReferrer(repository, manifest.subject.digest, digest, referrerOf(manifest, mediaType, bytes.byteLength))
  storage.putManifest(repository, { mediaType, digest, bytes })
  for (const name of tags) storage.putTag(repository, name, digest)
  return answer(201, {
    location: `/v2/${repository}/manifests/${digest}`,
    'docker-content-digest': digest,
    ...(manifest?.subject ? { 'oci-subject': manifest.subject.digest } : {}),
    ...(tag === undefined && tags.length > 0 ? { 'oci-tag': tags.join(', ') } : {}),
  })
}

function unknownManifest(storage: Storage, repository: string, reference: string): Refusal {
  return storage.tags(repository) === undefined
    ? refuse(404, 'NAME_UNKNOWN', 'no such repository', { name: repository })
    : refuse(404, 'MANIFEST_UNKNOWN', 'the repository has no such manifest', { reference })
}

async function readLimited(request: Request): Promise<Uint8Array> {
  const tooLarge = () => refuse(413, 'MANIFEST_INVALID', 'the manifest is too large', { limit: MAX_MANIFEST })
  if (Number(request.headers.get('content-length') ?? 0) > MAX_MANIFEST) throw tooLarge()
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of request.body ?? []) {
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

/** Everything that a manifest names must be in the repository, so that nobody can pull a tag and get half an image. */
function checkReferences(storage: Storage, repository: string, manifest: Manifest): void {
  const faults: Fault[] = []
  const missing = (message: string, detail: object) => faults.push({ code: 'MANIFEST_BLOB_UNKNOWN', message, detail })
  const needBlob = ({ digest, size, mediaType }: Descriptor): void => {
    const found = storage.blob(repository, digest)
    if (!found) missing('the manifest names a blob that the repository does not have', { digest, mediaType })
    else if (found.size !== size)
      missing('the manifest gives a blob another size than it has', { digest, mediaType, size, found: found.size })
  }
  if (manifest.kind === 'index') {
    for (const child of manifest.manifests) {
      const { digest, mediaType } = child
      if (storage.hasManifest(repository, digest)) continue
      if (!isIndexType(mediaType) && !isManifestType(mediaType)) needBlob(child)
      else missing('the index names a manifest that the repository does not have', { digest, mediaType })
    }
  } else
    for (const blob of [manifest.config, ...manifest.layers])
      if (!isForeignLayer(blob.mediaType) && !blob.urls?.length) needBlob(blob)
  if (faults.length > 0) throw new Refusal(404, faults.slice(0, 100))
}

/** distribution-spec, "Listing Referrers": an image without artifactType shows the type of its config. */
function referrerOf(manifest: Manifest, mediaType: string, size: number): object {
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
