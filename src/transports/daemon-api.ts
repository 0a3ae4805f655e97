import { accessSync, constants, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { ArchimageError, cancelled } from '../errors/error.ts'
import { type HttpRequest, httpFetch, type TlsSettings } from '../sys/http-client.ts'

export type DaemonKind = 'docker' | 'podman'
export type Environment = Readonly<Record<string, string | undefined>>

/** A docker or podman that answers. */
export interface Daemon {
  readonly kind: DaemonKind
  /** "docker at unix:///var/run/docker.sock". */
  readonly name: string
  request(method: string, path: string, body?: HttpRequest['body'], headers?: Record<string, string>): Promise<Response>
}

interface Address {
  readonly kind: DaemonKind
  readonly url: string
  /** The variable that named it: then no other is tried. */
  readonly from?: string
}

const ANSWER_WITHIN = 5000
const REMEDY =
  'start docker or podman (podman system service), or write an archive for it: archimage build -o type=docker,dest=image.tar, archimage copy IMAGE docker-archive:image.tar'

/**
 * The daemon that DOCKER_HOST or CONTAINER_HOST names, else the first that answers: docker's socket, rootless docker's, podman's.
 * Throws DAEMON naming what was tried.
 */
export async function findDaemon(to: DaemonKind | undefined, env: Environment, signal: AbortSignal): Promise<Daemon> {
  const list = addresses(env).filter(({ kind, from }) => to === undefined || kind === to || from === 'DOCKER_HOST')
  const named = list.find(({ from }) => from !== undefined)
  const tried: string[] = []
  for (const address of named === undefined ? list : [named]) {
    const said = await connect(address, env, signal)
    if (typeof said === 'object') return said
    tried.push(`${address.from === undefined ? '' : `${address.from}=`}${address.url}: ${said}`)
  }
  const context = env['DOCKER_CONTEXT']
  if (context !== undefined && context !== '' && context !== 'default')
    tried.push(`the context "${context}" of DOCKER_CONTEXT is not read: give its address in DOCKER_HOST`)
  throw new ArchimageError('DAEMON', `no ${to ?? 'docker or podman'} answers here:\n  ${tried.join('\n  ')}`, {
    hint: REMEDY,
  })
}

function addresses(env: Environment): Address[] {
  const socket = (kind: DaemonKind, path: string): Address => ({ kind, url: `unix://${path}` })
  const runtime = env['XDG_RUNTIME_DIR']
  const home = env['HOME'] ?? homedir()
  const { DOCKER_HOST: docker, CONTAINER_HOST: podman } = env
  return [
    ...(docker ? [{ kind: 'docker', url: docker, from: 'DOCKER_HOST' } as const] : []),
    ...(podman ? [{ kind: 'podman', url: podman, from: 'CONTAINER_HOST' } as const] : []),
    socket('docker', '/var/run/docker.sock'),
    ...(runtime ? [socket('docker', `${runtime}/docker.sock`)] : []),
    socket('docker', `${home}/.docker/run/docker.sock`),
    ...(runtime ? [socket('podman', `${runtime}/podman/podman.sock`)] : []),
    socket('podman', '/run/podman/podman.sock'),
  ]
}

/** The daemon, or why it cannot be used. */
async function connect(address: Address, env: Environment, signal: AbortSignal): Promise<Daemon | string> {
  const endpoint = endpointOf(address.url, env)
  if (typeof endpoint === 'string') return endpoint
  const { unix } = endpoint
  if (unix !== undefined) {
    try {
      accessSync(unix, constants.R_OK | constants.W_OK)
    } catch (error) {
      const { code } = error as { code?: string }
      return code === 'EACCES' ? 'no permission (is this user in the group "docker"?)' : 'there is no such socket'
    }
  }
  const request: Daemon['request'] = (method, path, body, headers = {}) =>
    httpFetch({
      method,
      url: `${endpoint.base}${path}`,
      headers,
      signal,
      ...(body === undefined ? {} : { body }),
      ...(unix === undefined ? {} : { unix }),
      ...(endpoint.tls === undefined ? {} : { tls: endpoint.tls }),
    })
  const timeout = AbortSignal.timeout(ANSWER_WITHIN)
  try {
    const response = await httpFetch({
      method: 'GET',
      url: `${endpoint.base}/version`,
      headers: {},
      signal: AbortSignal.any([signal, timeout]),
      ...(unix === undefined ? {} : { unix }),
      ...(endpoint.tls === undefined ? {} : { tls: endpoint.tls }),
    })
    const text = await response.text()
    if (!response.ok) return `it answers ${response.status}`
    const kind = /podman/i.test(text.slice(0, 100_000)) ? 'podman' : 'docker'
    return { kind, name: `${kind} at ${address.url}`, request }
  } catch (error) {
    if (signal.aborted) throw cancelled(signal.reason)
    const { code, message } = error as { code?: string; message?: string }
    if (timeout.aborted) return `no answer within ${ANSWER_WITHIN / 1000} s`
    return code === 'ECONNREFUSED' || code === 'ENOENT' || code === 'FailedToOpenSocket'
      ? 'nobody listens there'
      : `${message ?? code}`
  }
}

interface Endpoint {
  readonly base: string
  readonly unix?: string
  readonly tls?: TlsSettings
}

/** `unix://PATH`, `tcp://HOST:PORT` (with TLS as docker's client does it), or why another address cannot be used. */
function endpointOf(address: string, env: Environment): Endpoint | string {
  const [scheme, rest] = address.includes('://') ? split(address, '://') : ['unix', address]
  if (scheme === 'unix') return { base: 'http://daemon', unix: rest }
  if (scheme !== 'tcp' && scheme !== 'http' && scheme !== 'https')
    return `addresses with ${scheme}:// are not supported, unix:// and tcp:// are`
  const folder = env['DOCKER_CERT_PATH'] ?? join(env['HOME'] ?? homedir(), '.docker')
  const secure = scheme === 'https' || Boolean(env['DOCKER_TLS_VERIFY']) || Boolean(env['DOCKER_TLS'])
  const base = `${secure ? 'https' : 'http'}://${rest.replace(/\/+$/, '')}`
  if (!URL.canParse(base)) return 'it is not an address'
  if (!secure) return { base }
  try {
    const read = (name: string): string => readFileSync(join(folder, name), 'utf8')
    const verify = Boolean(env['DOCKER_TLS_VERIFY'])
    const tls = { cert: read('cert.pem'), key: read('key.pem'), rejectUnauthorized: verify }
    return { base, tls: verify ? { ...tls, ca: [read('ca.pem')] } : tls }
  } catch (error) {
    return `its certificates cannot be read: ${(error as Error).message}`
  }
}

function split(text: string, at: string): [string, string] {
  const i = text.indexOf(at)
  return [text.slice(0, i), text.slice(i + at.length)]
}
