import { setTimeout as sleep } from 'node:timers/promises'
import { sha256 } from '../../oci/digest.ts'
import { answer, answerJson } from '../server/answers.ts'
import { createHandler } from '../server/handler.ts'
import { parseQuery, parseRoute, type Route, splitUrl } from '../server/route.ts'
import { openDir, type Registry } from '../server/start.ts'
import { Storage } from '../server/storage.ts'
import { Authority } from './auth.ts'
import { damageBlob, takeOne } from './damage.ts'
import type { Faults, LoggedRequest } from './faults.ts'
import { type Delivery, listenNode } from './node-server.ts'

export type { Faults, LoggedRequest } from './faults.ts'

export interface FaultyOptions {
  /** What is wrong from the start. */
  readonly faults?: Faults
  /** A folder to keep; without it a temporary one, removed at the end. */
  readonly dir?: string
}

export interface FaultyRegistry extends Registry {
  /** Change it while the registry runs; the next request meets what it then says. */
  readonly faults: Faults
  /** Every request that came, in order of arrival, to the registry and the two servers beside it. Empty it with `length = 0`. */
  readonly requests: LoggedRequest[]
  /** Gives tokens for `requireAuth: { kind: 'bearer' }`; another port, so another origin. */
  readonly tokens: { readonly url: string }
  /** Serves blobs without credentials, for `redirectBlobsTo`; another port. Credentials are answered with 400, as S3 does. */
  readonly blobs: { readonly url: string }
}

interface Context {
  readonly faults: Faults
  readonly handle: (request: Request) => Promise<Response>
  readonly storage: Storage
  readonly authority: Authority
  readonly realm: () => string
}

/** The registry of `startRegistry` on a free port of 127.0.0.1, with faults that tests can switch on and off. */
export async function startFaultyRegistry(options: FaultyOptions = {}): Promise<FaultyRegistry> {
  const faults: Faults = { ...options.faults }
  const requests: LoggedRequest[] = []
  const { dir, remove } = openDir(options.dir, false)
  const storage = new Storage(dir)
  const handlerOptions = {
    storage,
    get lenient() {
      return faults.lenient ?? false
    },
  }
  const handle = createHandler(handlerOptions)
  const authority = new Authority()
  const serve = (server: LoggedRequest['server'], respond: (request: Request) => Promise<Delivery>) =>
    listenNode(async request => {
      const { path, query } = splitUrl(request.url)
      const entry: LoggedRequest = {
        server,
        method: request.method,
        path: query === '' ? path : `${path}?${query}`,
        headers: Object.fromEntries(request.headers),
        status: 0,
      }
      requests.push(entry)
      const delivery = await respond(request)
      if ((delivery.cutAfter ?? 0) >= 0) entry.status = delivery.response.status
      return delivery
    })
  const context: Context = { faults, handle, storage, authority, realm: () => `${tokens.url}/token` }
  const tokens = await serve('tokens', async request => ({
    response: await authority.serve(request, faults.requireAuth),
  }))
  const blobs = await serve('blobs', request => serveRedirected(request, context))
  const registry = await serve('registry', request => serveFaulty(request, context))
  return {
    port: registry.port,
    url: registry.url,
    address: `127.0.0.1:${registry.port}`,
    faults,
    requests,
    tokens,
    blobs,
    async close() {
      await Promise.all([registry.close(), tokens.close(), blobs.close()])
      remove()
    },
  }
}

async function serveRedirected(request: Request, context: Context): Promise<Delivery> {
  if (request.headers.has('authorization')) return { response: fail(400, 'UNSUPPORTED') }
  const route = routeOf(request)
  if (route?.kind !== 'blob') return { response: fail(404, 'UNSUPPORTED') }
  return deliver(request, route, context)
}

async function serveFaulty(request: Request, context: Context): Promise<Delivery> {
  const { faults, authority } = context
  if (matches(faults.slow?.match, request)) await sleep(faults.slow?.milliseconds ?? 0)
  const own = await faults.answer?.(request)
  if (own) return { response: own }
  for (const fault of faults.failFirst === undefined ? [] : [faults.failFirst].flat()) {
    if (!matches(fault.match, request) || !takeOne(fault)) continue
    const headers: Record<string, string> =
      fault.retryAfter === undefined ? {} : { 'retry-after': String(fault.retryAfter) }
    const code = fault.code ?? (fault.status === 429 ? 'TOOMANYREQUESTS' : 'UNKNOWN')
    return { response: fail(fault.status, code, headers), cutAfter: fault.cut ? -1 : undefined }
  }
  const denied = faults.requireAuth && authority.check(request, faults.requireAuth, context.realm())
  if (denied) return { response: denied }
  const route = routeOf(request)
  const refused = route && (await refusal(request, route, context))
  if (refused) return { response: refused }
  return deliver(withoutMount(request, route, context), route, context)
}

