import { isDigest } from '../../oci/digest.ts'
import { answer, type Refusal, refuse } from './answers.ts'
import { isRepository } from './route.ts'
import type { Storage } from './storage.ts'
import type { Session, Uploads } from './uploads.ts'

/** One request for an upload, its repository already checked. */
export interface UploadRequest {
  readonly request: Request
  readonly repository: string
  readonly query: URLSearchParams
  readonly storage: Storage
  readonly uploads: Uploads
}

/** POST: mounts a blob, takes a whole one (`digest`), or opens a session. */
export async function startUpload(input: UploadRequest): Promise<Response> {
  const { repository, query, storage, uploads } = input
  const mount = query.get('mount')
  if (mount !== null) {
    if (!isDigest(mount)) throw refuse(400, 'DIGEST_INVALID', 'not a digest', { digest: mount.slice(0, 200) })
    const from = query.get('from') ?? undefined
    if ((from === undefined || isRepository(from)) && storage.mountBlob(repository, mount, from))
      return created(repository, mount)
  }
  const algorithm = query.get('digest-algorithm') ?? 'sha256'
  if (algorithm !== 'sha256' && algorithm !== 'sha512')
    throw refuse(400, 'DIGEST_INVALID', 'digest-algorithm is neither sha256 nor sha512')
  const digest = query.get('digest')
  if (digest === null || mount !== null) return accepted(repository, uploads.start(repository, algorithm))
  const session = uploads.start(repository, digest.startsWith('sha512:') ? 'sha512' : 'sha256')
  try {
    return await finish(input, session)
  } catch (error) {
    // Nobody else knows of it.
    uploads.cancel(session)
    throw error
  }
}

/** GET status, PATCH, PUT or DELETE of a session. */
export async function continueUpload(input: UploadRequest, id: string): Promise<Response> {
  const { request, repository, uploads } = input
  const session = uploads.find(repository, id)
  if (!session) throw refuse(404, 'BLOB_UPLOAD_UNKNOWN', 'no such upload: it is finished, cancelled or too old')
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      return answer(204, place(repository, session))
    case 'PATCH':
      await receive(input, session)
      return accepted(repository, session)
    case 'PUT':
      return finish(input, session)
    case 'DELETE':
      uploads.cancel(session)
      return answer(204)
    default:
      throw refuse(405, 'UNSUPPORTED', `${request.method} does not go with an upload`)
  }
}

async function finish(input: UploadRequest, session: Session): Promise<Response> {
  const { repository, query, storage, uploads } = input
  const digest = query.get('digest')
  if (!isDigest(digest))
    throw refuse(400, 'DIGEST_INVALID', 'the query has no digest of the blob', { digest: digest?.slice(0, 200) })
  await receive(input, session)
  const found = await uploads.digest(session, digest)
  if (found !== digest) {
    uploads.cancel(session)
    throw refuse(400, 'DIGEST_INVALID', 'the bytes have another digest', { digest, found, size: session.offset })
  }
  if (session.cancelled) throw refuse(404, 'BLOB_UPLOAD_UNKNOWN', 'the upload was cancelled')
  storage.addBlob(repository, digest, uploads.release(session))
  return created(repository, digest)
}

/** Takes the body of a request, after checking that it belongs where the session is. */
async function receive({ request, repository, uploads }: UploadRequest, session: Session): Promise<void> {
  if (session.busy) throw outOfOrder(repository, session, 'another request is writing to this upload')
  const range = request.headers.get('content-range')
  const end = range === null ? undefined : checkRange(range, request, repository, session)
  if (request.body !== null) await uploads.append(session, request.body)
  if (session.cancelled) throw refuse(404, 'BLOB_UPLOAD_UNKNOWN', 'the upload was cancelled')
  if (end !== undefined && session.offset !== end) {
    uploads.cancel(session)
    throw refuse(400, 'SIZE_INVALID', 'the body is not as long as its Content-Range', { received: session.offset, end })
  }
}

/** Where the upload stands after this chunk. `0-9` is the spec's form, `bytes 0-9/*` that of HTTP. */
function checkRange(range: string, request: Request, repository: string, session: Session): number {
  const [, first, last] = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/(?:\d+|\*))?$/.exec(range) ?? []
  if (first === undefined || last === undefined)
    throw refuse(400, 'BLOB_UPLOAD_INVALID', 'Content-Range is not START-END')
  if (Number(first) !== session.offset) throw outOfOrder(repository, session, 'the chunk does not follow the last one')
  const length = request.headers.get('content-length')
  const end = Number(last) + 1
  if (end <= session.offset || (length !== null && Number(length) !== end - session.offset))
    throw refuse(400, 'SIZE_INVALID', 'Content-Range and Content-Length differ', { range, length })
  return end
}

function outOfOrder(repository: string, session: Session, message: string): Refusal {
  return refuse(416, 'BLOB_UPLOAD_INVALID', message, { received: session.offset }, place(repository, session))
}

function accepted(repository: string, session: Session): Response {
  return answer(202, place(repository, session))
}

function created(repository: string, digest: string): Response {
  return answer(201, { location: `/v2/${repository}/blobs/${digest}`, 'docker-content-digest': digest })
}

/** An empty upload says 0-0, as distribution's registry does: the header has no form for "nothing". */
function place(repository: string, session: Session): Record<string, string> {
  return {
    location: `/v2/${repository}/blobs/uploads/${session.id}`,
    range: `0-${Math.max(0, session.offset - 1)}`,
    'docker-upload-uuid': session.id,
  }
}
