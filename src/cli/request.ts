import { createHash } from 'node:crypto'
import { existsSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import { isArchiveFile } from '../context/is-archive.ts'
import { formatLocation, type Location, parseLocation } from '../context/location.ts'
import type { EngineName } from '../engines/names.ts'
import { ArchimageError } from '../errors/error.ts'
import type { Compression } from '../oci/media-types.ts'
import { buildPlatform, formatPlatform, type Platform, parsePlatforms, platformTag } from '../oci/platform.ts'
import { isTag, parseReference, parseRegistryPrefix, type Reference, withDefaultTag } from '../oci/reference.ts'
import type { Project, Service, Timestamps } from '../project/project.ts'
import { archImageName } from '../project/references.ts'
import type { CellSettings } from '../run/prepare.ts'
import { projectRequest } from '../run/request.ts'
import type { RunRequest } from '../run/run.ts'
import { stepFlags } from './step-flags.ts'

export type Options = Readonly<Record<string, unknown>>

/** True for what `archimage build` takes for a path, URL or standard input; other words are services (DESIGN §5). */
export function isPath(word: string): boolean {
  return (
    word === '-' ||
    word.startsWith('.') ||
    word.includes('/') ||
    word.includes('\\') ||
    /^[a-z][a-z0-9+.-]*:/i.test(word) ||
    /^[\w-]+@[\w.-]+:/.test(word) ||
    /\.(?:tar|tgz|tbz2?|txz|tzst|tar\.\w+)$/i.test(word)
  )
}

export function strings(value: unknown): string[] {
  return Array.isArray(value) ? (value as string[]) : []
}

/** `NAME=VALUE` pairs; NAME alone takes the value of the environment, and is left out when that has none. */
function pairs(values: readonly string[], flag: string, fromEnvironment: boolean): Record<string, string> {
  const out: Record<string, string> = {}
  for (const pair of values) {
    const equals = pair.indexOf('=')
    const name = equals < 0 ? pair : pair.slice(0, equals)
    if (name === '')
      throw new ArchimageError('USAGE', `${flag} ${pair}: the name is missing`, {
        hint: `write it as ${flag} NAME=VALUE`,
      })
    if (equals >= 0) out[name] = pair.slice(equals + 1)
    else if (!fromEnvironment) out[name] = ''
    else if (process.env[name] !== undefined) out[name] = process.env[name]
  }
  return out
}

/** Annotations of the image manifests and of the index, by buildx's prefixes. */
function annotations(values: readonly string[]): {
  readonly manifest: Record<string, string>
  readonly index: Record<string, string>
} {
  const manifest: Record<string, string> = {}
  const index: Record<string, string> = {}
  for (const [key, value] of Object.entries(pairs(values, '--annotation', false))) {
    const match = /^([a-z-]+(?:,[a-z-]+)*)(?:\[([^\]]*)\])?:(.+)$/.exec(key)
    const levels = match?.[1]?.split(',') ?? ['manifest']
    const name = match?.[3] ?? key
    if (match?.[2])
      throw new ArchimageError('UNSUPPORTED', `--annotation ${key}: annotations for one platform are not supported yet`)
    for (const level of levels) {
      if (level === 'manifest') manifest[name] = value
      else if (level === 'index') index[name] = value
      else
        throw new ArchimageError('UNSUPPORTED', `--annotation ${key}: the level "${level}" is not supported yet`, {
          hint: 'manifest: and index: are',
        })
    }
  }
  return { manifest, index }
}

export interface Settings {
  readonly settings: CellSettings
  readonly indexAnnotations: Readonly<Record<string, string>>
}

export interface OutputChoice {
  readonly compression?: Compression
  readonly level?: number
  /** Annotations that -o gives, besides --annotation. */
  readonly annotations?: {
    readonly manifest: Readonly<Record<string, string>>
    readonly index: Readonly<Record<string, string>>
  }
  /** Files that outputs write: never part of a context. */
  readonly exclude: readonly string[]
}

