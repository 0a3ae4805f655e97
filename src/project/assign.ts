import { basename, dirname, join, relative, resolve } from 'node:path'
import { ArchimageError } from '../errors/error.ts'
import { suggest } from '../errors/suggest.ts'
import type { ConfigFile } from './config.ts'
import { type Found, serviceName } from './discover.ts'
import type { ServiceConfig } from './schema.ts'

type Configured = Readonly<Record<string, ServiceConfig>>

/** Absolute paths of the Dockerfiles in a folder that was found. */
export function filesOf(found: Found): string[] {
  const names = [...(found.set.main === undefined ? [] : [found.set.main]), ...Object.values(found.set.platforms)]
  return names.map(name => join(found.folder, name))
}

export function shownFolder(root: string, folder: string): string {
  return relative(root, folder).replaceAll('\\', '/') || '.'
}

/** Whether a service of the project file says that it is this folder. */
function points(root: string, name: string, given: ServiceConfig, one: Found, alone: boolean): boolean {
  const files = [given.dockerfile, ...Object.values(given.dockerfiles ?? {})].filter(text => text !== undefined)
  if (files.length > 0) return filesOf(one).some(path => files.some(text => resolve(root, text) === path))
  if (given.context === undefined || resolve(root, given.context) !== one.folder) return false
  return one.name === name || alone
}

export interface Assignment {
  /** The folder that was found for a service of the project file, by its name. */
  readonly own: ReadonlyMap<string, Found>
  /** Folders that no service of the project file names. */
  readonly free: readonly Found[]
}

/**
 * Finds the folders of the services that the project file has. A folder of the same name is a service's; of several the
 * one that it points to, or the only one that no other service points to. Throws PROJECT_INVALID where that is not clear.
 */
export function assign(
  root: string,
  found: readonly Found[],
  configured: Configured,
  config: ConfigFile | undefined,
): Assignment {
  const named = Object.entries(configured)
  const alike = (name: string): Found[] => found.filter(one => one.name === name)
  const pointed = new Map<Found, string>()
  for (const [name, given] of named)
    for (const one of found) if (points(root, name, given, one, alike(name).length === 0)) pointed.set(one, name)
  const own = new Map<string, Found>()
  for (const [name, given] of named) {
    const candidates = alike(name)
    const free = candidates.filter(one => !pointed.has(one))
    const mine = candidates.length === 1 ? candidates[0] : candidates.find(one => pointed.get(one) === name)
    if (mine !== undefined) own.set(name, mine)
    else if (given.dockerfile !== undefined) continue
    else if (free.length === 1) own.set(name, free[0]!)
    else if (free.length > 1) {
      const places = free.map(one => shownFolder(root, one.folder))
      config?.fail(
        ['services', name],
        `service ${name} may be ${places.join(' or ')}`,
        `say which, for instance: ${name}: { dockerfile: ${places[0]}/${basename(filesOf(free[0]!)[0]!)} }`,
      )
    }
  }
  const taken = new Set(own.values())
  return { own, free: found.filter(one => !taken.has(one) && !pointed.has(one)) }
}

/** Names never depend on neighbours: folders without a name of their own have to get one in the project file. */
export function checkNames(root: string, others: readonly Found[], configured: Configured): void {
  const nameless = others.filter(one => one.name === undefined)
  const groups = Map.groupBy(
    others.filter(one => one.name !== undefined),
    one => one.name!,
  )
  const clashes = [...groups].filter(([name, list]) => list.length > 1 || Object.hasOwn(configured, name))
  const unclear = [...nameless, ...clashes.flatMap(([, list]) => list)]
  if (unclear.length === 0) return
  const list = (folders: readonly Found[]): string =>
    folders
      .map(one => shownFolder(root, one.folder))
      .join(', ')
      .replace(/, ([^,]*)$/, ' and $1')
  const why = [
    ...(nameless.length === 0 ? [] : [`no service name (a-z, 0-9) can be made of ${list(nameless)}`]),
    ...clashes.map(([name, folders]) =>
      Object.hasOwn(configured, name)
        ? `${list(folders)} would be service "${name}", which archimage.yaml has already`
        : `${list(folders)} would ${folders.length === 2 ? 'both' : 'all'} be service "${name}"`,
    ),
  ]
  const used = new Set(Object.keys(configured))
  const lines = unclear.slice(0, 10).map(one => {
    const where = shownFolder(root, one.folder)
    const base = (one.name !== undefined && serviceName(where.replaceAll('/', '-'))) || 'NAME'
    let name = base
    for (let n = 2; used.has(name); n++) name = `${base}-${n}`
    used.add(name)
    const { main } = one.set
    return `  ${name}: ${main === undefined ? `{ context: ${where} }` : `{ dockerfile: ${join(where, main)} }`}`
  })
  throw new ArchimageError('PROJECT_INVALID', why.join('; '), {
    hint: ['name them in archimage.yaml, for instance:', 'services:', ...lines].join('\n'),
  })
}

/** For the hint of a path that is not there: a folder with a Dockerfile that no service names and that may be it. */
export function renamed(root: string, text: string, free: readonly Found[]): string | undefined {
  const places = free.map(one => shownFolder(root, one.folder))
  const wanted = text.replace(/^\.\/|\/+$/g, '')
  const name = basename(wanted)
  const beside = places.filter(place => dirname(place) === dirname(wanted))
  const near = suggest(
    name,
    beside.map(place => basename(place)),
  )
  const meant =
    places.find(place => basename(place) === name) ??
    beside.find(place => near !== undefined && basename(place) === near)
  return meant === undefined ? undefined : `${meant} has a Dockerfile: was the folder renamed?`
}
