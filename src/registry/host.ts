import { setTimeout as sleep } from 'node:timers/promises'
import type { ArchimageError } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import { allRoots, type TlsSettings } from '../sys/http-client.ts'
import { findCertificates, type TlsOptions } from './certs.ts'
import type { Environment } from './config.ts'
import { isCertificateProblem, networkCode } from './failures.ts'
import { isLoopback } from './proxy.ts'

/** How a host wants to be asked, as it said in a 401. */
export type HostChallenge =
  | { readonly kind: 'basic' }
  | { readonly kind: 'bearer'; readonly realm: URL; readonly service: string | undefined }

/** At most `limit` holders at a time; others wait in order. */
export class Gate {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(limit: number) {
    this.#free = limit
  }

  async enter(): Promise<void> {
    if (this.#free > 0) this.#free--
    else await new Promise<void>(resolve => this.#waiting.push(resolve))
  }

  leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free++
    else next()
  }
}

/** What is known of one host during a run: how to reach it, what it asked for, how long it wants to be left alone. */
export class Host {
  /** As it stands in references: `docker.io`. */
  readonly registry: string
  /** As it stands in URLs: `registry-1.docker.io`. */
  readonly authority: string
  readonly loopback: boolean
  readonly insecure: boolean
  /** Uploads have a gate of their own: the body of one may come from a download from the same host. */
  readonly requests = new Gate(16)
  readonly uploads = new Gate(8)
  /** Repositories of this host that hold a blob, as this run has seen. */
  readonly holders = new Map<Digest, Set<string>>()
  /** Blobs on their way, by digest and by `repository digest`; lists of referrers being written, by `repository:tag`. */
  readonly bringing = new Map<string, Promise<unknown>>()
  challenge: HostChallenge | undefined
  /** Uploads in one PUT were refused: `patch` sends one PATCH, `pieces` several small ones. */
  upload: 'put' | 'patch' | 'pieces' = 'put'
  /** Size of the parts in bytes: some proxies take 8 MiB at a time, nginx 1 MiB unless it is told otherwise. */
  piece = 8 * 1024 * 1024
  /** Uploads that broke off can go on there, as far as is known. */
  resumes = true
  /** Where referrers are listed, once it is known: by the registry, or by us in a tag. */
  referrers: 'api' | 'tag' | undefined
  /** It answered at least once in this run. */
  answered = false
  /** For mirrors: why it is not to be tried again in this run. */
  dead: ArchimageError | undefined
  /** Given up by one request: others try once, without waiting, until it answers again. */
  lost = false
  #scheme: 'http' | 'https'
  readonly #alternative: 'http' | 'https' | undefined
  #settled = false
  #switched = false
  #notBefore = 0
  #failingSince: number | undefined
  #tls: TlsSettings | undefined | null = null
  readonly #env: Environment
  readonly #flags: TlsOptions

  constructor(
    registry: string,
    options: { readonly insecure: boolean; readonly env: Environment; readonly tls?: TlsOptions },
  ) {
    const { env, tls = {} } = options
    this.registry = registry
    this.authority = registry === 'docker.io' ? 'registry-1.docker.io' : registry
    this.insecure = tls.tlsVerify === undefined ? options.insecure : !tls.tlsVerify
    this.#env = env
    this.#flags = tls
    const hostname = new URL(`http://${this.authority}`).hostname
    this.loopback = isLoopback(hostname)
    // Who names certificates, or insists on them, means TLS.
    const named = tls.certDir !== undefined || tls.caFile !== undefined || tls.certFile !== undefined
    const encrypted = tls.tlsVerify === true || (named && !this.insecure)
    this.#scheme = this.loopback && !encrypted ? 'http' : 'https'
    this.#alternative = encrypted ? undefined : this.loopback ? 'https' : this.insecure ? 'http' : undefined
  }

  get origin(): string {
    return new URL(this.url('/')).origin
  }

  url(path: string): string {
    return `${this.#scheme}://${this.authority}${path}`
  }

