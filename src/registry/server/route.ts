import { type Digest, isDigest } from '../../oci/digest.ts'
import { isTag } from '../../oci/reference.ts'
import { refuse } from './answers.ts'

/** What a path under /v2/ names. */
export type Route =
  | { readonly kind: 'root' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'tags'; readonly repository: string }
  | { readonly kind: 'manifest'; readonly repository: string; readonly tag?: string; readonly digest?: Digest }
  | { readonly kind: 'blob'; readonly repository: string; readonly digest: Digest }
  | { readonly kind: 'uploads'; readonly repository: string }
  | { readonly kind: 'upload'; readonly repository: string; readonly id: string }
  | { readonly kind: 'referrers'; readonly repository: string; readonly digest: Digest }

// distribution-spec, "Pulling manifests": no part is empty, "." or "..", or begins with "_", so names are safe as paths.
const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*'
const NAME = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`)
const UPLOAD = /^\/v2\/(.+)\/blobs\/uploads(?:\/([^/]*))?$/
const THING = /^\/v2\/(.+)\/(manifests|blobs|referrers)\/([^/]+)$/
const TAGS = /^\/v2\/(.+)\/tags\/list\/?$/

export function isRepository(name: string): boolean {
  return name.length <= 255 && NAME.test(name)
}

/** The path of a request and its query. With HTTP/1.0 and no Host the runtime's URL is only a path. */
export function splitUrl(url: string): { readonly path: string; readonly query: string } {
  const scheme = url.indexOf('://')
  const slash = url.startsWith('/') ? 0 : url.indexOf('/', scheme < 0 ? 0 : scheme + 3)
  const target = slash < 0 ? '/' : url.slice(slash)
  const mark = target.indexOf('?')
  return mark < 0 ? { path: target, query: '' } : { path: target.slice(0, mark), query: target.slice(mark + 1) }
}

/** No value of the protocol has a space, but media types have "+", and not every client escapes it. */
export function parseQuery(query: string): URLSearchParams {
  return new URLSearchParams(query.replaceAll('+', '%2B'))
}

/** Throws Refusal: NAME_INVALID, TAG_INVALID, DIGEST_INVALID, or 404 for what is no path of the protocol. */
export function parseRoute(raw: string): Route {
  const path = raw.includes('%') ? decode(raw) : raw
  if (path === '/v2/' || path === '/v2') return { kind: 'root' }
  if (path === '/v2/_catalog') return { kind: 'catalog' }
  const upload = UPLOAD.exec(path)
  if (upload) {
    const repository = name(upload[1]!)
    return upload[2] ? { kind: 'upload', repository, id: upload[2] } : { kind: 'uploads', repository }
  }
  const tags = TAGS.exec(path)
  if (tags) return { kind: 'tags', repository: name(tags[1]!) }
  const thing = THING.exec(path)
  if (!thing) throw refuse(404, 'UNSUPPORTED', 'no such path in the registry protocol')
  const repository = name(thing[1]!)
  const what = thing[3]!
  if (thing[2] === 'manifests' && !what.includes(':')) {
    if (!isTag(what)) throw refuse(404, 'MANIFEST_UNKNOWN', 'not a tag', { tag: what.slice(0, 200) })
    return { kind: 'manifest', repository, tag: what }
  }
  if (!isDigest(what)) throw refuse(400, 'DIGEST_INVALID', 'not a digest', { digest: what.slice(0, 200) })
  const kind = thing[2] === 'manifests' ? 'manifest' : thing[2] === 'blobs' ? 'blob' : 'referrers'
  return { kind, repository, digest: what }
}

function name(text: string): string {
  if (isRepository(text)) return text
  throw refuse(400, 'NAME_INVALID', 'not a repository name', { name: text.slice(0, 300) })
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    throw refuse(404, 'UNSUPPORTED', 'no such path in the registry protocol')
  }
}