export function settingsOf(
  options: Options,
  output: OutputChoice,
  directory: string,
  own: Pick<CellSettings, 'dockerfiles' | 'dockerfileUrl'> = { dockerfiles: new Map() },
): Settings {
  const given = annotations(strings(options['annotation']))
  const manifest = { ...output.annotations?.manifest, ...given.manifest }
  const index = { ...output.annotations?.index, ...given.index }
  const docker = options['dockerFormat'] === true
  if (docker && (Object.keys(manifest).length > 0 || Object.keys(index).length > 0))
    throw new ArchimageError(
      'USAGE',
      "--docker-format and --annotation exclude each other: Docker's manifests have no annotations",
      { hint: 'use --label, or build without --docker-format' },
    )
  const compression = output.compression ?? 'gzip'
  if (docker && compression === 'zstd')
    throw new ArchimageError(
      'USAGE',
      "--docker-format and zstd exclude each other: Docker's manifests have no zstd layers",
      { hint: 'use compression=gzip, or build without --docker-format' },
    )
  const epoch = process.env['SOURCE_DATE_EPOCH']?.trim() || undefined
  const args = pairs(strings(options['buildArg']), '--build-arg', true)
  const timestamps = options['timestamps'] as Timestamps | undefined
  const { policy, settings: steps, proxies } = stepFlags(options, directory)
  return {
    indexAnnotations: index,
    settings: {
      docker,
      compression,
      ...(output.level === undefined ? {} : { level: output.level }),
      ...(timestamps === undefined ? {} : { timestamps }),
      ...(epoch === undefined ? {} : { epoch }),
      args,
      labels: pairs(strings(options['label']), '--label', false),
      annotations: manifest,
      ...(typeof options['target'] === 'string' ? { target: options['target'] } : {}),
      ...{ policy, steps, proxies },
      exclude: ['.archimage', ...output.exclude],
      ...own,
    },
  }
}

/** The platforms of --platform, if it is given. */
export function askedPlatforms(options: Options): Platform[] | undefined {
  const given = strings(options['platform'])
  if (given.length === 0) return undefined
  return parsePlatforms(given.map(text => (text === 'local' ? formatPlatform(buildPlatform()) : text)))
}

/**
 * Which platforms a service is built for: --platform replaces the project's list; a service with a list of its own is built
 * for those of it that were asked for. Throws PLATFORM_MISSING when a platform was asked for that no service has.
 */
export function platformsOf(
  project: Project,
  services: readonly Service[],
  asked: readonly Platform[] | undefined,
): (service: Service) => readonly Platform[] {
  if (asked === undefined) return service => service.platforms
  const text = (list: readonly Platform[]): string => list.map(formatPlatform).join()
  const own = (service: Service): boolean => text(service.platforms) !== text(project.platforms)
  const chosen = (service: Service): readonly Platform[] => {
    if (!own(service)) return asked
    const names = service.platforms.map(formatPlatform)
    return asked.filter(platform => names.includes(formatPlatform(platform)))
  }
  for (const platform of asked)
    if (
      !services.some(service =>
        chosen(service).some(candidate => formatPlatform(candidate) === formatPlatform(platform)),
      )
    )
      throw new ArchimageError('PLATFORM_MISSING', `no service here is built for ${formatPlatform(platform)}`, {
        hint: 'add it to the platforms in archimage.yaml, or build without it',
      })
  return chosen
}

/** --registry and a plain -t replace what the project says. */
export function withOverrides(project: Project, options: Options): Project {
  const given = options['registry'] as string | undefined
  const registry = given === undefined ? undefined : parseRegistryPrefix(given)
  const tags = strings(options['tag'])
  for (const tag of tags)
    if (!isTag(tag))
      throw new ArchimageError('USAGE', `-t ${tag}: in a project -t is the tag of every service, without a name`, {
        hint: 'write the registry with --registry, the names in archimage.yaml; to build one image give its folder: archimage build -t NAME:TAG ./src/api',
      })
  const [tag, ...extraTags] = tags
  const arch = archPattern(options)
  return {
    ...project,
    ...(registry === undefined ? {} : { registry }),
    ...(tag === undefined ? {} : { tag, extraTags }),
    ...(arch === undefined ? {} : { archTags: arch }),
  }
}

/** The pattern of --arch-tags, if one is given. */
export function archPattern(options: Options): string | undefined {
  const given = options['archTags']
  if (typeof given !== 'string') return undefined
  const words = [...given.matchAll(/\{([^{}]*)\}/g)].map(match => match[1]!)
  const unknown = words.find(word => !['tag', 'arch', 'image'].includes(word))
  if (unknown !== undefined || !words.includes('arch') || !words.includes('tag'))
    throw new ArchimageError(
      'USAGE',
      unknown === undefined
        ? `--arch-tags ${given}: a pattern holds {tag} and {arch}`
        : `--arch-tags ${given}: "{${unknown}}" is unknown, there are {tag}, {arch} and {image}`,
      { hint: 'for instance {tag}-{arch}, which is the default, or {image}-{arch}:{tag}; services stand before it' },
    )
  return given
}

