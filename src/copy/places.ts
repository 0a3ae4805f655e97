import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { isDigest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { formatReference, parseReference, parseRegistryPrefix, type Reference } from '../oci/reference.ts'
import type { Repository } from '../registry/repository.ts'
import { sourceOf } from '../store/sources.ts'
import { formatLocation, type Location, type Look, parseLocation } from '../transports/location.ts'
import { chosenName, type OpenTools, openTransport } from '../transports/open.ts'
import type { CopyImage, CopyOptions, Place, Site } from './request.ts'
import { appearsAsWhole } from './side.ts'

/** Which tags of a repository; without any of these, one image. */
export interface TagChoice {
  readonly all?: boolean
  /** A tag is taken when one of these finds something in it, or there are none … */
  readonly include?: readonly RegExp[]
  /** … and none of these does. */
  readonly exclude?: readonly RegExp[]
}

/** One image of a source: where it is, and what it is called. */
export interface SourceImage {
  readonly place: Place
  /** What the transport is asked for. */
  readonly name: string
  /** With the tag or digest that it was chosen by, where it is called so in a registry, a store, a daemon or an archive. */
  readonly reference?: Reference
}

/** Opens places, each once, and closes what it opened. */
export class Places {
  readonly #tools: OpenTools
  readonly #open = new Map<string, Place>()

  constructor(tools: OpenTools) {
    this.#tools = tools
  }

  /** The repository, file or folder of a location, whatever is chosen there. */
  async open(location: Location, use: 'read' | 'write'): Promise<Place> {
    const bare = withoutName(location)
    const label = formatLocation(bare)
    const key = `${use} ${label}`
    const known = this.#open.get(key)
    if (known !== undefined) return known
    const opened = await openTransport(bare, this.#tools, use)
    // What is written is looked for in the registry itself, never in a mirror of it.
    const site = bare.kind === 'registry' ? (opened as Repository) : undefined
    const transport = use === 'write' && site !== undefined ? site.upstream() : opened
    const place: Place = {
      transport,
      label,
      ...(site === undefined ? {} : { site: { registry: site.registry, repository: site.repository } }),
      ...(bare.kind === 'store' ? { siteOf: seenAt(await this.#tools.store()) } : {}),
    }
    this.#open.set(key, place)
    return place
  }

  /** The one image that a location means. */
  async image(location: Location): Promise<SourceImage> {
    const place = await this.open(location, 'read')
    if ('reference' in location) {
      const { tag, digest } = location.reference
      const name = digest ?? tag ?? 'latest'
      return { place, name, reference: { ...location.reference, ...((digest ?? tag) ? {} : { tag: name }) } }
    }
    const name = chosenName(location, place.transport, 'read')
    return { place, name, ...called(isDigest(name) || /[/:]/.test(name) ? name : await this.#wholeName(place, name)) }
  }

  /** What a file or folder calls an image whose tag is `tag`, where only one is. */
  async #wholeName({ transport }: Place, tag: string): Promise<string> {
    const names = transport.tags === undefined ? [] : await Array.fromAsync(transport.tags())
    const whole = names.filter(name => name.endsWith(`:${tag}`))
    return whole.length === 1 && !names.includes(tag) ? whole[0]! : tag
  }

  /**
   * Makes appear what appears as a whole; not so archives and daemons unless `complete`, which would lack something. Gives the
   * labels of those that were held back.
   */
  async commit(complete: boolean, signal: AbortSignal): Promise<readonly string[]> {
    const held: string[] = []
    for (const place of this.#open.values()) {
      if (!complete && appearsAsWhole(place)) held.push(place.label)
      else await place.transport.commit?.({ signal })
    }
    return held
  }

  async close(): Promise<void> {
    for (const { transport } of [...this.#open.values()].reverse()) await transport.close?.()
    this.#open.clear()
  }
}

/**
 * The images that the words for a source mean: one, or with a pattern in the place of the tag (`app:v1.*`) or a choice, each tag
 * that is chosen. Throws USAGE, NOT_FOUND.
 */
export async function sourceImages(
  text: string,
  choice: TagChoice,
  places: Places,
  look: Look,
  signal: AbortSignal,
): Promise<SourceImage[]> {
  const [, body, glob] = /^(.*):([^:/@]*[*?[][^:/@]*)$/s.exec(text) ?? []
  const location = parseLocation(body ?? text, look)
  const many = glob !== undefined || choice.all === true || choice.include !== undefined || choice.exclude !== undefined
  if (!many) return [await places.image(location)]
  const named =
    'reference' in location ? (location.reference.tag ?? location.reference.digest) : (location.name ?? location.digest)
  if (named !== undefined)
    throw new ArchimageError('USAGE', `"${text}" names one image, and all tags or some were asked for`, {
      hint: `leave "${named}" away, or the option for tags`,
    })
  const place = await places.open(location, 'read')
  if (place.transport.tags === undefined)
    throw new ArchimageError('UNSUPPORTED', `source: ${place.label}: this kind of place does not list its tags`, {
      hint: 'name the images one by one',
    })
  const all = await Array.fromAsync(place.transport.tags({ signal }))
  const pattern = glob === undefined ? undefined : globPattern(glob)
  const chosen = all.filter(tag => (pattern?.test(tag) ?? true) && isChosen(tag, choice))
  if (chosen.length === 0)
    throw new ArchimageError('NOT_FOUND', `source: ${place.label} has no tag that was chosen, of ${all.length}`, {
      hint:
        (glob && didYouMean(glob, all)) ??
        (all.length === 0 ? 'check its name' : `it has ${all.slice(0, 5).join(', ')}${all.length > 5 ? ' …' : ''}`),
    })
  return chosen.map(tag => ({
    place,
    name: tag,
    ...('reference' in location ? { reference: { ...location.reference, tag } } : called(tag)),
  }))
}

export function isChosen(tag: string, { include, exclude }: TagChoice): boolean {
  return (
    (include?.some(pattern => pattern.test(tag)) ?? true) && !(exclude?.some(pattern => pattern.test(tag)) ?? false)
  )
}

/** `*`, `?` and `[…]` as shells have them. */
export function globPattern(glob: string): RegExp {
  const source = glob.replace(/\[!?[^\]]+\]|[\s\S]/g, part => {
    if (part === '*') return '.*'
    if (part === '?') return '.'
    if (part.length > 1) return `[${part.slice(1, -1).replace(/^!/, '^').replace(/\\/g, '\\\\')}]`
    return part.replace(/[.*+?^${}()|[\]\\]/, '\\$&')
  })
  try {
    return new RegExp(`^${source}$`)
  } catch {
    throw new ArchimageError('USAGE', `"${glob}" is not a pattern for tags`, { hint: 'like "v1.*" or "v1.[0-9]"' })
  }
}

/**
 * The copies that bring `images` to a destination: an image (`registry.example.com/app:1`), a repository, whose tags are
 * those of the sources, a registry or a folder of it with "/" at the end, `store:` alone, which take names and tags, or a
 * file or folder. `more` are further tags there. Throws USAGE, also when two sources would go to one name.
 */
export async function copiesTo(
  text: string,
  images: readonly SourceImage[],
  options: CopyOptions,
  more: readonly string[],
  places: Places,
  look: Look,
): Promise<CopyImage[]> {
  const place = destination(text, look)
  const copies: CopyImage[] = []
  const taken = new Map<string, string>()
  for (const { place: source, name, reference } of images) {
    const { location, tags } = await place(reference, images.length)
    const target = await places.open(location, 'write')
    for (const tag of [...tags, ...more]) {
      const key = `${target.label}:${tag}`
      const from = `${source.label}${isDigest(name) ? '@' : ':'}${name}`
      const other = taken.get(key)
      if (other !== undefined && other !== from)
        throw new ArchimageError('USAGE', `${other} and ${from} would both become ${key}`, {
          hint: 'copy them to different names',
        })
      taken.set(key, from)
    }
    copies.push({ source, name, target, tags: [...new Set([...tags, ...more])], options })
  }
  return copies
}

type Destination = (
  reference: Reference | undefined,
  count: number,
) => { readonly location: Location; readonly tags: readonly string[] }

function destination(text: string, look: Look): Destination {
  const keeping = /^(store|docker-daemon|podman|containers-storage):$/.exec(text)?.[1]
  if (keeping !== undefined)
    return reference => {
      const { registry, repository, tag = 'latest' } = must(reference, text)
      return {
        location: parseLocation(`${keeping}:${formatReference({ registry, repository, tag })}`, look),
        tags: [tag],
      }
    }
  if (text.endsWith('/') && !/^\.{0,2}\//.test(text) && !/^(?:oci|ocidir):/.test(text)) {
    const [, scheme = '', prefix = ''] = /^(docker:\/\/|store:)?(.*)$/s.exec(text)!
    const folder = parseRegistryPrefix(prefix)
    return reference => {
      const named = must(reference, text)
      const repository = named.repository.replace(/^library\//, '')
      const { tag } = named
      return {
        location: parseLocation(
          `${scheme}${folder}/${named.registry === 'docker.io' ? repository : named.repository}`,
          look,
        ),
        tags: tag === undefined ? (scheme === 'store:' ? ['latest'] : []) : [tag],
      }
    }
  }
  const location = parseLocation(text, look)
  if ('digest' in location || ('reference' in location && location.reference.digest !== undefined))
    throw new ArchimageError('USAGE', `"${text}": what a destination is to be called has no digest`, {
      hint: 'give a tag, or nothing: an image that was chosen by digest keeps it',
    })
  const own = 'reference' in location ? location.reference.tag : location.name
  return (reference, count) => {
    if (own !== undefined && count > 1)
      throw new ArchimageError('USAGE', `${count} images cannot all become "${text}"`, {
        hint: `leave ":${own}" away: each then keeps its tag`,
      })
    if (own !== undefined) return { location, tags: [own] }
    if ('reference' in location) {
      const tag =
        reference?.tag ?? (location.kind === 'registry' && reference?.digest !== undefined ? undefined : 'latest')
      return { location, tags: tag === undefined ? [] : [tag] }
    }
    const { tag } = reference ?? {}
    return { location, tags: tag === undefined ? [] : [nameIn(reference!)] }
  }
}

/** In files and folders images go by their whole names, as docker and containerd read them; those that had a tag only keep that. */
function nameIn(reference: Reference): string {
  const { registry, repository, tag } = reference
  return repository === '' ? tag! : formatReference({ registry, repository, tag: tag! })
}

function must(reference: Reference | undefined, text: string): Reference {
  if (reference !== undefined && reference.repository !== '') return reference
  throw new ArchimageError('USAGE', `"${text}" takes the names of its sources, and one of them has none`, {
    hint: 'write the whole name of the destination',
  })
}

/** What an image of a file or folder is called: a whole name, or a tag, which has no repository. */
function called(name: string): { readonly reference?: Reference } {
  if (isDigest(name)) return {}
  if (!/[/:]/.test(name)) return { reference: { registry: '', repository: '', tag: name } }
  try {
    return { reference: parseReference(name) }
  } catch {
    return {}
  }
}

/** The store remembers where a blob was seen. */
function seenAt(store: Parameters<typeof sourceOf>[0]) {
  return ({ digest }: Descriptor): Site | undefined => {
    const source = sourceOf(store, digest)
    return source === undefined ? undefined : parseReference(source)
  }
}

function withoutName(location: Location): Location {
  if (!('reference' in location)) return { kind: location.kind, path: location.path }
  const { registry, repository } = location.reference
  return { kind: location.kind, reference: { registry, repository } }
}
