import type { Option } from 'commander'
import { ArchimageError } from '../errors/error.ts'
import { suggest } from '../errors/suggest.ts'
import { familiarReference, formatReference, parseReference, withDefaultTag } from '../oci/reference.ts'
import type { Registry } from '../registry/registry.ts'
import { openRegistry } from '../registry/registry.ts'
import { openStore, type Store } from '../store/store.ts'
import { formatLocation, type Location, parseLocation } from '../transports/location.ts'
import { type OpenPlace, openLocation, openTransport } from '../transports/open.ts'
import { say } from './command.ts'
import { look } from './copy/sides.ts'
import { registryOptions } from './registry-flags.ts'
import type { Options } from './request.ts'

/** Store and registry, opened when somebody needs them; `close` ends what was opened. */
export interface PlaceTools {
  readonly registry: () => Registry
  readonly store: () => Store
  close(): void
}

/** All that is needed to know where something is; nothing is asked for that. */
export type Stores = Pick<PlaceTools, 'store'>

/** `locate` gives the places that the command line names: credentials in it go to their registries, and to no other. */
export async function placeTools(
  options: Options,
  warn: (message: string) => void,
  locate: (stores: Stores) => readonly Location[],
): Promise<PlaceTools> {
  let opened: Store | undefined
  let registry: Registry | undefined
  const store = (): Store => {
    opened ??= openStore({ warn })
    return opened
  }
  try {
    const hosts = locate({ store }).flatMap(one => (one.kind === 'registry' ? [one.reference.registry] : []))
    const flags = await registryOptions(options, hosts)
    return {
      store,
      registry: () => {
        registry ??= openRegistry({ warn, offline: options['offline'] === true, ...flags })
        return registry
      },
      close: () => opened?.close(),
    }
  } catch (error) {
    opened?.close()
    throw error
  }
}

/** Where a word without a prefix is looked for: the store when it has what was made here under that name, else the registry. */
export type Where = 'anywhere' | 'store' | 'registry'

/** `--local` and `--remote`. */
export function whereOption(options: Options): Where {
  if (options['local'] === true && options['remote'] === true)
    throw new ArchimageError('USAGE', '--local and --remote exclude each other')
  return options['local'] === true ? 'store' : options['remote'] === true ? 'registry' : 'anywhere'
}

/**
 * The place that a word means, for reading. What was built, tagged or loaded here is taken before what a registry has under
 * the same name, as in a Dockerfile; copies that were merely pulled are not. A prefix (`docker://`, `store:`) decides.
 */
export function findLocation(text: string, where: Where, tools: Stores): Location {
  const bare = !/^(?:docker|registry|store):/.test(text) || /^(?:docker|registry):(?!\/\/)/.test(text)
  if (bare && where !== 'registry' && /^(?:sha256:)?[0-9a-f]{6,64}$/.test(text)) {
    const hex = text.replace('sha256:', '')
    const found = tools
      .store()
      .refs()
      .find(ref => ref.descriptor.digest.slice(7).startsWith(hex))
    if (found) return { kind: 'store', reference: { ...parseReference(found.name), digest: found.descriptor.digest } }
  }
  const location = parseLocation(text, look)
  if (location.kind !== 'registry' || !bare || where === 'registry') return location
  const here: Location = { kind: 'store', reference: location.reference }
  if (where === 'store') return here
  const { digest, ...named } = location.reference
  const store = tools.store()
  if (digest !== undefined) return store.refs().some(ref => isDigestOf(ref, digest, named)) ? here : location
  const ref = store.ref(formatReference(withDefaultTag(named)))
  return ref !== undefined && ref.origin !== 'pulled' ? here : location
}

function isDigestOf(
  ref: { readonly name: string; readonly descriptor: { readonly digest: string }; readonly origin: string },
  digest: string,
  { registry, repository }: { readonly registry: string; readonly repository: string },
): boolean {
  return (
    ref.descriptor.digest === digest && ref.origin !== 'pulled' && ref.name.startsWith(`${registry}/${repository}:`)
  )
}

