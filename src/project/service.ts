import { readdirSync, statSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { formatPlatform, type Platform, parsePlatform } from '../oci/platform.ts'
import { renamed, shownFolder } from './assign.ts'
import { type ConfigFile, placed } from './config.ts'
import type { Found } from './discover.ts'
import { type DockerfileSet, dockerfilesAmong } from './dockerfile-names.ts'
import { guessContext } from './guess-context.ts'
import type { Service } from './project.ts'
import type { ServiceConfig } from './schema.ts'

const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/

export interface ServiceInput {
  readonly root: string
  readonly config: ConfigFile | undefined
  readonly name: string
  readonly given: ServiceConfig
  readonly found: Found | undefined
  /** Folders that no service of the project file names, for hints. */
  readonly free: readonly Found[]
  /** Those of the project. */
  readonly platforms: readonly Platform[]
  /** Of image names. */
  readonly pattern: string
  /** Gets what is odd but no error. */
  readonly warnings: string[]
}

/** Absolute paths; `platforms` by `formatPlatform`. */
interface Files {
  readonly main?: string
  readonly platforms: Readonly<Record<string, string>>
}

/** Reads a list of platforms of the project file; undefined when it is not given. */
export function platformsAt(
  config: ConfigFile | undefined,
  path: readonly PropertyKey[],
  list: readonly string[] | undefined,
): Platform[] | undefined {
  if (list === undefined) return undefined
  const out = new Map<string, Platform>()
  for (const [i, text] of list.entries()) {
    const platform = placed(config, [...path, i], () => parsePlatform(text))
    out.set(formatPlatform(platform), platform)
  }
  return [...out.values()]
}

/** One service out of what discovery found and what the project file says. Throws PROJECT_INVALID with the place. */
export function serviceOf(input: ServiceInput): Service {
  const { root, config, name, given, found } = input
  const path = ['services', name]
  if (!NAME.test(name)) config?.fail(path, `"${name}" is not a service name`, nameHint(input))
  for (const key of Object.keys(given.args ?? {}))
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(key))
      config?.fail([...path, 'args', key], `"${key}" is not an argument's name`)
  const named = given.context === undefined ? undefined : contextAt(input, given.context)
  const files = dockerfilesOf(input, named)
  const list = [...(files.main === undefined ? [] : [files.main]), ...Object.values(files.platforms)]
  const folder = found !== undefined && given.dockerfile === undefined ? found.folder : dirname(list[0]!)
  const { context, because } =
    named === undefined
      ? guessContext(root, folder, list)
      : { context: named, because: `${basename(config?.file ?? '')} names the context` }
  return {
    name,
    image: given.image ?? input.pattern.replaceAll('{service}', name),
    context,
    dockerfile: list[0]!,
    ...(files.main === undefined ? { platformDockerfilesOnly: true as const } : {}),
    dockerfiles: files.platforms,
    platforms: platformsOf(input, files),
    args: { ...given.args },
    ...(given.target === undefined ? {} : { target: given.target }),
    labels: { ...given.labels },
    annotations: { ...given.annotations },
    buildContexts: { ...given['build-contexts'] },
    ...(given.prebuild === undefined ? {} : { prebuild: given.prebuild }),
    timestamps: given.timestamps ?? 'content',
    modes: given.modes ?? 'context',
    ...(given['platform-exception'] === undefined ? {} : { platformException: given['platform-exception'] }),
    because: `${list.map(one => relative(root, one)).join(', ')}; ${because}`,
  }
}

/**
 * The Dockerfile of a service for a platform; undefined when it has Dockerfiles of other platforms only.
 * `windows(10.0.20348)/amd64` is served by the one of `windows/amd64`.
 */
export function dockerfileFor(
  service: Pick<Service, 'dockerfile' | 'dockerfiles' | 'platformDockerfilesOnly'>,
  platform: Platform,
): string | undefined {
  const { 'os.version': _version, 'os.features': _features, ...plain } = platform
  return (
    service.dockerfiles[formatPlatform(platform)] ??
    service.dockerfiles[formatPlatform(plain)] ??
    (service.platformDockerfilesOnly ? undefined : service.dockerfile)
  )
}

