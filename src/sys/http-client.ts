import { builtin } from './builtin.ts'

export interface TlsSettings {
  /** PEM; replaces the default roots when given. */
  readonly ca?: readonly string[]
  readonly cert?: string
  readonly key?: string
  readonly rejectUnauthorized?: boolean
}

export interface HttpRequest {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array | ReadableStream<Uint8Array>
  readonly signal?: AbortSignal
  readonly tls?: TlsSettings
  /** URL of a proxy; without it the connection is direct, whatever the environment says. */
  readonly proxy?: string
  /** Path of a unix socket to connect to instead of the URL's host. */
  readonly unix?: string
}

const PROXY_VARIABLES = ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy'] as const

/**
 * One HTTP exchange: no redirect is followed, no body is decompressed, no time limit is set, no proxy is taken from the
 * environment. Rejects with what the runtime throws (`code`: ECONNREFUSED, ECONNRESET, ENOTFOUND, EPROTO …).
 */
export function httpFetch(request: HttpRequest): Promise<Response> {
  const { url, ...rest } = request
  const options = { ...rest, decompress: false, redirect: 'manual', timeout: false } as unknown as RequestInit
  const hidden = PROXY_VARIABLES.filter(name => process.env[name] !== undefined)
  if (hidden.length === 0) return fetch(url, options)
  // The runtime reads these when fetch is called, and no option turns them off; child processes still need them.
  const values = hidden.map(name => process.env[name]!)
  for (const name of hidden) delete process.env[name]
  try {
    return fetch(url, options)
  } finally {
    for (const [i, name] of hidden.entries()) process.env[name] = values[i]
  }
}

let roots: readonly string[] | undefined

/** The runtime's own roots and those of the operating system; the latter cost some 20 ms to read, once. */
export function allRoots(): readonly string[] {
  if (roots === undefined) {
    let system: readonly string[] = []
    try {
      system = builtin.tls.getCACertificates('system')
    } catch {
      // No certificates of the system: the built-in ones remain.
    }
    roots = [...new Set([...builtin.tls.rootCertificates, ...system])]
  }
  return roots
}
