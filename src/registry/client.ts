import { setTimeout as sleep } from 'node:timers/promises'
import { ArchimageError, cancelled, isArchimageError } from '../errors/error.ts'
import { redact } from '../errors/redact.ts'
import type { Answer } from './answer.ts'
import { Authenticator, type Scope } from './auth.ts'
import type { TlsOptions } from './certs.ts'
import { parseChallenges } from './challenge.ts'
import type { Environment } from './config.ts'
import type { Credentials } from './credentials.ts'
import { exchange, type RequestBody, type Silence, Unreached } from './exchange.ts'
import {
  badAnswer,
  type Doing,
  isCertificateProblem,
  networkCode,
  parseProblems,
  refusal,
  unreachable,
} from './failures.ts'
import { Host } from './host.ts'
import { isLinkLocal, isLoopback, proxyFor } from './proxy.ts'
import { type Trace, traceLine } from './trace.ts'

export interface RegistryRequest {
  readonly host: Host
  readonly method: string
  /** A path on the host (`/v2/…`), or an absolute URL that the registry named. */
  readonly url: string | URL
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: () => Promise<RequestBody> | RequestBody
  readonly scopes: readonly Scope[]
  readonly doing: Doing
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((bytes: number) => void) | undefined
  /** For token servers: neither credentials nor challenges. */
  readonly plain?: boolean
  /** Attempts when the answer or the network is bad; 1 where the caller has a better way to try again. */
  readonly attempts?: number
}

/** Times in milliseconds. */
export interface Tuning extends Silence {
  readonly attempts: number
  /** First pause before trying again; doubled each time. */
  readonly backoff: number
  /** Longest pause, whatever Retry-After says. */
  readonly longestWait: number
}

export const TUNING: Tuning = {
  attempts: 6,
  backoff: 250,
  longestWait: 60_000,
  idle: 60_000,
  connect: 30_000,
  finish: 600_000,
}

export interface ClientOptions {
  readonly credentials: Credentials
  readonly insecure: (registry: string) => boolean
  readonly tls: (registry: string) => TlsOptions
  readonly env: Environment
  readonly offline: boolean
  readonly signal: AbortSignal | undefined
  readonly warn: (message: string) => void
  readonly trace?: Trace | undefined
  readonly tuning: Tuning
}

const RETRY = new Set([408, 429, 499, 500, 502, 503, 504, 522])
/** With these the host is in trouble, not the request: all wait. */
const SHARED = new Set([429, 502, 503])
const MAX_ERROR_BODY = 64 * 1024
const MAX_REDIRECTS = 10
/** Tokens that one request tries. */
const TOKENS = 6

/** HTTP to registries: scheme, TLS, proxies, credentials, redirects, retries. One for a whole run. */
export class Client {
  readonly tuning: Tuning
  readonly #options: ClientOptions
  readonly #auth: Authenticator
  readonly #hosts = new Map<string, Host>()
  readonly #warned = new Set<string>()

