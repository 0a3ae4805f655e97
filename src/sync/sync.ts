import type { Places } from '../copy/places.ts'
import type { CopyImage, CopyOptions } from '../copy/request.ts'
import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { isDigest } from '../oci/digest.ts'
import { formatReference, parseReference } from '../oci/reference.ts'
import { readYaml } from '../project/yaml.ts'
import { listRepositories } from '../registry/catalog.ts'
import type { Registry } from '../registry/registry.ts'
import { type Look, parseLocation } from '../transports/location.ts'
import type { SyncEntry, SyncFile } from './entry.ts'
import { Fields } from './fields.ts'
import { readRegsyncFile } from './regsync-file.ts'
import { readSkopeoFile } from './skopeo-file.ts'

/** Reads the file of skopeo or of regsync, whichever it is. Throws CONFIG_INVALID, UNSUPPORTED. */
export async function readSyncFile(
  bytes: Uint8Array,
  name: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<SyncFile> {
  const yaml = await readYaml(bytes, name, { code: 'CONFIG_INVALID', merge: true })
  const file = new Fields(yaml, [], yaml.value, 'the file')
  const regsync = ['sync', 'creds', 'defaults', 'version'].some(key => file.keys.includes(key))
  return regsync ? readRegsyncFile(file, env) : readSkopeoFile(file)
}

export interface SyncTools {
  readonly source: Places
  readonly target: Places
  readonly registry: () => Registry
  readonly look: Look
  readonly signal: AbortSignal
  /** An entry that cannot be listed does not hold up the others. */
  readonly fail: (source: string, error: ArchimageError) => void
  readonly warn: (message: string) => void
}

/** Where images go whose file does not say it: skopeo's DESTINATION, `--scoped`, `--append-suffix`. */
export interface SyncTarget {
  readonly place?: string
  readonly scoped?: boolean
  readonly suffix?: string
}

/** The copies that a file asks for. `options` stand for all of them, where the file says nothing else. */
export async function syncImages(
  entries: readonly SyncEntry[],
  to: SyncTarget,
  options: CopyOptions,
  tools: SyncTools,
): Promise<CopyImage[]> {
  const images: CopyImage[] = []
  for (const entry of entries)
    try {
      for (const one of await withRepositories(entry, tools)) images.push(...(await copiesOf(one, to, options, tools)))
    } catch (error) {
      if (!isArchimageError(error) || error.exit === 2 || tools.signal.aborted) throw error
      tools.fail(entry.source, error)
    }
  return images
}

/** A registry stands for its repositories. */
async function withRepositories(entry: SyncEntry, tools: SyncTools): Promise<readonly SyncEntry[]> {
  if (entry.kind !== 'registry') return [entry]
  const { client } = tools.registry()
  const names = await Array.fromAsync(listRepositories({ client, host: client.host(entry.source) }, tools.signal))
  return names.filter(entry.repositories).map(name => ({
    ...entry,
    kind: 'repository' as const,
    source: `${entry.source}/${name}`,
    ...(entry.target === undefined ? {} : { target: `${entry.target}/${name}` }),
  }))
}

async function copiesOf(
  entry: SyncEntry,
  to: SyncTarget,
  options: CopyOptions,
  { source, target, look, signal, warn }: SyncTools,
): Promise<CopyImage[]> {
  const from = parseLocation(entry.source, look)
  const settings = { ...options, ...entry.options }
  if (entry.kind === 'image') {
    const { place, name } = await source.image(from)
    const location = parseLocation(entry.target!, look)
    const tag = 'reference' in location ? (location.reference.tag ?? 'latest') : location.name
    const there = await target.open(location, 'write')
    return [{ source: place, name, target: there, tags: tag === undefined ? [] : [tag], options: settings }]
  }
  const place = await source.open(from, 'read')
  const list = async (): Promise<readonly string[]> => {
    if (place.transport.tags === undefined)
      throw new ArchimageError('UNSUPPORTED', `source: ${place.label}: this kind of place does not list its tags`)
    return (await Array.fromAsync(place.transport.tags({ signal }))).filter(entry.tags)
  }
  const names = entry.names ?? (await list())
  if (names.length === 0) warn(`${entry.source}: no tag is asked for, or none is there`)
  const copies: CopyImage[] = []
  for (const name of names) {
    const { location, tags } = destination(entry, name, to, look)
    copies.push({ source: place, name, target: await target.open(location, 'write'), tags, options: settings })
  }
  return copies
}

/** Of one tag or digest: where the entry says, else below the destination of the command line, as skopeo names it there. */
function destination(entry: SyncEntry, name: string, to: SyncTarget, look: Look) {
  const tags = isDigest(name) ? [] : [`${name}${to.suffix ?? ''}`]
  if (entry.target !== undefined) return { location: parseLocation(entry.target, look), tags }
  if (to.place === undefined)
    throw new ArchimageError('USAGE', 'this file does not say where its images go', {
      hint: 'archimage sync FILE registry.example.com/mirror',
    })
  const { registry, repository } = parseReference(entry.source)
  const place = to.place.replace(/^docker:\/\//, '').replace(/\/+$/, '')
  const location = parseLocation(to.place, look)
  if (!('reference' in location)) {
    const [tag] = tags
    return { location, tags: tag === undefined ? [] : [formatReference({ registry, repository, tag })] }
  }
  const below = to.scoped === true ? `${registry}/${repository}` : repository.slice(repository.lastIndexOf('/') + 1)
  return { location: parseLocation(`${place}/${below}`, look), tags }
}
