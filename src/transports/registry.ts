import type { Reference } from '../oci/reference.ts'
import { openRegistry, type Registry, type RegistryOptions } from '../registry/registry.ts'
import type { Transport } from './transport.ts'

/** A registry's repository as a transport. */
export type RegistryTransport = Transport &
  Required<Pick<Transport, 'tags' | 'deleteManifest' | 'deleteTag' | 'referrers'>>

/** `registry` is shared by all transports of a run, so that connections, tokens and known blobs are. */
export function registryTransport(registry: Registry, reference: Reference | string): RegistryTransport {
  return registry.repository(reference)
}

export { openRegistry, type Registry, type RegistryOptions }