/**
 * What is to be changed: without a prefix a name in the store, never one in a registry by accident; `remote` makes it the
 * registry's.
 */
export function named(text: string, remote: boolean): Location {
  const location = parseLocation(text, look)
  if (location.kind !== 'registry' || remote || /^(?:docker|registry):\/\//.test(text)) return location
  return { kind: 'store', reference: location.reference }
}

/** The name that a word has in the store. */
export function inStore(text: string): string {
  return text.replace(/^store:(?:\/\/)?/, '')
}

/** Where a repository is: the store when it has something of it that was made here, else its registry. */
export function whereRepository(text: string, where: Where, tools: Stores): Location {
  const location = parseLocation(text, look)
  if (
    'reference' in location ? (location.reference.tag ?? location.reference.digest) : (location.name ?? location.digest)
  )
    throw new ArchimageError('USAGE', `"${text}" names one image, not a repository`, {
      hint: 'leave its tag away; archimage inspect shows one image',
    })
  if (location.kind !== 'registry' || where === 'registry' || /^(?:docker|registry):\/\//.test(text)) return location
  const here: Location = { kind: 'store', reference: location.reference }
  if (where === 'store') return here
  const prefix = `${formatReference(location.reference)}:`
  const made = tools
    .store()
    .refs()
    .some(ref => ref.origin !== 'pulled' && ref.name.startsWith(prefix))
  return made ? here : location
}

/** Opens a place for reading; `name` is always there. */
export async function openSource(
  text: string,
  where: Where,
  tools: PlaceTools,
): Promise<OpenPlace & { readonly name: string }> {
  const location = findLocation(text, where, tools)
  if (
    location.kind === 'registry' &&
    where === 'anywhere' &&
    location.reference.registry === 'docker.io' &&
    !text.includes('docker')
  )
    say(`${text} is not in the store of this machine; docker.io is asked`)
  const place = await openLocation(location, tools)
  return place as OpenPlace & { readonly name: string }
}

/** What to say when a place has no such image; where it lists its tags, with the one that was meant. */
export async function notThere(location: Location, tools: PlaceTools): Promise<ArchimageError> {
  const what = formatLocation(location)
  if (location.kind === 'store') {
    const familiar = familiarReference(location.reference)
    const meant = suggest(
      familiar,
      tools
        .store()
        .list()
        .map(image => image.familiar),
    )
    return new ArchimageError('NOT_FOUND', `there is no image "${familiar}" in the store of this machine`, {
      hint: meant === undefined ? 'archimage ls lists what is there' : `did you mean "${meant}"?`,
    })
  }
  const tag = 'reference' in location ? location.reference.tag : location.name
  const meant = tag === undefined ? undefined : suggest(tag, await tagsAt(location, tools))
  return new ArchimageError('NOT_FOUND', `${what} does not exist`, {
    hint: meant === undefined ? 'check its name and its tag' : `did you mean the tag "${meant}"?`,
  })
}

const FEW = 1000

async function tagsAt(location: Location, tools: PlaceTools): Promise<string[]> {
  const tags: string[] = []
  try {
    const transport = await openTransport(location, tools, 'read')
    for await (const tag of transport.tags?.() ?? []) if (tags.push(tag) >= FEW) break
  } catch {
    // a hint is not worth a second error
  }
  return tags
}

/** In words, for people: "in the store of this machine". */
export function placeInWords(location: Location): string {
  switch (location.kind) {
    case 'registry':
      return `in the registry ${location.reference.registry}`
    case 'store':
      return 'in the store of this machine'
    case 'docker':
    case 'podman':
      return `in ${location.kind}`
    case 'oci':
      return `in the layout ${location.path}`
    default:
      return `in the archive ${location.path}`
  }
}

/** Throws UNSUPPORTED for the flags of other tools that are refused by name, each with its reason. */
export function refuse(refused: readonly (readonly [option: Option, reason: string])[], options: Options): void {
  for (const [option, reason] of refused)
    if (options[option.attributeName()] !== undefined)
      throw new ArchimageError('UNSUPPORTED', `${option.long} is not supported: ${reason}`, {
        hint: `leave ${option.long} out`,
      })
}
