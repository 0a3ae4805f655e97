import { setTimeout as sleep } from 'node:timers/promises'
import { sha256 } from '../../oci/digest.ts'
import { answer, answerJson } from '../server/answers.ts'
import { type Route, splitUrl } from '../server/route.ts'
import type { Storage } from '../server/storage.ts'
import type { Authority } from './auth.ts'
import { damageBlob, takeOne } from './damage.ts'
import type { Faults } from './faults.ts'
import { serveList } from './lists.ts'
import { damageManifest } from './manifests.ts'
import { matches, queryOf, routeOf } from './match.ts'
import type { Delivery } from './node-server.ts'
import type { UploadFaults } from './uploads.ts'

export interface Context {
  readonly faults: Faults
  readonly handle: (request: Request) => Promise<Response>
  readonly storage: Storage
  readonly authority: Authority
  readonly uploads: UploadFaults
  readonly realm: () => string
}

/** The origin that blobs are redirected to. */
export async function serveRedirected(request: Request, context: Context): Promise<Delivery> {
  if (request.headers.has('authorization')) return { response: fail(400, 'UNSUPPORTED') }
  const route = routeOf(request)
  if (route?.kind !== 'blob') return { response: fail(404, 'UNSUPPORTED') }
  return deliver(request, route, context)
}

/** The registry. */
export async function serveFaulty(request: Request, context: Context): Promise<Delivery> {
  const delivery = await respond(request, context)
  const { warning } = context.faults
  if (warning !== undefined) delivery.response.headers.set('warning', `299 - "${warning}"`)
  return delivery
}

async function respond(request: Request, context: Context): Promise<Delivery> {
  const { faults, authority, uploads } = context
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
  const refused = route && ((await refusal(request, route, context)) ?? (await uploads.refusal(request, route, faults)))
  if (refused) return { response: refused }
  const broken = route?.kind === 'upload' ? uploads.cut(request, faults) : undefined
  if (broken === undefined) return deliver(withoutMount(request, route, context), route, context)
  const response = await context.handle(broken)
  if (faults.cutUpload?.forget) await uploads.forget(request, context.handle)
  return { response, cutAfter: -1 }
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
  const from = queryOf(request).get('from')
  const allowed = from === null || authority.mayRead(request, faults.requireAuth, from)
  if (allowed && faults.noMount === undefined && !faults.perRepositoryStorage) return request
  return new Request(request.url.split('?')[0]!, { method: request.method, headers: request.headers })
}

/** The registry's own answer with what is wrong with headers, blobs and the connection. */
async function deliver(request: Request, route: Route | undefined, context: Context): Promise<Delivery> {
  const { faults, handle, uploads } = context
  const slow = matches(faults.slow?.match, request) ? faults.slow?.bytesPerSecond : undefined
  if (faults.ignoreRange && route?.kind === 'blob') request.headers.delete('range')
  const list = route?.kind === 'tags' || route?.kind === 'referrers' ? route : undefined
  let response = (list && (await serveList(request, list, faults, handle))) ?? (await handle(request))
  const written = request.method === 'PUT' && response.status === 201
  if (written && faults.created) response = new Response(null, { status: faults.created, headers: response.headers })
  if (route?.kind === 'manifest' && response.ok) {
    if (faults.noReferrers) response.headers.delete('oci-subject')
    response = await damageManifest(request, response, faults)
  }
  if (route?.kind === 'upload' || route?.kind === 'uploads') response = uploads.change(request, response, faults)
  if (route?.kind !== 'blob' || request.method !== 'GET' || !response.ok) return { response, bytesPerSecond: slow }
  response = (await damageBlob(response, route.digest, faults)) ?? response
  const drop = faults.dropConnection
  const cut = drop && matches(drop.match, request) && takeOne(drop)
  return { response, bytesPerSecond: slow, cutAfter: cut ? drop.afterBytes : undefined }
}

function isMount(request: Request): boolean {
  return request.method === 'POST' && queryOf(request).has('mount')
}

function fail(status: number, code: string, headers: Readonly<Record<string, string>> = {}): Response {
  return answerJson({ errors: [{ code, message: 'this fault was asked for' }] }, headers, status)
}