  get settled(): boolean {
    return this.#settled || this.#alternative === undefined
  }

  settle(): void {
    this.#settled = true
  }

  /** An answer came. */
  found(): void {
    this.lost = false
    this.#failingSince = undefined
  }

  /**
   * The network failed for the `attempt`th time of a request. The host is lost when nobody had an answer from it for
   * `patience` milliseconds since a first failure.
   */
  failed(attempt: number, patience: number): void {
    const now = performance.now()
    this.#failingSince ??= now
    if (attempt > 1 && now - this.#failingSince >= patience) this.lost = true
  }

  /** Whether `protocol` is no longer the one to use: another request has found out meanwhile. */
  isStale(protocol: string): boolean {
    return this.#alternative !== undefined && protocol !== `${this.#scheme}:`
  }

  /** After an answer or an error that smells of the wrong scheme: true when the other one is to be tried. */
  switchScheme(error?: unknown): boolean {
    if (this.settled || this.#alternative === undefined) return false
    const code = networkCode(error)
    const closed = ['ECONNRESET', 'EPROTO', 'ConnectionClosed', 'EPIPE'].includes(code)
    const otherPort = /:\d+$/.test(this.authority) ? [] : ['ECONNREFUSED', 'ConnectionRefused', 'ETIMEDOUT']
    if (error !== undefined && !closed && !(this.insecure && otherPort.includes(code))) return false
    // Back from a try with TLS that met none: connections were cut in the clear for another reason.
    if (this.#switched && this.#scheme === 'https' && code === 'EPROTO') this.#settled = true
    this.#scheme = this.#scheme === 'http' ? 'https' : 'http'
    this.#switched = true
    return true
  }

  get tls(): TlsSettings | undefined {
    if (this.#tls === null) this.#tls = this.#readTls()
    return this.#tls
  }

  #readTls(): TlsSettings | undefined {
    const found = findCertificates(this.registry, this.#env, this.#flags)
    const ca = found !== undefined && found.ca.length > 0 ? { ca: [...allRoots(), ...found.ca] } : {}
    // docker treats loopback as insecure too; a certificate for 127.0.0.1 proves nothing that the kernel does not.
    const trusted = this.loopback && ca.ca === undefined && this.#flags.tlsVerify !== true
    const open = this.insecure || trusted ? { rejectUnauthorized: false } : {}
    const pair = found?.cert === undefined ? {} : { cert: found.cert, key: found.key! }
    const all = { ...ca, ...pair, ...open }
    return Object.keys(all).length === 0 ? undefined : all
  }

  /** The runtime only knows its built-in roots; a company's own stand among the system's. True when they are new. */
  addSystemRoots(error: unknown): boolean {
    if (!isCertificateProblem(error) || this.tls?.ca !== undefined || this.tls?.rejectUnauthorized === false)
      return false
    this.#tls = { ...this.tls, ca: allRoots() }
    return true
  }

  /** Holds every request to this host back for a while. */
  hold(milliseconds: number): void {
    this.#notBefore = Math.max(this.#notBefore, performance.now() + milliseconds)
  }

  async ready(signal?: AbortSignal): Promise<void> {
    const spread = Math.random() * Math.min((this.#notBefore - performance.now()) * 0.2, 1000)
    for (;;) {
      const wait = this.#notBefore - performance.now()
      if (wait <= 0 || this.lost) return
      await sleep(Math.min(wait + spread, 250), undefined, signal ? { signal } : {})
    }
  }

  holds(digest: Digest, repository: string): boolean {
    return this.holders.get(digest)?.has(repository) === true
  }

  remember(digest: Digest, repository: string): void {
    const set = this.holders.get(digest)
    if (set === undefined) this.holders.set(digest, new Set([repository]))
    else set.add(repository)
  }

  /** After the registry said that it lacks something there. */
  forget(repository: string): void {
    for (const set of this.holders.values()) set.delete(repository)
  }
}
