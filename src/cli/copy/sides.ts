import { statSync } from 'node:fs'
import { Places } from '../../copy/places.ts'
import { openRegistry, type Registry, type RegistryOptions } from '../../registry/registry.ts'
import type { Store } from '../../store/store.ts'
import type { Look } from '../../transports/location.ts'
import { registryOptions, type Side } from '../registry-flags.ts'

type Options = Readonly<Record<string, unknown>>

export const look: Look = path => {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat?.isDirectory() ? 'folder' : stat === undefined ? undefined : 'file'
}

/** Where a copy reads and where it writes. */
export interface Sides {
  readonly source: Places
  readonly target: Places
  /** The client of the source. */
  registry(): Registry
  close(): Promise<void>
}

/**
 * Both ends with what the flags say of them; one client for both where they say the same, so that it knows what is where. `hosts`:
 * the registries that the command line names, by side.
 */
export async function openSides(
  options: Options,
  hosts: Readonly<Record<Side, readonly string[]>>,
  more: Pick<RegistryOptions, 'warn' | 'signal' | 'hosts' | 'credentials'>,
): Promise<Sides> {
  let store: Promise<Store> | undefined
  const openStore = async (): Promise<Store> => {
    const { openStore } = await import('../../store/store.ts')
    return openStore(more.warn === undefined ? {} : { warn: more.warn })
  }
  const apart = Object.keys(options).some(
    name => /^(?:src|dest)[A-Z]/.test(name) && options[name] !== undefined && !/^destCompress/.test(name),
  )
  const settings = async (side: Side | undefined, registries: readonly string[]): Promise<RegistryOptions> => {
    const flags = await registryOptions(options, registries, side)
    const named = Object.keys({ ...more.hosts, ...flags.hosts })
    return {
      ...flags,
      ...(side !== undefined && options[`${side}Insecure`] === true ? { tlsVerify: false } : {}),
      ...more,
      hosts: Object.fromEntries(named.map(name => [name, { ...more.hosts?.[name], ...flags.hosts?.[name] }])),
    }
  }
  const open = (of: RegistryOptions): (() => Registry) => {
    let registry: Registry | undefined
    return () => {
      registry ??= openRegistry(of)
      return registry
    }
  }
  const places = (registry: () => Registry): Places =>
    new Places({
      ...(more.signal === undefined ? {} : { signal: more.signal }),
      registry,
      store: () => {
        store ??= openStore()
        return store
      },
    })
  const registry = open(await settings(apart ? 'src' : undefined, apart ? hosts.src : [...hosts.src, ...hosts.dest]))
  const source = places(registry)
  const target = apart ? places(open(await settings('dest', hosts.dest))) : source
  return {
    source,
    target,
    registry,
    async close() {
      await source.close()
      await target.close()
      await store?.then(
        opened => opened.close(),
        () => {},
      )
    },
  }
}
