import { answer, answerRefusal, Refusal, refuse } from './answers.ts'
import { handleBlob } from './blob-handlers.ts'
import { listReferrers, listRepositories, listTags } from './list-handlers.ts'
import { handleManifest } from './manifest-handlers.ts'
import { parseQuery, parseRoute, type Route, splitUrl } from './route.ts'
import type { Storage } from './storage.ts'
import { continueUpload, startUpload } from './upload-handlers.ts'
import { Uploads } from './uploads.ts'

export type Handler = (request: Request) => Promise<Response>

export interface HandlerOptions {
  readonly storage: Storage
  readonly readOnly?: boolean
  readonly lenient?: boolean
  /** One line for each request, and for each failure of the server itself. */
  readonly log?: ((line: string) => void) | undefined
}

/** The registry protocol (distribution-spec 1.1) over a storage, as a function from request to response. Never throws. */
export function createHandler(options: HandlerOptions): Handler {
  const uploads = new Uploads(options.storage.uploads)
  if (!options.readOnly) uploads.sweep()
  return async request => {
    const { path, query } = splitUrl(request.url)
    const response = await respond(request, path, query, uploads, options).catch(error =>
      answerRefusal(error instanceof Refusal ? error : failure(error, request, options.log)),
    )
    options.log?.(`${request.method} ${printable(path)} ${response.status}`)
    if (request.method !== 'HEAD' || response.body === null) return response
    return new Response(null, { status: response.status, headers: response.headers })
  }
}

async function respond(
  request: Request,
  path: string,
  rawQuery: string,
  uploads: Uploads,
  { storage, readOnly = false, lenient = false }: HandlerOptions,
): Promise<Response> {
  const route = parseRoute(path)
  const query = parseQuery(rawQuery)
  const reading = request.method === 'GET' || request.method === 'HEAD'
  if (readOnly && !reading) throw refuse(405, 'DENIED', 'this registry is read-only')
  switch (route.kind) {
    case 'manifest':
      return handleManifest({ ...route, request, storage, query, lenient })
    case 'blob':
      return handleBlob(request, storage, route.repository, route.digest)
    case 'upload':
      return continueUpload({ request, storage, uploads, query, repository: route.repository }, route.id)
    case 'uploads':
      if (request.method !== 'POST') break
      return startUpload({ request, storage, uploads, query, repository: route.repository })
    default:
      if (reading) return list(route, storage, query)
  }
  throw refuse(405, 'UNSUPPORTED', `${request.method} does not go with this path`)
}

function list(
  route: Extract<Route, { kind: 'root' | 'catalog' | 'tags' | 'referrers' }>,
  storage: Storage,
  query: URLSearchParams,
): Response {
  if (route.kind === 'root') return answer(200, { 'content-type': 'application/json' }, '{}')
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
