import { statSync } from 'node:fs'
import { openRegistry, type Registry, type RegistryOptions } from '../registry/registry.ts'
import { openStore, type Store } from '../store/store.ts'
import { Places } from '../transports/copy-places.ts'
import type { Look } from '../transports/location.ts'
import { registryOptions, type Side } from './registry-flags.ts'

type Options = Readonly<Record<string, unknown>>

export const look: Look = path => {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat?.isDirectory() ? 'folder' : stat === undefined ? undefined : 'file'
}

/** Where a copy reads and where it writes. */
export interface Sides {
  readonly source: Places
  readonly target: Places
  close(): Promise<void>
}

/**
 * Both ends with what the flags say of them; one client for both where they say the same, so that it knows what is where. `hosts`:
 * the registries that the command line names, by side.
 */
export async function openSides(
  options: Options,
  hosts: Readonly<Record<Side, readonly string[]>>,
  more: Pick<RegistryOptions, 'warn' | 'signal'>,
): Promise<Sides> {
  let store: Store | undefined
  const apart = Object.keys(options).some(
    name => /^(?:src|dest)[A-Z]/.test(name) && options[name] !== undefined && !/^destCompress/.test(name),
  )
  const settings = async (side: Side | undefined, registries: readonly string[]): Promise<RegistryOptions> => ({
    ...(await registryOptions(options, registries, side)),
    ...(side !== undefined && options[`${side}Insecure`] === true ? { tlsVerify: false } : {}),
    ...more,
  })
  const places = (of: RegistryOptions): Places => {
    let registry: Registry | undefined
    return new Places({
      ...(more.signal === undefined ? {} : { signal: more.signal }),
      registry: () => {
        registry ??= openRegistry(of)
        return registry
      },
      store: () => {
        store ??= openStore({ ...(more.warn === undefined ? {} : { warn: more.warn }) })
        return store
      },
    })
  }
  const source = places(await settings(apart ? 'src' : undefined, apart ? hosts.src : [...hosts.src, ...hosts.dest]))
  const target = apart ? places(await settings('dest', hosts.dest)) : source
  return {
    source,
    target,
    async close() {
      await source.close()
      await target.close()
      store?.close()
    },
  }
}