/** Those that the service names, else the project's and those that have a Dockerfile of their own. */
function platformsOf(input: ServiceInput, files: Files): readonly Platform[] {
  const { config, name, given } = input
  const own = Object.keys(files.platforms).map(parsePlatform)
  const explicit = platformsAt(config, ['services', name, 'platforms'], given.platforms)
  const named = explicit ?? (files.main === undefined ? own : [...input.platforms, ...own])
  if (files.main === undefined) {
    const service = { dockerfile: '', dockerfiles: files.platforms, platformDockerfilesOnly: true as const }
    const without = (list: readonly Platform[]): string =>
      list
        .filter(platform => dockerfileFor(service, platform) === undefined)
        .map(formatPlatform)
        .join(', ')
    if (without(named) !== '')
      config?.fail(
        ['services', name, 'platforms'],
        `service ${name} has no Dockerfile for ${without(named)}`,
        `it has one for ${Object.keys(files.platforms).join(', ')}`,
      )
    const missing = config?.config.platforms !== undefined && explicit === undefined ? without(input.platforms) : ''
    if (missing !== '') input.warnings.push(`service ${name} has no Dockerfile for ${missing} and is not built for it`)
  }
  return [...new Map(named.map(platform => [formatPlatform(platform), platform])).values()]
}

function nameHint({ root, name, given, free }: ServiceInput): string {
  const rule = 'a name has lower case letters, digits, ".", "_" and "-"'
  const meant = free.find(one => basename(one.folder) === name)
  if (meant === undefined || given.dockerfile !== undefined || given.context !== undefined) return rule
  return `${rule}; for this folder write, with a name of your own: NAME: { context: ${shownFolder(root, meant.folder)} }`
}

function contextAt({ root, config, name, free }: ServiceInput, text: string): string {
  const fail = (why: string, hint?: string): never => config!.fail(['services', name, 'context'], why, hint)
  if (/^[a-z][a-z0-9+.-]*:\/\/|^git@/i.test(text)) return fail('the context of a service must be a folder, not a URL')
  const stat = statSync(resolve(root, text), { throwIfNoEntry: false })
  if (stat === undefined) return fail(`there is no folder ${text}`, renamed(root, text, free))
  return stat.isDirectory() ? resolve(root, text) : fail(`${text} is not a folder`)
}

function setIn(folder: string): DockerfileSet | undefined {
  const entries = readdirSync(folder, { withFileTypes: true })
  return dockerfilesAmong(entries.filter(entry => !entry.isDirectory()).map(entry => entry.name))
}

/** The Dockerfiles that the project file names; for what it does not name, those that lie in the service's folder. */
function dockerfilesOf({ root, config, name, given, found, free }: ServiceInput, context: string | undefined): Files {
  const path = ['services', name]
  const fileAt = (text: string, at: readonly PropertyKey[]): string => {
    const stat = statSync(resolve(root, text), { throwIfNoEntry: false })
    if (stat === undefined) return config!.fail(at, `there is no file ${text}`, renamed(root, dirname(text), free))
    return stat.isFile() ? resolve(root, text) : config!.fail(at, `${text} is not a file`)
  }
  const platforms: Record<string, string> = {}
  for (const [key, text] of Object.entries(given.dockerfiles ?? {})) {
    const at = [...path, 'dockerfiles', key]
    platforms[formatPlatform(placed(config, at, () => parsePlatform(key)))] = fileAt(text, at)
  }
  const main = given.dockerfile === undefined ? undefined : fileAt(given.dockerfile, [...path, 'dockerfile'])
  // Dockerfile.win belongs to the Dockerfile beside it, not to Dockerfile.dev.
  if (main !== undefined && !/^(?:Dockerfile|Containerfile)$/.test(basename(main))) return { main, platforms }
  const folder = main === undefined ? (found?.folder ?? context) : dirname(main)
  const set = folder === undefined ? undefined : folder === found?.folder ? found.set : setIn(folder)
  const beside = Object.entries(set?.platforms ?? {}).map(([platform, file]) => [platform, join(folder!, file)])
  const files: Files = {
    ...(main !== undefined ? { main } : set?.main !== undefined ? { main: join(folder!, set.main) } : {}),
    platforms: { ...Object.fromEntries(beside), ...platforms },
  }
  if (files.main !== undefined || Object.keys(files.platforms).length > 0) return files
  const where =
    folder === undefined
      ? 'src/, services/ and apps/ have no folder of that name'
      : `${relative(root, folder) || 'the project folder'} has none`
  return config!.fail(
    path,
    `service ${name} has no Dockerfile: ${where}`,
    (given.context === undefined ? renamed(root, `src/${name}`, free) : undefined) ??
      'give it a "dockerfile", or a "context" that has one',
  )
}
