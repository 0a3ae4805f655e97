import { ArchimageError } from '../errors/error.ts'
import { formatPlatform, type Platform, parsePlatform, parsePlatforms } from '../oci/platform.ts'
import { isTag } from '../oci/reference.ts'
import { loadProject } from '../project/load.ts'
import { builtPlatforms } from '../run/records.ts'
import { openStore } from '../store/store.ts'
import { buildProject } from './build.ts'
import { addBuildFlags, refuseFlags } from './build-flags.ts'
import { command, type Invocation, parse, say, workingDirectory } from './command.ts'
import { readOutputs } from './execute.ts'
import { type Options, strings } from './request.ts'

/** Words of existing build scripts: each is archimage build with other options. */
const WORDS: Readonly<Record<string, { readonly usage: string; readonly about: string }>> = {
  all: {
    usage: '[--platform=amd64,arm64] [--force]',
    about: "Builds every service; without --platform for the project's platforms, or this machine's.",
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
    options = await withBuiltPlatforms(
      registry === undefined ? options : { ...options, registry, tag: [tag], push: true },
      directory,
    )
  } else if (args.length > 0) throw wrong(`"${args[0]}" is too much`)
  return buildProject([], directory, options, await readOutputs(options), signal)
}

/** The platforms that services were built for here; --platform wins, and without any the project's. */
async function withBuiltPlatforms(options: Options, directory: string): Promise<Options> {
  if (strings(options['platform']).length > 0) return options
  const file = options['project'] as string | undefined
  const project = await loadProject({ cwd: directory, ...(file === undefined ? {} : { projectFile: file }) })
  const store = openStore({ warn: say })
  try {
    const found = new Map<string, Platform>()
    for (const service of project.services)
      for (const text of builtPlatforms(project.root, service.name, store)) found.set(text, parsePlatform(text))
    for (const platform of project.file === undefined ? [] : project.platforms)
      found.set(formatPlatform(platform), platform)
    for (const service of project.services)
      if (project.file !== undefined || found.size === 0)
        for (const platform of service.platforms) found.set(formatPlatform(platform), platform)
    return { ...options, platform: [...found.keys()] }
  } finally {
    store.close()
  }
}