/** The platforms of a service that a run leaves out, where it has a list of its own and not just this machine's. */
export function leftOut(service: Service, platforms: readonly Platform[]): string[] {
  const own = service.platforms.map(formatPlatform)
  if (own.length === 1 && own[0] === formatPlatform(buildPlatform())) return []
  const built = platforms.map(formatPlatform)
  return own.filter(name => !built.includes(name))
}

/** A tag moves only to all platforms of its service (DESIGN §5): a part of them is not published. */
function refusePart(services: readonly Service[], platforms: (service: Service) => readonly Platform[]): void {
  for (const service of services) {
    const missing = leftOut(service, platforms(service))
    if (platforms(service).length > 0 && missing.length > 0)
      throw new ArchimageError(
        'USAGE',
        `${service.name} would be published without ${missing.join(', ')}: a tag moves only to all platforms of its service`,
        { hint: 'leave --platform out of the push, or change platforms in archimage.yaml' },
      )
  }
}

export function requestOf(
  project: Project,
  services: readonly Service[],
  platforms: (service: Service) => readonly Platform[],
  options: Options,
  { settings, indexAnnotations }: Settings,
): RunRequest {
  if (options['push'] === true) refusePart(services, platforms)
  if (options['push'] === true && project.registry === undefined)
    throw new ArchimageError('USAGE', 'there is no registry to push to', {
      hint: 'set registry in archimage.yaml, or give it: archimage build --push --registry registry.example.com/team',
    })
  const annotated = settings.docker && services.find(service => Object.keys(service.annotations).length > 0)
  if (annotated)
    throw new ArchimageError(
      'USAGE',
      `--docker-format, but archimage.yaml gives ${annotated.name} annotations: Docker's manifests have none`,
      { hint: 'make them labels, or build without --docker-format' },
    )
  return projectRequest(project, {
    services,
    platformsOf: platforms,
    settings,
    ...runFlags(options),
    archNames: (service, platform) =>
      options['archTags'] ? [parseReference(archImageName(project, service, platformTag(platform)))] : [],
    indexAnnotations,
  })
}

export function runFlags(
  options: Options,
): Pick<RunRequest, 'engine' | 'jobs' | 'failFast' | 'force' | 'pull' | 'offline' | 'push' | 'atomic' | 'noClobber'> {
  return {
    ...(options['engine'] === undefined ? {} : { engine: options['engine'] as EngineName }),
    ...(typeof options['jobs'] === 'number' ? { jobs: options['jobs'] } : {}),
    failFast: options['failFast'] === true,
    force: options['force'] === true || options['cache'] === false,
    pull: options['pull'] === true,
    offline: options['offline'] === true,
    push: options['push'] === true,
    atomic: options['atomic'] === true,
    noClobber: options['clobber'] === false,
  }
}

/** Named contexts of the command line; what is relative in them is so to the working directory. */
export function buildContexts(options: Options, directory: string): Record<string, string> {
  const contexts: Record<string, string> = {}
  for (const [name, value] of Object.entries(pairs(strings(options['buildContext']), '--build-context', false)))
    contexts[name] = formatLocation(value, directory)
  return contexts
}

/** Stands for a Dockerfile that is behind a URL: no file has this name, and no ignore file goes with it. */
export const FROM_URL = 'Dockerfile behind a URL'

export const isUrl = (file: string): boolean => /^https?:\/\//.test(file)

export interface SingleImage {
  readonly project: Project
  readonly names: readonly Reference[]
  /** What belongs into the settings of the run. */
  readonly settings: Pick<CellSettings, 'dockerfiles' | 'main' | 'dockerfileUrl'>
}

