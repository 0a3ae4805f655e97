import { ArchimageError } from '../../errors/error.ts'
import { didYouMean } from '../../errors/suggest.ts'
import { terminal } from '../../sys/terminal.ts'
import type { Invocation } from '../command.ts'

interface Verb {
  readonly usage: string
  readonly about: string
  readonly load: () => Promise<{ run(invocation: Invocation, verb: string): Promise<number> }>
}

const edit = () => import('./edit.ts')
const show = () => import('./show.ts')
const spec = () => import('./spec.ts')

const VERBS: Readonly<Record<string, Verb>> = {
  create: { usage: 'LIST [IMAGE…]', about: 'put images under one name; --push pushes it at once', load: edit },
  add: { usage: 'LIST IMAGE…', about: 'add images, all of an index', load: edit },
  replace: { usage: 'LIST PLATFORM IMAGE', about: 'another image for a platform', load: edit },
  remove: { usage: 'LIST MEMBER…', about: 'take images out of it', load: edit },
  filter: { usage: 'LIST --platform P', about: 'keep these platforms only', load: edit },
  merge: { usage: 'LIST LIST…', about: 'add all that other indexes have', load: edit },
  annotate: {
    usage: 'LIST [MEMBER]',
    about: 'say platform and annotations',
    load: () => import('./annotate.ts'),
  },
  push: { usage: 'LIST [DESTINATION]', about: 'push it with its images', load: () => import('./push.ts') },
  inspect: { usage: '[LIST] IMAGE', about: 'print a manifest or an index, wherever it is', load: show },
  exists: { usage: 'LIST', about: 'exit code 0: it is there, 1: it is not', load: show },
  ls: { usage: '', about: 'list what is being put together', load: show },
  rm: { usage: 'LIST…', about: 'forget lists; what was pushed stays', load: show },
  'from-spec': { usage: 'FILE…', about: "push the lists that files of manifest-tool's form say", load: spec },
  'from-args': { usage: '--platforms P --template T --target NAME', about: 'the same from arguments', load: spec },
}

export async function run(invocation: Invocation): Promise<number> {
  const { verb, args } = split(invocation.args)
  if (verb === undefined || verb === 'help') {
    terminal(1).write(help())
    return verb === undefined && !args.includes('--help') && !args.includes('-h') ? 2 : 0
  }
  if (!Object.hasOwn(VERBS, verb))
    throw new ArchimageError('USAGE', `there is no command "archimage manifest ${verb}"`, {
      hint: didYouMean(verb, Object.keys(VERBS)) ?? 'archimage manifest --help lists them',
    })
  const module = await VERBS[verb]!.load()
  return module.run({ ...invocation, name: `manifest ${verb}`, args }, verb)
}

/** Of manifest-tool, which wants them before its command. */
const BEFORE: Readonly<Record<string, 'switch' | 'value'>> = {
  '--debug': 'switch',
  '--insecure': 'switch',
  '--plain-http': 'switch',
  '--username': 'value',
  '--password': 'value',
  '--docker-cfg': 'value',
}

/** `push [--type TYPE] from-spec FILE` is manifest-tool's way to say `from-spec`. */
function split(args: readonly string[]): { readonly verb: string | undefined; readonly args: readonly string[] } {
  let at = 0
  while (at < args.length && args[at]!.startsWith('-')) {
    const kind = Object.hasOwn(BEFORE, args[at]!) ? BEFORE[args[at]!] : undefined
    at += kind === 'value' ? 2 : 1
  }
  const verb = args[at]
  const rest = [...args.slice(0, at), ...args.slice(at + 1)]
  if (verb !== 'push') return { verb, args: rest }
  const inner = rest.findIndex(word => word === 'from-spec' || word === 'from-args')
  return inner < 0 ? { verb, args: rest } : { verb: rest[inner], args: rest.toSpliced(inner, 1) }
}

function help(): string {
  const lines = Object.entries(VERBS).map(([verb, { usage, about }]) => `  ${`${verb} ${usage}`.padEnd(50)}${about}`)
  return `${[
    'Usage: archimage manifest COMMAND',
    '',
    'Puts images under one name, each for its platform, in the words and with the flags of docker manifest, podman manifest and',
    'manifest-tool. A list is in the store of this machine until it is pushed.',
    '',
    ...lines,
    '',
    'archimage manifest COMMAND --help tells more.',
  ].join('\n')}\n`
}
