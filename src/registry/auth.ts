import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { secret } from '../errors/redact.ts'
import { isRecord } from '../oci/json.ts'
import type { Answer } from './answer.ts'
import type { Challenge } from './challenge.ts'
import type { Credential, Credentials } from './credentials.ts'
import { badAnswer, type Doing, parseProblems, refusal } from './failures.ts'
import type { Host } from './host.ts'
import { isLinkLocal, isLoopback } from './proxy.ts'

/** `repository:NAME:pull` and the like (distribution's token scope). */
export type Scope = string

export interface AuthRequest {
  readonly host: Host
  readonly scopes: readonly Scope[]
  readonly doing: Doing
  readonly signal?: AbortSignal
}

/** Sends a request without credentials of the registry: the way to token servers. */
export type PlainSend = (request: {
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  readonly doing: Doing
  readonly signal?: AbortSignal
}) => Promise<Answer>

interface Token {
  readonly header: string
  /** By our clock; servers' clocks differ. */
  readonly expires: number
}

const CLIENT = 'archimage'
const MAX_TOKEN_ANSWER = 1024 * 1024

/** Turns challenges into Authorization headers. Tokens are kept per repository and scope, and fetched once at a time. */
export class Authenticator {
  readonly #credentials: Credentials
  readonly #send: PlainSend
  /** Whether a host that is not the registry's may be talked to in the clear. */
  readonly #insecure: (authority: string) => boolean
  readonly #tokens = new Map<string, Promise<Token>>()
  readonly #sources = new Map<string, string>()

  constructor(options: { credentials: Credentials; send: PlainSend; insecure: (authority: string) => boolean }) {
    this.#credentials = options.credentials
    this.#send = options.send
    this.#insecure = options.insecure
  }

  /** Where the credentials came from that were last used for a host, for messages. */
  source(host: Host): string | undefined {
    return this.#sources.get(host.authority)
  }

  /** The header to send from the start: undefined as long as the host never asked. */
  async header(request: AuthRequest): Promise<string | undefined> {
    const { challenge } = request.host
    if (challenge === undefined) return undefined
    if (challenge.kind === 'basic') return this.#basic(request)
    return this.#token(request, request.scopes)
  }

  /** The header for another try after a 401; undefined when there is nothing better than `used`. */
  async respond(
    request: AuthRequest,
    challenges: readonly Challenge[],
    from: URL,
    used: string | undefined,
  ): Promise<string | undefined> {
    const { host } = request
    const bearer = challenges.find(c => c.scheme === 'bearer' && c.parameters['realm'] !== undefined)
    if (bearer !== undefined) {
      const { realm = '', service, scope, error } = bearer.parameters
      host.challenge = { kind: 'bearer', realm: this.#realm(request, realm, from), service }
      // Our own scopes come first: what some servers name in a challenge is a placeholder, others read only the first.
      const more = used !== undefined && error === 'insufficient_scope' && scope ? scope.split(' ') : []
      return this.#token(request, [...new Set([...request.scopes, ...more])], used)
    }
    if (!challenges.some(c => c.scheme === 'basic')) return undefined
    host.challenge = { kind: 'basic' }
    const header = await this.#basic(request)
    return header === used ? undefined : header
  }

  async #find(request: AuthRequest): Promise<Credential | undefined> {
    const { registry, repository } = request.doing
    const found = await this.#credentials.find(registry, repository, request.signal)
    if (found !== undefined) this.#sources.set(request.host.authority, found.source)
    return found
  }