/** The answers that stand in for the registry's. */
async function refusal(request: Request, route: Route, { faults, storage }: Context): Promise<Response | undefined> {
  const { method } = request
  if (method === 'DELETE' && faults.noDelete && route.kind !== 'upload') return fail(405, 'UNSUPPORTED')
  if (method === 'DELETE' && faults.noTagDelete && route.kind === 'manifest') {
    if (route.tag !== undefined) return fail(faults.noTagDelete, 'UNSUPPORTED')
    for (const tag of storage.tags(route.repository) ?? [])
      if (storage.tag(route.repository, tag) === route.digest) storage.deleteTag(route.repository, tag)
  }
  if (route.kind === 'referrers' && faults.noReferrers === 404) return answer(404, {}, '404 page not found')
  if (route.kind === 'referrers' && faults.noReferrers === 'html')
    return answer(200, { 'content-type': 'text/html' }, '<!doctype html><title>Registry</title>')
  if (route.kind === 'manifest' && method === 'HEAD' && faults.noHead) return answer(faults.noHead)
  if (
    route.kind === 'manifest' &&
    method === 'PUT' &&
    route.tag !== undefined &&
    faults.refuseTag?.match.test(route.tag)
  ) {
    const { status, code = 'DENIED', onlyMoves } = faults.refuseTag
    const now = storage.tag(route.repository, route.tag)
    const moves = async () => now !== undefined && now !== sha256(await request.clone().bytes())
    if (!onlyMoves || (await moves())) return fail(status, code)
  }
  if (route.kind === 'blob' && method === 'GET' && faults.redirectBlobsTo !== undefined) {
    const { path } = splitUrl(request.url)
    return answer(307, { location: `${faults.redirectBlobsTo}${path}?signature=secret` })
  }
  if (route.kind === 'uploads' && isMount(request) && (faults.noMount ?? 202) !== 202)
    return fail(faults.noMount!, faults.noMount === 404 ? 'NAME_UNKNOWN' : 'UNSUPPORTED')
  if (route.kind === 'tags' && faults.nullTags && storage.tags(route.repository)?.length === 0)
    return answerJson({ name: route.repository, tags: null })
  return undefined
}

/** A mount that is not possible becomes the opening of an upload. */
function withoutMount(request: Request, route: Route | undefined, context: Context): Request {
  const { faults, authority } = context
  if (route?.kind !== 'uploads' || !isMount(request)) return request
  const from = parseQuery(splitUrl(request.url).query).get('from')
  const allowed = from === null || authority.mayRead(request, faults.requireAuth, from)
  if (allowed && faults.noMount === undefined && !faults.perRepositoryStorage) return request
  return new Request(request.url.split('?')[0]!, { method: request.method, headers: request.headers })
}

/** The registry's own answer with what is wrong with headers, blobs and the connection. */
async function deliver(request: Request, route: Route | undefined, context: Context): Promise<Delivery> {
  const { faults, handle } = context
  if (faults.ignoreRange && route?.kind === 'blob') request.headers.delete('range')
  let response = await handle(request)
  if (route?.kind === 'manifest' && response.ok) {
    if (faults.noReferrers) response.headers.delete('oci-subject')
    if (faults.wrongDigestHeader) response.headers.set('docker-content-digest', sha256('other bytes'))
    if (faults.noDigestHeader === 'always' || (faults.noDigestHeader === 'HEAD' && request.method === 'HEAD'))
      response.headers.delete('docker-content-digest')
  }
  if ((route?.kind === 'upload' || route?.kind === 'uploads') && response.status === 202)
    moveUpload(request, response, faults)
  const slow = matches(faults.slow?.match, request) ? faults.slow?.bytesPerSecond : undefined
  if (route?.kind !== 'blob' || request.method !== 'GET' || !response.ok) return { response, bytesPerSecond: slow }
  response = (await damageBlob(response, route.digest, faults)) ?? response
  const drop = faults.dropConnection
  const cut = drop && matches(drop.match, request) && takeOne(drop)
  return { response, bytesPerSecond: slow, cutAfter: cut ? drop.afterBytes : undefined }
}

function moveUpload(request: Request, response: Response, { uploadLocation }: Faults): void {
  const location = response.headers.get('location') ?? ''
  if (uploadLocation === 'absolute') response.headers.set('location', new URL(location, request.url).href)
  if (uploadLocation === 'query') response.headers.set('location', `${location}?_state=a%2Bb&x=1`)
}

function routeOf(request: Request): Route | undefined {
  try {
    return parseRoute(splitUrl(request.url).path)
  } catch {
    return undefined
  }
}

function isMount(request: Request): boolean {
  return request.method === 'POST' && parseQuery(splitUrl(request.url).query).has('mount')
}

function matches(match: RegExp | undefined, request: Request): boolean {
  if (match === undefined) return true
  const { path, query } = splitUrl(request.url)
  return match.test(query === '' ? `${request.method} ${path}` : `${request.method} ${path}?${query}`)
}

function fail(status: number, code: string, headers: Readonly<Record<string, string>> = {}): Response {
  return answerJson({ errors: [{ code, message: 'this fault was asked for' }] }, headers, status)
}
