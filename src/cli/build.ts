import { existsSync, statSync } from 'node:fs'
import { isAbsolute, join, resolve } from 'node:path'
import { dockerfileFromStdin } from '../context/stdin.ts'
import { ArchimageError } from '../errors/error.ts'
import { type Platform, platformTag } from '../oci/platform.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import { loadProject } from '../project/load.ts'
import type { Project, Service } from '../project/project.ts'
import { selectServices } from '../project/select.ts'
import type { CellSettings } from '../run/prepare.ts'
import { addBuildFlags, refuseFlags } from './build-flags.ts'
import { callOf } from './call-method.ts'
import { command, type Invocation, parse, workingDirectory } from './command.ts'
import { execute, type Outputs, readOutputs } from './execute.ts'
import {
  archPattern,
  askedPlatforms,
  buildContexts,
  FROM_URL,
  isPath,
  isUrl,
  type Options,
  platformsOf,
  requestOf,
  runFlags,
  settingsOf,
  singleImage,
  withOverrides,
} from './request.ts'
import { dockerfilesOf, enterForSteps } from './step-user.ts'

const ABOUT = `Builds the project in this folder: every service, or those that are named, for all their platforms; puts the images of a
service under one tag; with --push publishes them; reads everything back. With a context (anything with "/" or a leading
".", an archive, a URL, a git repository, "-") builds one image, with the flags of docker buildx build.`

export async function run(invocation: Invocation): Promise<number> {
  const program = addBuildFlags(command(invocation, '[options] [SERVICE… | PATH | URL | -]', ABOUT))
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  refuseFlags(program, options)
  const directory = workingDirectory(invocation, options)
  const call = callOf(options)
  if (call) return (await import('./call.ts')).runCall(call, args, options, directory, invocation.signal)
  const outputs = await readOutputs(options, directory)
  const paths = args.filter(isPath)
  if (paths.length > 0) {
    if (args.length > 1)
      throw new ArchimageError('USAGE', `one path can be built at a time, not ${args.join(' ')}`, {
        hint: 'services are named without "/" and "."',
      })
    return buildPath(paths[0]!, directory, options, outputs, invocation.signal)
  }
  return buildProject(args, directory, options, outputs, invocation.signal)
}

/** `platformsFor` says for which platforms a service is built where neither --platform nor the project does. */
export async function buildProject(
  names: readonly string[],
  directory: string,
  options: Options,
  outputs: Outputs,
  signal: AbortSignal,
  platformsFor?: (service: Service) => readonly Platform[],
): Promise<number> {
  const file = options['project'] as string | undefined
  const found = await loadProject({ cwd: directory, ...(file === undefined ? {} : { projectFile: file }) })
  notFolders(names, found, directory)
  const loaded = withOverrides(found, options)
  const chosen = selectServices(loaded, names)
  for (const flag of ['file', 'iidfile'])
    if (options[flag] !== undefined && chosen.length !== 1)
      throw new ArchimageError('USAGE', `--${flag} is for one image, and there are ${chosen.length} services`, {
        hint: 'name one of them, or give the path of a context: archimage build -f Dockerfile .',
      })
  if (outputs.list.some(output => output.names !== undefined))
    throw new ArchimageError('USAGE', '-o with name=: in a project the names come from the project', {
      hint: 'leave name= out, or give the path of one context',
    })
  const entered = await enterForSteps(dockerfilesOf(loaded, directory, options), options, signal)
  if (typeof entered === 'number') return entered
  const { project, settings: own } = withFlags(loaded, chosen, directory, options)
  const services = selectServices(project, names)
  const platforms = platformsFor ?? platformsOf(project, services, askedPlatforms(options))
  const pushing = withPush(options, outputs)
  const settings = settingsOf(pushing, outputs.choice, directory, own)
  const byDigest = outputs.list.some(output => output.pushByDigest)
  const request = requestOf(project, services, platforms, pushing, settings)
  const caches = { ...outputs.caches, single: false }
  const more = { caches, ...(byDigest ? { byDigest } : {}), means: entered }
  return execute({ ...request, ...more }, pushing, outputs, signal, project.root)
}

/** Words are services; docker's users write folders that way. Throws UNKNOWN_SERVICE. */
function notFolders(names: readonly string[], { services }: Project, directory: string): void {
  for (const name of names) {
    if (services.some(service => service.name === name || service.image === name)) continue
    if (statSync(resolve(directory, name), { throwIfNoEntry: false })?.isDirectory() !== true) continue
    throw new ArchimageError('UNKNOWN_SERVICE', `there is no service "${name}"`, {
      hint: `a word without "/" is a service; the folder of that name is ./${name}: archimage build ./${name}`,
    })
  }
}