  constructor(options: ClientOptions) {
    this.#options = options
    this.tuning = options.tuning
    this.#auth = new Authenticator({
      credentials: options.credentials,
      insecure: options.insecure,
      send: ({ body, ...rest }) =>
        this.request({
          ...rest,
          ...(body === undefined ? {} : { body: () => body }),
          host: this.host(rest.url.host),
          scopes: [],
          plain: true,
        }),
    })
  }

  host(registry: string, insecure = false): Host {
    let host = this.#hosts.get(registry)
    if (host === undefined) {
      if (!URL.canParse(`https://${registry}/`))
        throw new ArchimageError('REFERENCE_INVALID', `"${registry}" is not a registry`, {
          hint: 'check its name and port',
        })
      host = new Host(registry, {
        insecure: insecure || this.#options.insecure(registry),
        env: this.#options.env,
        tls: this.#options.tls(registry),
      })
      this.#hosts.set(registry, host)
    }
    return host
  }

  /** The answer, whatever its status; bad ones only after the attempts are used up. Throws REGISTRY_UNREACHABLE and kin. */
  async request(request: RegistryRequest): Promise<Answer> {
    const { host, doing } = request
    const signal = this.#signal(request.signal)
    if (this.#options.offline)
      throw new ArchimageError('OFFLINE', `registry ${doing.registry}: ${doing.what}: the network is forbidden`, {
        hint: 'run without --offline once, so that the store has what is needed',
        details: { registry: doing.registry, repository: doing.repository },
      })
    const most = request.attempts ?? this.tuning.attempts
    for (let attempt = 1; ; attempt++) {
      try {
        await host.ready(signal)
        const answer = await this.#authorized(request, signal)
        answer.attempts = attempt
        if (!request.plain && attempt < most && (await this.#wrongScheme(request, answer, signal))) continue
        host.answered = true
        if (!RETRY.has(answer.status) || attempt >= most) return answer
        const wait = this.#retryAfter(answer) ?? this.#backoff(attempt)
        await answer.drain()
        await this.#pause(host, wait, SHARED.has(answer.status), signal)
      } catch (error) {
        if (signal?.aborted) throw cancelled(signal.reason)
        if (isArchimageError(error)) throw error
        if (!(error instanceof Unreached)) throw error
        const { cause, authority, protocol } = error
        const own = authority === host.authority
        if (own && attempt < most) {
          if (!request.plain && host.isStale(protocol)) continue
          if (host.switchScheme(cause) || host.addSystemRoots(cause)) continue
        }
        const far = own ? host : this.host(authority)
        const worthwhile = this.#worthwhile(host, cause, attempt)
        if (worthwhile) far.failed(attempt, this.#patience)
        if (attempt >= most || !worthwhile || far.lost) throw unreachable(doing, authority, cause, attempt)
        await this.#pause(host, this.#backoff(attempt), true, signal)
      }
    }
  }

  /** The error for an answer that the caller cannot use. Reads its body. */
  async refusal(request: Pick<RegistryRequest, 'doing' | 'host'>, answer: Answer): Promise<ArchimageError> {
    let body: Uint8Array | undefined
    try {
      body = await answer.bytes(MAX_ERROR_BODY)
    } catch {
      // The status alone has to do.
    }
    const problems = parseProblems(body ?? new Uint8Array(), answer.headers.get('content-type') ?? '')
    const source = this.#auth.source(request.host)
    return refusal(request.doing, answer.status, problems, {
      anonymous: answer.anonymous,
      attempts: answer.attempts,
      ...(source === undefined ? {} : { credentialSource: source }),
    })
  }

  #signal(own: AbortSignal | undefined): AbortSignal | undefined {
    const run = this.#options.signal
    return own === undefined || run === undefined || own === run ? (own ?? run) : AbortSignal.any([own, run])
  }

  /** True when the request is to be sent again: the other scheme is the right one. */
  async #wrongScheme(request: RegistryRequest, answer: Answer, signal: AbortSignal | undefined): Promise<boolean> {
    const { host } = request
    const { protocol, host: from } = answer.url
    if (host.settled && !host.isStale(protocol)) return false
    if (answer.status === 400 && from === new URL(`${protocol}//${host.authority}`).host) {
      // An answer to HEAD has no text that could say why.
      const telling = request.method === 'HEAD' && !host.isStale(protocol) ? await this.#base(request, signal) : answer
      const text = Buffer.from((await telling.bytes(MAX_ERROR_BODY)) ?? []).toString('latin1')
      if (host.isStale(protocol)) return true
      // Go, nginx and Apache say this when they are spoken to in the clear on a TLS port.
      if (/HTTP request (was sent )?to (an )?HTTPS|plain HTTP to an SSL/i.test(text) && host.switchScheme()) return true
    }
    host.settle()
    return false
  }

  #worthwhile(host: Host, error: unknown, attempt: number): boolean {
    const code = networkCode(error)
    if (isCertificateProblem(error) || code === 'EPROTO' || code.startsWith('ERR_')) return false
    if (code === 'ECONNREFUSED' || code === 'ConnectionRefused' || code === 'ENOTFOUND') return host.answered
    if (code === 'ETIMEDOUT' || code === 'EHOSTUNREACH' || code === 'ENETUNREACH') return host.answered || attempt < 2
    return code !== ''
  }

  /** What all pauses of one request come to at least. */
  get #patience(): number {
    return 0.7 * this.tuning.backoff * (2 ** (this.tuning.attempts - 1) - 1)
  }

  #backoff(attempt: number): number {
    return Math.min(this.tuning.backoff * 2 ** (attempt - 1), 20_000) * (0.75 + Math.random() * 0.5)
  }

  /** Seconds or an HTTP date (RFC 9110 §10.2.3). */
  #retryAfter(answer: Answer): number | undefined {
    const text = answer.headers.get('retry-after')
    if (text === null) return undefined
    const wait = /^\s*\d+\s*$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now()
    return Number.isNaN(wait) ? undefined : Math.min(Math.max(wait, 0), this.tuning.longestWait)
  }

  async #pause(host: Host, wait: number, shared: boolean, signal: AbortSignal | undefined): Promise<void> {
    if (wait >= 5000) this.#warn(`registry ${host.registry} asks for a pause of ${Math.round(wait / 1000)} s`)
    if (shared) host.hold(wait)
    else await sleep(wait, undefined, signal ? { signal } : {})
  }

  #warn(message: string): void {
    if (this.#warned.has(message)) return
    this.#warned.add(message)
    this.#options.warn(message)
  }

  async #authorized(request: RegistryRequest, signal: AbortSignal | undefined): Promise<Answer> {
    const { host } = request
    const who = { host, scopes: request.scopes, doing: request.doing, ...(signal === undefined ? {} : { signal }) }
    let header = request.plain ? undefined : await this.#auth.header(who)
    for (let round = 0; ; round++) {
      const answer = await this.#follow(request, header, signal)
      answer.anonymous = header === undefined
      if (request.plain || answer.status !== 401 || answer.url.origin !== host.origin) return answer
      let challenges = parseChallenges(answer.headers.get('www-authenticate') ?? '')
      // A token may end between its coming and its use, many times where many requests share it.
      const ended = challenges.some(({ parameters }) => parameters['error'] === 'invalid_token')
      if (round === (ended ? TOKENS : 2)) return answer
      // gcr.io leaves the challenge out on paths of repositories.
      if (challenges.length === 0 && header === undefined) challenges = await this.#ping(request, signal)
      const next = await this.#auth.respond(who, challenges, answer.url, header)
      if (next === undefined || next === header) return answer
      await answer.drain()
      header = next
    }
  }

  async #ping(request: RegistryRequest, signal: AbortSignal | undefined) {
    const answer = await this.#base(request, signal)
    await answer.drain()
    return parseChallenges(answer.headers.get('www-authenticate') ?? '')
  }

  /** What the registry says to anybody: GET /v2/ (distribution-spec, "Determining Support"). */
  #base(request: RegistryRequest, signal: AbortSignal | undefined): Promise<Answer> {
    const { body: _body, progress: _progress, ...rest } = request
    return this.#follow({ ...rest, method: 'GET', url: '/v2/', headers: {} }, undefined, signal)
  }

  /** Follows redirects. Credentials only ever go to the registry's own origin. */
  async #follow(
    request: RegistryRequest,
    header: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Answer> {
    const { host, method, doing } = request
    const reading = method === 'GET' || method === 'HEAD'
    let url = typeof request.url === 'string' ? new URL(host.url(request.url)) : request.url
    const start = url.origin
    for (let hop = 0; ; hop++) {
      const { authorization, ...others } = request.headers ?? {}
      const given = authorization !== undefined && url.origin === start ? { authorization } : {}
      const own = header !== undefined && url.origin === host.origin ? { authorization: header } : given
      const answer = await this.#send(request, url, { ...others, ...own }, signal)
      const { status } = answer
      const moved =
        status === 307 || status === 308 || (reading && (status === 301 || status === 302 || status === 303))
      const location = answer.headers.get('location')
      if (!moved || location === null) return answer
      if (hop === MAX_REDIRECTS) throw badAnswer(doing, `more than ${MAX_REDIRECTS} redirects`)
      url = this.resolve(location, answer.url, request)
      await answer.drain()
    }
  }

  /** Checks an address that the registry names: never down from HTTPS, never from elsewhere to this machine. */
  resolve(location: string, from: URL, { doing, host }: Pick<RegistryRequest, 'doing' | 'host'>): URL {
    let url: URL
    try {
      url = new URL(location, from)
    } catch {
      throw badAnswer(doing, `it points to "${location.slice(0, 200)}", which is not a URL`)
    }
    if (url.protocol !== 'https:' && url.protocol !== 'http:')
      throw badAnswer(doing, `it points to ${url.protocol}//${url.host}, which is not a web address`)
    if (url.protocol === 'http:' && from.protocol === 'https:')
      throw badAnswer(
        doing,
        `it points from HTTPS down to http://${url.host}`,
        'a proxy before the registry has to pass X-Forwarded-Proto: https on',
      )
    if (!host.loopback && (isLoopback(url.hostname) || isLinkLocal(url.hostname)))
      throw badAnswer(doing, `it points to ${url.host}, which is on this machine or in its cloud`)
    url.username = ''
    url.password = ''
    return url
  }

  async #send(
    request: RegistryRequest,
    url: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal | undefined,
  ): Promise<Answer> {
    const target = url.host === request.host.authority ? request.host : this.host(url.host)
    const body = await request.body?.()
    const { method, progress, doing } = request
    const proxy = proxyFor(url, this.#options.env)
    const { trace } = this.#options
    const begun = trace === undefined ? 0 : performance.now()
    const tell = (outcome: unknown) => trace?.(traceLine(method, url, outcome, performance.now() - begun))
    const sending = { method, url, headers, body, proxy, progress, signal, what: doing.what }
    const answer = await exchange(target, sending, this.tuning).catch(error => {
      tell(error instanceof Unreached ? error.cause : error)
      throw error
    })
    tell(answer.status)
    const warning = /^299 \S+ "((?:[^"\\]|\\.){1,500})"/.exec(answer.headers.get('warning') ?? '')?.[1]
    if (warning !== undefined)
      this.#warn(`registry ${target.registry} says: ${redact(warning.replace(/\p{Cc}/gu, ' '))}`)
    return answer
  }
}