/** The project that stands for one image: `archimage build PATH|URL|-`. `stdin` reads a Dockerfile from there. */
export function singleImage(path: string, directory: string, options: Options, stdin: () => Uint8Array): SingleImage {
  const names = strings(options['tag']).map(text => withDefaultTag(parseReference(text)))
  for (const name of names)
    if (name.digest !== undefined)
      throw new ArchimageError('USAGE', `-t with a digest: a digest is what comes out, not a name`)
  const file = options['file'] as string | undefined
  const location = contextLocation(path, directory)
  const root = location.kind === 'path' && isFolder(location.path) ? realpathSync(location.path) : directory
  const isRemote = root === directory && !(location.kind === 'path' && isFolder(location.path))
  const dockerfiles = new Map<string, Uint8Array>()
  const url = file !== undefined && isUrl(file)
  // Of a context that is no folder a relative name is one in there, as in buildx.
  const inside = isRemote && !url && file !== '-' && (file === undefined || !isAbsolute(file))
  let dockerfile = join(root, 'Dockerfile')
  if (file === '-') {
    if (location.kind === 'stdin')
      throw new ArchimageError('USAGE', '-f - and the context "-" cannot both be standard input', {
        hint: 'give the context as a folder, a file or a URL',
      })
    dockerfile = join(root, 'Dockerfile on standard input')
    dockerfiles.set(dockerfile, stdin())
  } else if (url) dockerfile = join(root, FROM_URL)
  else if (file !== undefined && !inside) dockerfile = resolve(directory, file)
  else if (!isRemote && file === undefined) dockerfile = defaultDockerfile(root)
  const name = imageBase(names[0], location, root)
  const platforms = askedPlatforms(options) ?? [buildPlatform()]
  const service: Service = {
    name,
    image: name,
    context: root,
    dockerfile,
    dockerfiles: {},
    platforms,
    args: {},
    labels: {},
    annotations: {},
    buildContexts: buildContexts(options, directory),
    timestamps: 'content',
    modes: 'context',
    because: 'given on the command line',
  }
  const project: Project = {
    root,
    tag: 'latest',
    extraTags: [],
    archTags: '{tag}-{arch}',
    platforms,
    services: [service],
    warnings: [],
  }
  return {
    project,
    names: names.length > 0 ? names : [withDefaultTag(parseReference(name))],
    settings: {
      dockerfiles,
      ...(isRemote
        ? { main: { location, ...(inside ? { inside: file === undefined ? {} : { name: file } } : {}) } }
        : {}),
      ...(url ? { dockerfileUrl: { path: dockerfile, url: file } } : {}),
    },
  }
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true

/** What a path on the command line means: a folder before anything else, as in buildx. */
function contextLocation(path: string, directory: string): Location {
  if (path === '-') return { kind: 'stdin' }
  const here = resolve(directory, path)
  if (isFolder(here)) return { kind: 'path', path: here }
  const location = parseLocation(path, directory)
  if (location.kind === 'service' || (location.kind === 'image' && location.reference === 'scratch'))
    throw new ArchimageError('USAGE', `${path} cannot be the context of a build`, {
      hint: `give it a name with --build-context, and copy from it: COPY --from=NAME`,
    })
  if (location.kind === 'path') checkArchive(here)
  return location
}

/** A file may be a context when it is an archive. */
function checkArchive(path: string): void {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (!stat)
    throw new ArchimageError('USAGE', `${path} does not exist`, {
      hint: 'give the folder that COPY takes its files from; services are named without "/" and "."',
    })
  if (!stat.isFile() || !isArchiveFile(path))
    throw new ArchimageError('USAGE', `${path} is neither a folder nor an archive`, {
      hint: `to build with this Dockerfile: archimage build -f ${path} ${dirname(path)}`,
    })
}

function defaultDockerfile(context: string): string {
  for (const name of ['Dockerfile', 'Containerfile', 'dockerfile'])
    if (existsSync(join(context, name))) return join(context, name)
  throw new ArchimageError('USAGE', `there is no Dockerfile in ${context}`, { hint: 'name it with -f' })
}

function placeOf(location: Location, root: string): string {
  switch (location.kind) {
    case 'git':
      return location.git.remote
    case 'http':
      return location.url.replace(/[?#].*$/s, '')
    case 'image':
      return parseReference(location.reference).repository
    case 'path':
    case 'layout':
      return location.path
    default:
      return root
  }
}

/** A name for the image of a context, made a valid one. */
function imageBase(reference: Reference | undefined, location: Location, root: string): string {
  const place = placeOf(location, root)
  const wanted =
    reference?.repository.split('/').at(-1) ?? basename(place).replace(/\.(?:git|tgz|tar(?:\.\w+)?|zip)$/i, '')
  const name = wanted
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
  return name === '' ? `image-${createHash('sha256').update(place).digest('hex').slice(0, 8)}` : name
}
