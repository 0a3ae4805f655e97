import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { Places } from '../../copy/places.ts'
import type { CopyTools } from '../../copy/request.ts'
import { ArchimageError } from '../../errors/error.ts'
import { type Member, type MemberChoice, readMembers } from '../../manifests/members.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import type { Reference } from '../../oci/reference.ts'
import { openRegistry, type Registry, type RegistryOptions } from '../../registry/registry.ts'
import { NAMES, storeHome } from '../../store/home.ts'
import type { Store } from '../../store/store.ts'
import { formatLocation, type Location, parseLocation } from '../../transports/location.ts'
import { insecureOption, say } from '../command.ts'
import { look } from '../copy/sides.ts'
import type { PlaceTools } from '../places.ts'
import { addCredentialFlags, addTlsFlags, registryOptions } from '../registry-flags.ts'
import type { Options } from '../request.ts'

/** What all commands of `manifest` that speak to registries take. */
export function addRegistryFlags(program: Command): Command {
  return addCredentialFlags(addTlsFlags(program.addOption(insecureOption())))
}

export interface ManifestTools extends PlaceTools {
  readonly places: Places
  readonly copy: CopyTools
  /** The store when there is one, and it is not made. */
  readonly storeIfThere: () => Store | undefined
  close(): Promise<void>
}

/**
 * Registry, store and places, each opened when it is needed. `named`: what the command line names, for its credentials.
 * `keeping`: the store will be needed; else it is opened only where there is one.
 */
export async function manifestTools(
  options: Options,
  named: readonly string[],
  signal: AbortSignal,
  keeping = true,
): Promise<ManifestTools> {
  // Start-up time: a list that goes to the registry at once needs no store.
  const known = keeping || existsSync(join(storeHome(), NAMES.index))
  const load = async (): Promise<() => Store> => {
    const { openStore } = await import('../../store/store.ts')
    return () => {
      store ??= openStore({ warn: say })
      return store
    }
  }
  let store: Store | undefined
  let registry: Registry | undefined
  const settings: RegistryOptions = await registryOptions(options, hostsOf(named))
  const tools = {
    store: known
      ? await load()
      : (): Store => {
          throw new Error('the store was not to be used')
        },
    registry: () => {
      registry ??= openRegistry({ ...settings, warn: say, signal })
      return registry
    },
  }
  const places = new Places({ ...tools, store: async () => (known ? tools.store() : (await load())()), signal })
  return {
    ...tools,
    places,
    storeIfThere: () => (known ? tools.store() : undefined),
    copy: {
      signal,
      emit: event => {
        if (event.type === 'warning') say(`warning: ${event.message}`)
      },
    },
    close: async () => {
      await places.close()
      store?.close()
    },
  }
}

function hostsOf(words: readonly string[]): string[] {
  return words.flatMap(word => {
    try {
      const location = parseLocation(word, look)
      return location.kind === 'registry' ? [location.reference.registry] : []
    } catch {
      return []
    }
  })
}

/**
 * The place that a word means. Without a prefix that is what was built, tagged or loaded here under that name, or is a list,
 * else what the registry has; `docker://` and `store:` decide.
 */
export function locate(word: string, tools: ManifestTools): Location {
  const given = parseLocation(word, look)
  if (given.kind !== 'registry' || /^(?:docker|registry):\/\//.test(word)) return given
  return storeRef(tools.storeIfThere(), given.reference) === undefined ? given : { ...given, kind: 'store' }
}

/** Reads the members that a word means. What is in the repository of `target` is read from there, never from a mirror. */
export async function membersOf(
  word: string,
  choice: MemberChoice,
  tools: ManifestTools,
  target?: Reference,
): Promise<readonly Member[]> {
  const location = locate(word, tools)
  const own =
    location.kind === 'registry' &&
    location.reference.registry === target?.registry &&
    location.reference.repository === target.repository
  const { place, name } = own
    ? { place: await tools.places.open(location, 'write'), name: nameOf(location.reference) }
    : await tools.places.image(location)
  const { signal } = tools.copy
  return readMembers({ place, name, what: what(word, location) }, choice, {
    signal,
    warn: message => say(`warning: ${message}`),
  })
}

/** The descriptor of what a word means: for subjects. Throws NOT_FOUND. */
export async function describeName(word: string, tools: ManifestTools): Promise<Descriptor> {
  const { place, name } = await tools.places.image(locate(word, tools))
  const found = await place.transport.head(name, { signal: tools.copy.signal })
  if (found === undefined) throw new ArchimageError('NOT_FOUND', `no such manifest: ${word}`)
  const { mediaType, digest, size } = found
  return { mediaType, digest, size }
}

function what(word: string, location: Location): string {
  return 'reference' in location && location.kind === 'registry' ? formatLocation(location) : word
}

function nameOf({ tag, digest }: Reference): string {
  return digest ?? tag ?? 'latest'
}

/** What the store has under a name that counts as an image of one's own. */
function storeRef(store: Store | undefined, { registry, repository, tag, digest }: Reference) {
  const all = store?.refs().filter(({ origin }) => origin !== 'pulled') ?? []
  const prefix = `${registry}/${repository}:`
  if (digest === undefined) return all.find(({ name }) => name === prefix + (tag ?? 'latest'))
  return all.find(({ name, descriptor }) => name.startsWith(prefix) && descriptor.digest === digest)
}

/** Throws USAGE unless there are as many arguments as the command wants. */
export function needsArguments(
  name: string,
  args: readonly string[],
  least: number,
  most: number,
  usage: string,
): void {
  if (args.length >= least && args.length <= most) return
  throw new ArchimageError('USAGE', `archimage ${name} needs ${usage}`, {
    hint: `archimage ${name} --help tells more`,
  })
}
