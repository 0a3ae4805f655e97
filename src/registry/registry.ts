import { parseReference, type Reference } from '../oci/reference.ts'
import { Client, TUNING, type Tuning } from './client.ts'
import { type Environment, loadRegistryConfig, type RegistryConfig } from './config.ts'
import { type Credentials, fileCredentials } from './credentials.ts'
import { Repository } from './repository.ts'
import type { Site } from './site.ts'

export interface RegistryOptions {
  readonly config?: RegistryConfig
  readonly credentials?: Credentials
  /** `--insecure`: for every host, or for those named; HTTPS without checking certificates, then plain HTTP. */
  readonly insecure?: boolean | readonly string[]
  /** Ends every request of this registry. */
  readonly signal?: AbortSignal
  readonly offline?: boolean
  /** What people should see once: a registry's Warning headers, long pauses. */
  readonly warn?: (message: string) => void
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
  const insecure = (registry: string): boolean =>
    options.insecure === true ||
    (Array.isArray(options.insecure) && options.insecure.includes(registry)) ||
    config.insecure(registry)
  const client = new Client({
    credentials: options.credentials ?? fileCredentials(env),
    insecure,
    env,
    offline: options.offline ?? false,
    signal: options.signal,
    warn: options.warn ?? (() => {}),
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
