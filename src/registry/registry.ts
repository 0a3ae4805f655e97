import { parseReference, type Reference } from '../oci/reference.ts'
import type { TlsOptions } from './certs.ts'
import { Client, TUNING, type Tuning } from './client.ts'
import { type Environment, loadRegistryConfig, type RegistryConfig } from './config.ts'
import { type Credential, type Credentials, fileCredentials } from './credentials.ts'
import { Repository } from './repository.ts'
import type { Site } from './site.ts'
import type { Trace } from './trace.ts'

/** What flags say about one registry. */
export interface HostOptions extends TlsOptions {
  /** `--creds`, `--registry-token`: goes to this registry alone, never to its mirrors. Null: no credentials at all. */
  readonly credential?: Credential | null
}

/** TLS options stand for every registry that `hosts` says nothing about. */
export interface RegistryOptions extends TlsOptions {
  readonly config?: RegistryConfig
  /** Where credentials come from; the files of docker and podman. */
  readonly credentials?: Credentials
  /** `--authfile`: a file of docker's or podman's form, in place of theirs. */
  readonly authFile?: string
  /** By the registry's name in references: `docker.io`, `127.0.0.1:5000`. */
  readonly hosts?: Readonly<Record<string, HostOptions>>
  /** `--insecure`: for every host, or for those named; HTTPS without checking certificates, then plain HTTP. */
  readonly insecure?: boolean | readonly string[]
  /** Ends every request of this registry. */
  readonly signal?: AbortSignal
  readonly offline?: boolean
  /** What people should see once: a registry's Warning headers, long pauses. */
  readonly warn?: (message: string) => void
  /** A line for each exchange with a host, without headers and secrets; by default to stderr where `ARCHIMAGE_TRACE` is set. */
  readonly trace?: Trace
  readonly env?: Environment
  readonly tuning?: Partial<Tuning>
}

export interface Registry {
  /** Tag and digest of the reference do not matter here, except for registries.conf. Throws REGISTRY_BLOCKED. */
  repository(reference: Reference | string): Repository
  readonly client: Client
}

/** Everything that one run says to registries goes through one of these: it keeps connections, tokens and what is where. */
export function openRegistry(options: RegistryOptions = {}): Registry {
  const env = options.env ?? process.env
  const config = options.config ?? loadRegistryConfig(env)
  const own = (registry: string): HostOptions | undefined =>
    options.hosts !== undefined && Object.hasOwn(options.hosts, registry) ? options.hosts[registry] : undefined
  const insecure = (registry: string): boolean =>
    options.insecure === true ||
    (Array.isArray(options.insecure) && options.insecure.includes(registry)) ||
    config.insecure(registry)
  const kept = options.credentials ?? fileCredentials(env, options.authFile)
  const client = new Client({
    credentials: {
      async find(registry, repository, signal) {
        const given = own(registry)?.credential
        return given === undefined ? kept.find(registry, repository, signal) : (given ?? undefined)
      },
    },
    insecure,
    tls: registry => ({ ...options, ...own(registry) }),
    env,
    offline: options.offline ?? false,
    signal: options.signal,
    warn: options.warn ?? (() => {}),
    trace: options.trace ?? (env['ARCHIMAGE_TRACE'] ? line => void process.stderr.write(`${line}\n`) : undefined),
    tuning: { ...TUNING, ...options.tuning },
  })
  const repositories = new Map<string, Repository>()
  return {
    client,
    repository(reference) {
      const wanted = typeof reference === 'string' ? parseReference(reference) : reference
      const { upstream, byTag, byDigest } = config.resolve(wanted)
      const site = (endpoint: typeof upstream, mirror: boolean): Site => ({
        client,
        host: client.host(endpoint.registry, endpoint.insecure),
        repository: endpoint.repository,
        mirror,
      })
      const key = JSON.stringify([upstream, byTag, byDigest])
      let repository = repositories.get(key)
      if (repository === undefined) {
        repository = new Repository({
          upstream: site(upstream, false),
          byTag: byTag.map(endpoint => site(endpoint, true)),
          byDigest: byDigest.map(endpoint => site(endpoint, true)),
        })
        repositories.set(key, repository)
      }
      return repository
    },
  }
}