  async #basic(request: AuthRequest): Promise<string | undefined> {
    const credential = await this.#find(request)
    if (credential?.registryToken !== undefined) return `Bearer ${credential.registryToken}`
    return credential?.username === undefined ? undefined : basic(credential.username, credential.password ?? '')
  }

  /** A realm may be relative (RFC 9110: a URI reference). It gets the user's password: the checks are strict. */
  #realm(request: AuthRequest, realm: string, from: URL): URL {
    const { host, doing } = request
    const no = (why: string): never => {
      throw badAnswer(doing, `its token server ${realm.slice(0, 200)} ${why}`, 'nothing was sent there')
    }
    let url: URL
    try {
      url = new URL(realm, from)
    } catch {
      return no('is not a URL')
    }
    if (url.protocol !== 'https:' && url.protocol !== 'http:') return no('is not a web address')
    if (!host.loopback && (isLoopback(url.hostname) || isLinkLocal(url.hostname)))
      return no('would be on this machine or in its cloud')
    if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
      if (from.protocol === 'https:') return no('speaks plain HTTP although the registry speaks HTTPS')
      if (url.hostname !== from.hostname && !this.#insecure(url.host)) return no('speaks plain HTTP on another host')
    }
    url.username = ''
    url.password = ''
    return url
  }

  #key(request: AuthRequest, scopes: readonly Scope[]): string {
    return [request.host.authority, request.doing.repository ?? '', ...scopes].join(' ')
  }

  /** `stale` is a header that was just refused: not to be had from here again. */
  async #token(request: AuthRequest, scopes: readonly Scope[], stale?: string): Promise<string | undefined> {
    const wider = scopes.map(scope => scope.replace(/:pull$/, ':pull,push'))
    for (const wanted of [scopes, wider]) {
      const key = this.#key(request, wanted)
      const promise = this.#tokens.get(key)
      const known = await promise?.catch(() => undefined)
      if (known === undefined) continue
      if (known.expires > performance.now() && known.header !== stale) return known.header
      // Somebody else may have put a new one there while we waited.
      if (this.#tokens.get(key) === promise) this.#tokens.delete(key)
    }
    const key = this.#key(request, scopes)
    const shared = this.#tokens.get(key)
    if (shared !== undefined) return (await shared).header
    const fetched = this.#fetch(request, scopes)
    this.#tokens.set(key, fetched)
    fetched.catch(() => this.#tokens.get(key) === fetched && this.#tokens.delete(key))
    return (await fetched).header
  }

  async #fetch(request: AuthRequest, scopes: readonly Scope[]): Promise<Token> {
    const challenge = request.host.challenge
    if (challenge?.kind !== 'bearer') throw new TypeError('no bearer challenge to answer')
    const credential = await this.#find(request)
    if (credential?.registryToken !== undefined)
      return { header: `Bearer ${credential.registryToken}`, expires: Number.POSITIVE_INFINITY }
    const { realm, service } = challenge
    const doing = { ...request.doing, what: `${request.doing.what}: asking ${realm.host} for a token` }
    const send = (method: string, url: URL, headers: Record<string, string>, body?: string) =>
      this.#send({
        method,
        url,
        headers: { accept: 'application/json', ...headers },
        doing,
        ...(body === undefined ? {} : { body: Buffer.from(body) }),
        ...(request.signal === undefined ? {} : { signal: request.signal }),
      })
    let answer: Answer | undefined
    if (credential?.identityToken !== undefined) {
      const form = new URLSearchParams({
        grant_type: 'refresh_token',
        service: service ?? realm.hostname,
        client_id: CLIENT,
        scope: scopes.join(' '),
        refresh_token: credential.identityToken,
      })
      answer = await send('POST', realm, { 'content-type': 'application/x-www-form-urlencoded' }, form.toString())
      // Servers without POST: 404, 405 by the letter, Artifactory 401, ACR 400 (containerd lists them).
      if (answer.status !== 200) {
        await answer.drain()
        answer = undefined
      }
    }
    if (answer === undefined) {
      const url = new URL(realm)
      if (service !== undefined) url.searchParams.set('service', service)
      for (const scope of scopes) url.searchParams.append('scope', scope)
      const user = credential?.username ?? (credential?.identityToken === undefined ? undefined : '<token>')
      if (user !== undefined) url.searchParams.set('account', user)
      const headers =
        user === undefined
          ? {}
          : { authorization: basic(user, credential?.identityToken ?? credential?.password ?? '') }
      answer = await send('GET', url, headers as Record<string, string>)
    }
    const body = await answer.bytes(answer.status === 200 ? MAX_TOKEN_ANSWER : 64 * 1024)
    if (answer.status !== 200)
      throw refusal(
        doing,
        answer.status,
        parseProblems(body ?? new Uint8Array(), answer.headers.get('content-type') ?? ''),
        {
          anonymous: credential === undefined,
          ...(credential === undefined ? {} : { credentialSource: credential.source }),
        },
      )
    return readToken(body, doing)
  }
}

function readToken(body: Uint8Array | undefined, doing: Doing): Token {
  let json: unknown
  try {
    json = JSON.parse(Buffer.from(body ?? []).toString('utf8'))
  } catch (error) {
    if (isArchimageError(error)) throw error
    throw badAnswer(doing, 'its token server answers something that is not JSON')
  }
  const token = isRecord(json) ? json['token'] || json['access_token'] : undefined
  if (!isRecord(json) || typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token))
    throw badAnswer(doing, 'its token server answers without a token')
  secret(token)
  // The spec's default is 60 s; shorter ones are not believed. Some seconds are kept for the way.
  const seconds = Math.max(60, Number(json['expires_in']) || 60)
  return { header: `Bearer ${token}`, expires: performance.now() + (seconds - 5) * 1000 }
}

function basic(username: string, password: string): string {
  if (username.includes(':'))
    throw new ArchimageError('CREDENTIALS', `the user name "${username}" holds a colon`, {
      hint: 'Basic authentication has no way to say that; log in again with the right name',
    })
  const encoded = Buffer.from(`${username}:${password}`).toString('base64')
  secret(encoded)
  return `Basic ${encoded}`
}