async function buildPath(
  path: string,
  directory: string,
  options: Options,
  outputs: Outputs,
  signal: AbortSignal,
): Promise<number> {
  const entered = await enterForSteps([dockerfileOf(path, directory, options)], options, signal)
  if (typeof entered === 'number') return entered
  const {
    project,
    names,
    settings: own,
  } = singleImage(path, directory, withNames(options, outputs), dockerfileFromStdin)
  const pushing = withPush(options, outputs)
  if (pushing['push'] === true && withNames(options, outputs)['tag'] === undefined)
    throw new ArchimageError('USAGE', '--push needs a name to push to', {
      hint: 'archimage build --push -t registry.example.com/team/app:1.0 .',
    })
  const { settings, indexAnnotations } = settingsOf(pushing, outputs.choice, directory)
  const byDigest = outputs.list.some(output => output.pushByDigest)
  const service = project.services[0]!
  return execute(
    {
      project,
      services: [service],
      platformsOf: () => service.platforms,
      settings: { ...settings, ...own },
      ...runFlags(pushing),
      names: () => names,
      archNames: (_, platform) => archNamesOf(names, platform, pushing),
      ...(byDigest ? { byDigest } : {}),
      means: entered,
      caches: { ...outputs.caches, single: true },
      indexAnnotations,
    },
    pushing,
    outputs,
    signal,
    undefined,
  )
}

/** The Dockerfile of a context that is a folder here, as far as it can be told without reading anything. */
function dockerfileOf(path: string, directory: string, options: Options): string | undefined {
  const file = options['file'] as string | undefined
  const folder = statSync(resolve(directory, path), { throwIfNoEntry: false })?.isDirectory() === true
  if (file !== undefined) {
    const isHere = folder ? file !== '-' && !isUrl(file) : isAbsolute(file)
    return isHere ? resolve(directory, file) : undefined
  }
  if (!folder) return undefined
  const names = ['Dockerfile', 'Containerfile'].map(name => resolve(directory, path, name))
  return names.find(name => existsSync(name)) ?? names[0]
}

/** -f is the Dockerfile of the one service that is built, --build-context a further context of each. */
export function withFlags(
  project: Project,
  chosen: readonly Service[],
  directory: string,
  options: Options,
): { readonly project: Project; readonly settings: Pick<CellSettings, 'dockerfiles' | 'dockerfileUrl'> } {
  const contexts = buildContexts(options, directory)
  const dockerfiles = new Map<string, Uint8Array>()
  const file = options['file'] as string | undefined
  let dockerfile: string | undefined
  if (file === '-') {
    dockerfile = join(project.root, 'Dockerfile on standard input')
    dockerfiles.set(dockerfile, dockerfileFromStdin())
  } else if (file !== undefined) dockerfile = isUrl(file) ? join(project.root, FROM_URL) : resolve(directory, file)
  const services = project.services.map(service => {
    if (!chosen.includes(service)) return service
    const { platformDockerfilesOnly: _, ...rest } = service
    return {
      ...(dockerfile === undefined ? service : { ...rest, dockerfile, dockerfiles: {} }),
      buildContexts: { ...service.buildContexts, ...contexts },
    }
  })
  const url = file !== undefined && isUrl(file) ? { dockerfileUrl: { path: dockerfile!, url: file } } : {}
  return { project: { ...project, services }, settings: { dockerfiles, ...url } }
}

/** `-o type=image,name=…` names images as -t does. */
function withNames(options: Options, outputs: Outputs): Options {
  const names = outputs.list.flatMap(output => output.names ?? [])
  return names.length === 0
    ? options
    : { ...options, tag: [...((options['tag'] as string[] | undefined) ?? []), ...names] }
}

function withPush(options: Options, outputs: Outputs): Options {
  return outputs.list.some(output => output.push) ? { ...options, push: true } : options
}

function archNamesOf(names: readonly Reference[], platform: Platform, options: Options): Reference[] {
  if (!options['archTags']) return []
  const text = archPattern(options) ?? '{tag}-{arch}'
  return names.flatMap(name => {
    if (name.tag === undefined) return []
    const slash = name.repository.lastIndexOf('/') + 1
    const fill = (part: string): string =>
      part
        .replaceAll('{image}', name.repository.slice(slash))
        .replaceAll('{tag}', name.tag!)
        .replaceAll('{arch}', platformTag(platform))
    const filled = fill(text)
    if (!text.includes('{image}')) return [{ ...name, tag: filled }]
    return [parseReference(`${name.registry}/${name.repository.slice(0, slash)}${filled}`)]
  })
}
