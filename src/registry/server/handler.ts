import { answerJson, answerRefusal, Refusal, refuse } from './answers.ts'
import { deleteBlob, getBlob } from './blob-handlers.ts'
import { listReferrers, listRepositories, listTags } from './list-handlers.ts'
import { deleteManifest, getManifest, putManifest } from './manifest-handlers.ts'
import { parseQuery, parseRoute, type Route, splitUrl } from './route.ts'
import { Storage } from './storage.ts'
import type { StorageReader } from './storage-reader.ts'
import { continueUpload, startUpload } from './upload-handlers.ts'
import { Uploads } from './uploads.ts'

export type Handler = (request: Request) => Promise<Response>

export interface HandlerOptions {
  /** Anything but a Storage is read-only. */
  readonly storage: StorageReader
  readonly readOnly?: boolean
  readonly lenient?: boolean
  readonly sparse?: boolean
  /** Asked before anything else: throws the Refusal of a request that may not pass, or answers it. */
  readonly gate?: ((request: Request) => Promise<Response | undefined>) | undefined
  /** One line for each request, and for each failure of the server itself. */
  readonly log?: ((line: string) => void) | undefined
}

interface Writing {
  readonly storage: Storage
  readonly uploads: Uploads
}

/** The registry protocol (distribution-spec 1.1) over a storage, as a function from request to response. Never throws. */
export function createHandler(options: HandlerOptions): Handler {
  const writing = openWriting(options)
  return async request => {
    const { path, query } = splitUrl(request.url)
    const response = await respond(request, path, query, writing, options).catch(error =>
      answerRefusal(error instanceof Refusal ? error : failure(error, request, options.log)),
    )
    options.log?.(`${request.method} ${printable(path)} ${response.status}`)
    if (request.method !== 'HEAD' || response.body === null) return response
    return new Response(null, { status: response.status, headers: response.headers })
  }
}

function openWriting({ storage, readOnly = false }: HandlerOptions): Writing | undefined {
  if (readOnly || !(storage instanceof Storage)) return undefined
  const uploads = new Uploads(storage.uploads)
  uploads.sweep()
  return { storage, uploads }
}

async function respond(
  request: Request,
  path: string,
  rawQuery: string,
  writing: Writing | undefined,
  options: HandlerOptions,
): Promise<Response> {
  const passed = await options.gate?.(request)
  if (passed !== undefined) return passed
  const route = parseRoute(path)
  const query = parseQuery(rawQuery)
  if (request.method === 'GET' || request.method === 'HEAD')
    return read(request, route, query, writing, options.storage)
  if (writing === undefined) throw refuse(405, 'DENIED', 'this registry is read-only')
  return write(request, route, query, writing, options)
}

function read(
  request: Request,
  route: Route,
  query: URLSearchParams,
  writing: Writing | undefined,
  storage: StorageReader,
): Response | Promise<Response> {
  switch (route.kind) {
    case 'manifest':
      return getManifest(request, storage, writing?.storage, route)
    case 'blob':
      return getBlob(request, storage, writing?.storage, route.repository, route.digest)
    case 'upload':
      if (writing === undefined) throw refuse(404, 'BLOB_UPLOAD_UNKNOWN', 'this registry is read-only')
      return continueUpload({ ...writing, request, query, repository: route.repository }, route.id)
    case 'uploads':
      throw unsupported(request)
    default:
      return list(route, storage, query)
  }
}

function write(
  request: Request,
  route: Route,
  query: URLSearchParams,
  writing: Writing,
  { lenient = false, sparse = false }: HandlerOptions,
): Response | Promise<Response> {
  const { storage } = writing
  const { method } = request
  if (route.kind === 'manifest' && method === 'PUT')
    return putManifest({ request, storage, query, lenient, sparse }, route)
  if (route.kind === 'manifest' && method === 'DELETE') return deleteManifest(storage, route)
  if (route.kind === 'blob' && method === 'DELETE') return deleteBlob(storage, route.repository, route.digest)
  if (route.kind === 'upload')
    return continueUpload({ ...writing, request, query, repository: route.repository }, route.id)
  if (route.kind === 'uploads' && method === 'POST')
    return startUpload({ ...writing, request, query, repository: route.repository })
  throw unsupported(request)
}

function unsupported(request: Request): Refusal {
  return refuse(405, 'UNSUPPORTED', `${request.method} does not go with this path`)
}

function list(
  route: Extract<Route, { kind: 'root' | 'catalog' | 'tags' | 'referrers' }>,
  storage: StorageReader,
  query: URLSearchParams,
): Response {
  if (route.kind === 'root') return answerJson({})
  if (route.kind === 'catalog') return listRepositories(storage, query)
  if (route.kind === 'tags') return listTags(storage, route.repository, query)
  return listReferrers(storage, route.repository, route.digest, query)
}

/** What went wrong here, for the log; the client learns only what it can do something about. */
function failure(error: unknown, request: Request, log: HandlerOptions['log']): Refusal {
  if (request.signal.aborted) return refuse(400, 'UNKNOWN', 'the request broke off')
  const { code, message } = error as { code?: string; message?: string }
  log?.(`${request.method} ${printable(splitUrl(request.url).path)}: ${message ?? String(error)}`)
  if (code === 'ENOSPC' || code === 'EDQUOT') return refuse(507, 'UNKNOWN', 'the disk of the registry is full')
  return refuse(500, 'UNKNOWN', 'the registry failed; its log says why')
}

function printable(path: string): string {
  return path.replace(/[^\x21-\x7e]/g, '?')
}
