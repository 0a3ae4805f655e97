import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { answerJson, Refusal, refuse } from './answers.ts'
import { splitUrl } from './route.ts'
import { withoutSilence } from './silence.ts'
import type { Users } from './users.ts'

export interface AccessOptions {
  readonly users: Users
  /** Reading needs no password. */
  readonly anonymousPull?: boolean
  readonly secure: boolean
}

/** Seconds that a token lives. */
const LIFE = 300
const TOKEN = '/token'

/**
 * Lets only users pass, by HTTP's Basic scheme. Where anybody may read, clients are sent for a token first, as Docker Hub does
 * (distribution's token specification): docker and podman learn only from the answer of /v2/ how to prove who they are, and
 * with Basic they would not read without a password.
 */
export function createGate(options: AccessOptions): (request: Request) => Promise<Response | undefined> {
  const key = randomBytes(32)
  return async request => {
    const { path, query } = splitUrl(request.url)
    if (options.anonymousPull && path === TOKEN) return giveToken(request, query, options, key)
    const reading = request.method === 'GET' || request.method === 'HEAD'
    const given = request.headers.get('authorization') ?? ''
    const bearer = /^Bearer +(\S+)$/i.exec(given)?.[1]
    if (bearer !== undefined) {
      const user = options.anonymousPull ? readToken(bearer, key) : undefined
      if (user === undefined || (user === '' && !reading)) throw challenge(request, query, options, bearer !== '')
      return undefined
    }
    if (given !== '') {
      if ((await userOf(given, options.users)) === undefined) throw challenge(request, query, options, false)
      return undefined
    }
    const free = options.anonymousPull && reading && !/^\/v2\/?$/.test(path)
    if (!free) throw challenge(request, query, options, false)
    return undefined
  }
}

/** The user that a Basic header names with the right password. */
async function userOf(header: string, users: Users): Promise<string | undefined> {
  const encoded = /^Basic +([A-Za-z0-9+/=]{1,4096})$/i.exec(header)?.[1]
  if (encoded === undefined) return undefined
  const text = Buffer.from(encoded, 'base64').toString()
  const colon = text.indexOf(':')
  if (colon < 1) return undefined
  return check(text.slice(0, colon), text.slice(colon + 1), users)
}

async function check(user: string, password: string, users: Users): Promise<string | undefined> {
  const verdict = await users.verify(user, password)
  if (verdict === 'busy')
    throw refuse(429, 'TOOMANYREQUESTS', 'too many passwords are being checked', undefined, { 'retry-after': '2' })
  return verdict === 'right' ? user : undefined
}

function challenge(request: Request, query: string, options: AccessOptions, stale: boolean): Refusal {
  const fault = {
    code: 'UNAUTHORIZED',
    message: 'a user and a password are needed: docker login, podman login',
  } as const
  if (!options.anonymousPull) return new Refusal(401, fault, { 'www-authenticate': 'Basic realm="archimage"' })
  const host = request.headers.get('host') ?? 'localhost'
  const scheme = options.secure || request.headers.get('x-forwarded-proto') === 'https' ? 'https' : 'http'
  const realm = `${scheme}://${host.replace(/[^\w.:[\]-]/g, '')}${TOKEN}`
  const scope = scopesOf(request, query)
    .map(text => `,scope="${text}"`)
    .join('')
  const error = stale ? ',error="insufficient_scope"' : ''
  return new Refusal(401, fault, { 'www-authenticate': `Bearer realm="${realm}",service="archimage"${scope}${error}` })
}

/** What the request would need, for clients that ask for just that. Ours gives every user everything. */
function scopesOf(request: Request, query: string): string[] {
  const repository = /^\/v2\/([a-z0-9._/-]+)\/(?:manifests|blobs|tags|referrers)\//.exec(
    splitUrl(request.url).path,
  )?.[1]
  if (repository === undefined) return []
  const reading = request.method === 'GET' || request.method === 'HEAD'
  const actions = reading ? 'pull' : request.method === 'DELETE' ? 'delete' : 'pull,push'
  const from = new URLSearchParams(query).get('from')
  const mounted = from !== null && /^[a-z0-9._/-]+$/.test(from) ? [`repository:${from}:pull`] : []
  return [`repository:${repository}:${actions}`, ...mounted]
}

async function giveToken(request: Request, query: string, options: AccessOptions, key: Buffer): Promise<Response> {
  let user: string | undefined = ''
  const given = request.headers.get('authorization')
  if (request.method === 'POST') {
    const form = await readForm(request)
    if (form.get('grant_type') !== 'password') throw refuse(400, 'UNSUPPORTED', 'only grant_type=password is known')
    user = await check(form.get('username') ?? '', form.get('password') ?? '', options.users)
  } else if (request.method !== 'GET') throw refuse(405, 'UNSUPPORTED', 'tokens are had by GET or POST')
  else if (given !== null) user = await userOf(given, options.users)
  // docker login asks without a scope; a wrong password has to show there.
  if (user === undefined || (user === '' && !new URLSearchParams(query).has('scope')))
    throw new Refusal(401, { code: 'UNAUTHORIZED', message: 'no such user, or another password' })
  const token = writeToken(user, key)
  const body = { token, access_token: token, expires_in: LIFE, issued_at: new Date().toISOString() }
  return answerJson(body, { 'cache-control': 'no-store' })
}

async function readForm(request: Request): Promise<URLSearchParams> {
  let text = ''
  for await (const chunk of request.body ? withoutSilence(request.body, 60_000) : []) {
    text += Buffer.from(chunk).toString('latin1')
    if (text.length > 16_384) throw refuse(413, 'UNSUPPORTED', 'too long')
  }
  return new URLSearchParams(text)
}

/** User ('' for anybody) and end of life, signed; nothing is kept. */
function writeToken(user: string, key: Buffer): string {
  const payload = Buffer.from(JSON.stringify([user, Date.now() + LIFE * 1000])).toString('base64url')
  return `${payload}.${sign(payload, key).toString('base64url')}`
}

function readToken(token: string, key: Buffer): string | undefined {
  const [payload = '', signature = ''] = token.split('.')
  const [said, right] = [Buffer.from(signature, 'base64url'), sign(payload, key)]
  if (said.length !== right.length || !timingSafeEqual(said, right)) return undefined
  const [user, end] = JSON.parse(Buffer.from(payload, 'base64url').toString()) as [string, number]
  return end > Date.now() ? user : undefined
}

function sign(payload: string, key: Buffer): Buffer {
  return createHmac('sha256', key).update(payload).digest()
}
