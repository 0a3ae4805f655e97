import { ArchimageError } from '../errors/error.ts'
import { buildPlatform, formatPlatform, type Platform, parsePlatform, parsePlatforms } from '../oci/platform.ts'
import { isTag } from '../oci/reference.ts'
import { loadProject } from '../project/load.ts'
import type { Service } from '../project/project.ts'
import { builtPlatforms } from '../run/records.ts'
import { openStore } from '../store/store.ts'
import { buildProject } from './build.ts'
import { addBuildFlags, refuseFlags } from './build-flags.ts'
import { refuseCall } from './call-method.ts'
import { command, type Invocation, parse, say, workingDirectory } from './command.ts'
import { readOutputs } from './execute.ts'
import { type Options, strings } from './request.ts'

/** Words of existing build scripts: each is archimage build with other options. */
const WORDS: Readonly<Record<string, { readonly usage: string; readonly about: string }>> = {
  all: {
    usage: '[--platform=amd64,arm64] [--force]',
    about: 'Builds every service; without --platform for this machine.',
  },
  'build-multiarch': {
    usage: '"linux/amd64,linux/arm64"',
    about: 'Builds every service for these platforms, under one tag each.',
  },
  'build-platform': { usage: 'linux/arm64', about: 'Builds every service for one platform.' },
  'push-all': {
    usage: 'REGISTRY/PROJECT TAG',
    about:
      'Pushes every service, for the platforms that it was built for, as REGISTRY/PROJECT/IMAGE:TAG; what is older than its sources is built first.',
  },
  'create-manifest': {
    usage: '[REGISTRY/PROJECT TAG]',
    about: 'Puts what was built for each platform under one tag per service; with a registry also pushes it.',
  },
}

export async function run(invocation: Invocation): Promise<number> {
  const { name, signal } = invocation
  const word = WORDS[name]!
  const program = addBuildFlags(command(invocation, `[options] ${word.usage}`, word.about))
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args } = parsed
  let { options } = parsed
  refuseFlags(program, options)
  refuseCall(invocation.name, options)
  const directory = workingDirectory(invocation, options)
  const wrong = (why: string): ArchimageError =>
    new ArchimageError('USAGE', `archimage ${name}: ${why}`, { hint: `archimage ${name} ${word.usage}` })
  if (name === 'build-multiarch' || name === 'build-platform') {
    if (args.length === 0) throw wrong('the platforms are missing')
    const platforms = parsePlatforms(args)
    if (name === 'build-platform' && platforms.length > 1) throw wrong('one platform at a time')
    options = { ...options, platform: args }
  } else if (name === 'push-all' || name === 'create-manifest') {
    if (name === 'push-all' && args.length !== 2) throw wrong('a registry and a tag are needed')
    if (name === 'create-manifest' && args.length !== 0 && args.length !== 2)
      throw wrong('nothing, or a registry and a tag')
    const [registry, tag] = args
    if (tag !== undefined && !isTag(tag)) throw wrong(`"${tag}" is not a tag`)
    if (registry !== undefined) options = { ...options, registry, tag: [tag], push: true }
    const platforms = await builtAndConfigured(options, directory)
    return buildProject([], directory, options, await readOutputs(options, directory), signal, platforms)
  } else {
    if (args.length > 0) throw wrong(`"${args[0]}" is too much`)
    if (strings(options['platform']).length === 0) options = { ...options, platform: [formatPlatform(buildPlatform())] }
  }
  return buildProject([], directory, options, await readOutputs(options, directory), signal)
}

/**
 * For each service the platforms that it was built for here and, with a project file, those that it has there; undefined when
 * --platform says it.
 */
async function builtAndConfigured(
  options: Options,
  directory: string,
): Promise<((service: Service) => readonly Platform[]) | undefined> {
  if (strings(options['platform']).length > 0) return undefined
  const file = options['project'] as string | undefined
  const project = await loadProject({ cwd: directory, ...(file === undefined ? {} : { projectFile: file }) })
  const store = openStore({ warn: say })
  try {
    const chosen = new Map<string, readonly Platform[]>()
    for (const service of project.services) {
      const built = builtPlatforms(project.root, service.name, store).map(parsePlatform)
      const configured = project.file !== undefined || built.length === 0 ? service.platforms : []
      const all = new Map([...configured, ...built].map(platform => [formatPlatform(platform), platform]))
      chosen.set(service.name, [...all.values()])
    }
    return service => chosen.get(service.name) ?? service.platforms
  } finally {
    store.close()
  }
}
