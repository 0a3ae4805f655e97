import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { terminal } from '../sys/terminal.ts'
import type { CommandModule, Invocation } from './command.ts'
import { VERSION } from './version.ts'

interface Entry {
  readonly about: string
  readonly group: 'build' | 'images' | 'scripts' | 'machine'
  readonly load: () => Promise<CommandModule>
}

/** Commands are loaded when they are called: start-up time is part of the product (DESIGN §6). */
const COMMANDS: Readonly<Record<string, Entry>> = {
  build: {
    group: 'build',
    about: 'build the project here, or one image: build PATH',
    load: () => import('./build.ts'),
  },
  plan: { group: 'build', about: 'show what a build would do, and why', load: () => import('./plan.ts') },
  lint: { group: 'build', about: 'check the Dockerfiles, for every platform', load: () => import('./lint.ts') },
  init: { group: 'build', about: 'write archimage.yaml from what is found here', load: () => import('./init.ts') },
  verify: {
    group: 'build',
    about: 'check that every service and platform is where it should be',
    load: () => import('./verify.ts'),
  },
  ls: {
    group: 'images',
    about: 'list the images in the store, or the tags of a repository',
    load: () => import('./ls.ts'),
  },
  rm: {
    group: 'images',
    about: 'remove images from the store, or tags from a registry',
    load: () => import('./rm.ts'),
  },
  tag: {
    group: 'images',
    about: 'give an image another name, in the store or in its registry',
    load: () => import('./tag.ts'),
  },
  push: {
    group: 'images',
    about: 'push an image of the store with all its platforms',
    load: () => import('./push.ts'),
  },
  mutate: {
    group: 'images',
    about: 'edit an image without building it: labels, env, entrypoint, layers, base …',
    load: () => import('./mutate.ts'),
  },
  inspect: {
    group: 'images',
    about: 'show an image, wherever it is: platforms, layers, config; of two the difference',
    load: () => import('./inspect.ts'),
  },
  copy: {
    group: 'images',
    about: 'copy images between registries, the store, layouts, archives, docker, podman',
    load: () => import('./copy/copy.ts'),
  },
  sync: {
    group: 'images',
    about: "keep images in step as a file of skopeo's or regsync's says",
    load: () => import('./sync.ts'),
  },
  serve: {
    group: 'images',
    about: 'run a registry over a folder, a layout or an archive',
    load: () => import('./serve.ts'),
  },
  manifest: {
    group: 'images',
    about: 'put images under one name: create, add, annotate, push, inspect …',
    load: () => import('./manifest/manifest.ts'),
  },
  cache: {
    group: 'machine',
    about: 'show and prune what the store keeps: cache du, cache prune',
    load: () => import('./cache.ts'),
  },
  doctor: {
    group: 'machine',
    about: 'say what archimage can do on this machine, and what to do about the rest',
    load: () => import('./doctor.ts'),
  },
  emulators: {
    group: 'machine',
    about: 'show and register what runs foreign platforms: ls, install, uninstall',
    load: () => import('./emulators.ts'),
  },
  login: { group: 'machine', about: 'keep credentials for a registry', load: () => import('./login.ts') },
  logout: { group: 'machine', about: 'forget credentials for a registry', load: () => import('./logout.ts') },
  version: { group: 'machine', about: 'print the version', load: () => import('./print-version.ts') },
  all: {
    group: 'scripts',
    about: 'build every service: all --platform=amd64,arm64 [--force]',
    load: () => import('./words.ts'),
  },
  'build-multiarch': {
    group: 'scripts',
    about: 'build every service: build-multiarch "linux/amd64,linux/arm64"',
    load: () => import('./words.ts'),
  },
  'build-platform': {
    group: 'scripts',
    about: 'build every service for one platform: build-platform linux/arm64',
    load: () => import('./words.ts'),
  },
  'push-all': {
    group: 'scripts',
    about: 'push every service: push-all REGISTRY/PROJECT TAG',
    load: () => import('./words.ts'),
  },
  'create-manifest': {
    group: 'scripts',
    about: 'put what was built for each platform under one tag per service',
    load: () => import('./words.ts'),
  },
  'diagnose-multiarch': {
    group: 'scripts',
    about: 'say what archimage can do on this machine: doctor',
    load: () => import('./doctor.ts'),
  },
}

/** Words of the design that have no command behind them yet: said plainly, never "unknown". */
const LATER: Readonly<Record<string, string>> = {
  export: 'archimage build -o type=oci,dest=FILE writes all platforms of a service to one archive',
  load: 'docker load and podman load take what archimage build -o type=docker,dest=FILE writes',
  completion: 'archimage help lists the commands',
  'init-env':
    'nothing has to be prepared: archimage build needs no builder, no daemon and no emulator for images without RUN',
}

const GROUPS = [
  ['build', 'Build'],
  ['images', 'Images'],
  ['scripts', 'Words of existing scripts'],
  ['machine', 'This machine'],
] as const

/** Runs what the command line says. Returns the exit code; throws ArchimageError. */
export async function dispatch(argv: readonly string[], signal: AbortSignal): Promise<number> {
  const { name, args, directory } = split(argv)
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    const topic = args.find(arg => !arg.startsWith('-'))
    if (topic !== undefined && Object.hasOwn(COMMANDS, topic)) return dispatch([topic, '--help'], signal)
    terminal(1).write(help())
    return name === undefined ? 2 : 0
  }
  if (name === '--version' || name === '-v' || name === '-V') {
    terminal(1).write(`archimage ${VERSION}\n`)
    return 0
  }
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (!entry) throw unknown(name)
  const invocation: Invocation = { name, args, directory, signal }
  return (await entry.load()).run(invocation)
}

/** `-C DIR` may stand before the command. */
function split(argv: readonly string[]): {
  name: string | undefined
  args: readonly string[]
  directory: string | undefined
} {
  let directory: string | undefined
  let i = 0
  for (; i < argv.length; i++) {
    const word = argv[i]!
    if (word === '-C') directory = argv[++i]
    else if (word.startsWith('-C') && word.length > 2) directory = word.slice(2)
    else break
  }
  return { name: argv[i], args: argv.slice(i + 1), directory }
}

function unknown(name: string): ArchimageError {
  const later = Object.hasOwn(LATER, name) ? LATER[name] : undefined
  if (later !== undefined)
    return new ArchimageError('UNSUPPORTED', `"archimage ${name}" does not exist yet`, { hint: later })
  const hint = name.startsWith('-')
    ? 'options stand after the command: archimage build --push'
    : (didYouMean(name, Object.keys(COMMANDS)) ?? 'archimage help lists the commands')
  return new ArchimageError(
    'USAGE',
    name.startsWith('-') ? `option ${name} needs a command` : `there is no command "${name}"`,
    { hint },
  )
}

function help(): string {
  const lines = [
    'archimage: a repository of services becomes verified multi-architecture images',
    '',
    'Usage: archimage [-C DIR] COMMAND [ARGUMENTS]',
    '',
    '  archimage build --push          build what changed for all platforms, publish it, read it back',
    '  archimage build -t app:1 .      build one image, with the flags of docker buildx build',
  ]
  for (const [group, title] of GROUPS) {
    lines.push('', `${title}:`)
    for (const [name, entry] of Object.entries(COMMANDS))
      if (entry.group === group) lines.push(`  ${name.padEnd(15)} ${entry.about}`)
  }
  return `${lines.join('\n')}\n\narchimage COMMAND --help tells more.\n`
}
