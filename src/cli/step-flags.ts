import { readFileSync, statSync } from 'node:fs'
import { isIP } from 'node:net'
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { parseCsvLine } from '../dockerfile/csv.ts'
import { parseSize } from '../dockerfile/size.ts'
import type { Secret, StepSettings } from '../engines/steps.ts'
import { ArchimageError, systemError } from '../errors/error.ts'
import { secret } from '../errors/redact.ts'
import { didYouMean } from '../errors/suggest.ts'
import type { StepNetwork } from '../plan/lowered.ts'
import type { StepPolicy } from '../plan/run-op.ts'
import { dockerConfigPath, readAuthFile } from '../registry/auth-file.ts'
import type { StepLimits } from '../sandbox/step.ts'
import { list } from './command.ts'

type Options = Readonly<Record<string, unknown>>

/** BuildKit's limit. */
const MAX_SECRET = 500 * 1024

/** Flags that matter to RUN steps; they are docker's. */
export function addStepFlags(program: Command): void {
  program
    .addOption(list('--secret <spec>', 'for RUN --mount=type=secret: id=NAME[,src=FILE|,env=VARIABLE]'))
    .addOption(list('--ssh <spec>', 'for RUN --mount=type=ssh: default, or NAME=SOCKET|KEY'))
    .addOption(
      new Option('--network <mode>', 'network of RUN steps that do not say it').choices(['default', 'none', 'host']),
    )
    .addOption(list('--allow <privilege>', 'what RUN steps may ask for: network.host, security.insecure'))
    .addOption(list('--add-host <host:ip>', 'a line in the hosts file of RUN steps'))
    .option('--shm-size <bytes>', 'size of /dev/shm in RUN steps: 64m')
    .addOption(list('--ulimit <limit>', 'limit of RUN steps: nofile=1024:2048'))
    .addOption(
      new Option(
        '--sandbox <how>',
        'start RUN steps this way; chroot hardly confines them, for containers that may not make namespaces',
      ).choices(['auto', 'namespaces', 'runc', 'crun', 'chroot']),
    )
    .option('--install-emulators', 'register QEMU for the platforms of RUN steps that cannot run here')
    .addOption(list('--resource <limit>', 'limit of each RUN step: memory=2g, cpu-quota=50000, pids=500'))
  for (const [flags, name] of LEGACY_LIMITS)
    program.addOption(new Option(flags, `the same as --resource ${name}=…`).hideHelp())
}

const LEGACY_LIMITS: readonly (readonly [flags: string, name: string])[] = [
  ['-m, --memory <bytes>', 'memory'],
  ['--memory-swap <bytes>', 'memory-swap'],
  ['-c, --cpu-shares <n>', 'cpu-shares'],
  ['--cpu-period <n>', 'cpu-period'],
  ['--cpu-quota <n>', 'cpu-quota'],
  ['--cpuset-cpus <cpus>', 'cpuset-cpus'],
  ['--cpuset-mems <nodes>', 'cpuset-mems'],
]

export interface StepFlags {
  readonly policy: StepPolicy
  readonly settings: StepSettings
  /** Build arguments that docker's configuration gives to every build. */
  readonly proxies: Readonly<Record<string, string>>
}

/**
 * What the command line says of RUN steps; paths are relative to `directory`. Reads the secrets: from here on no message
 * shows them. Throws USAGE.
 */
export function stepFlags(options: Options, directory: string, env: NodeJS.ProcessEnv = process.env): StepFlags {
  const all = (name: string): string[] => (Array.isArray(options[name]) ? (options[name] as string[]) : [])
  const secrets = new Map(all('secret').map(text => readSecret(text, directory, env)))
  const agents = new Map<string, readonly string[]>()
  for (const text of all('ssh')) {
    const [id, paths] = agent(text, directory, env)
    if (agents.has(id)) throw usage(`--ssh ${text}: "${id}" is given twice`, 'give every agent a name of its own')
    agents.set(id, paths)
  }
  const shmSize = options['shmSize'] === undefined ? undefined : bytes('--shm-size', String(options['shmSize']))
  return {
    policy: {
      network: (options['network'] as StepNetwork | undefined) ?? 'default',
      allow: all('allow').flatMap(privilege),
    },
    proxies: configuredProxies(env),
    settings: {
      secrets,
      agents,
      hosts: all('addHost').flatMap(text => text.split(',').map(host)),
      ...(shmSize ? { shmSize } : {}),
      ulimits: all('ulimit').map(ulimit),
      limits: limitsOf([
        ...LEGACY_LIMITS.flatMap(([flags, name]) => {
          const value = options[new Option(flags).attributeName()]
          return value === undefined ? [] : [`${name}=${value}`]
        }),
        ...all('resource'),
      ]),
      fresh:
        options['force'] === true || options['cache'] === false
          ? true
          : new Set(all('cacheFilter').flatMap(text => text.toLowerCase().split(','))),
    },
  }
}

function usage(message: string, hint: string): ArchimageError {
  return new ArchimageError('USAGE', message, { hint })
}

function readSecret(text: string, directory: string, env: NodeJS.ProcessEnv): readonly [string, Secret] {
  const fields = fieldsOf('--secret', text, ['id', 'type', 'src', 'source', 'env'])
  const type = fields.get('type')
  if (type !== undefined && type !== 'file' && type !== 'env')
    throw usage(`--secret ${text}: unknown type "${type}"`, 'there are file and env')
  const id = fields.get('id')
  if (!id) throw usage(`--secret ${text}: the id is missing`, 'write --secret id=NAME,src=FILE')
  let [file, variable] = [fields.get('src') ?? fields.get('source'), fields.get('env')]
  if (type === 'env' && !variable) [file, variable] = [undefined, file]
  if (!file && !variable) [file, variable] = env[id] === undefined ? [id, undefined] : [undefined, id]
  const value = variable ? Buffer.from(env[variable] ?? '') : secretFile(id, resolve(directory, file!))
  hideValue(value.toString('utf8'))
  const spec = variable ? `id=${id},env=${variable}` : `id=${id},src=${resolve(directory, file!)}`
  return [id, { bytes: value, spec }]
}

/** A step may print a key line by line; short lines are too common to be hidden. */
function hideValue(text: string): void {
  secret(text.trim())
  for (const line of text.split('\n')) if (line.trim().length >= 8) secret(line.trim())
}

function secretFile(id: string, path: string): Buffer {
  let value: Buffer
  try {
    value = readFileSync(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'EISDIR') throw systemError(error, `reading secret ${id}`)
    throw usage(
      `--secret id=${id}: there is no file ${path}`,
      `write id=${id},src=FILE, or id=${id},env=VARIABLE for the value of a variable`,
    )
  }
  if (value.length > MAX_SECRET)
    throw usage(`--secret id=${id}: ${path} has more than ${MAX_SECRET} bytes`, 'a secret is a key or a token')
  return value
}

/** An agent's socket, or keys for an agent of our own. */
function agent(text: string, directory: string, env: NodeJS.ProcessEnv): readonly [string, readonly string[]] {
  const equals = text.indexOf('=')
  const id = (equals < 0 ? text : text.slice(0, equals)) || 'default'
  const given = equals < 0 ? [] : text.slice(equals + 1).split(',')
  const paths = given.length === 0 || given[0] === '' ? [env['SSH_AUTH_SOCK'] ?? ''] : given
  if (paths[0] === '')
    throw usage(
      `--ssh ${text}: no agent runs here (SSH_AUTH_SOCK is not set)`,
      `start one with: eval $(ssh-agent) && ssh-add; or name a key: --ssh ${id}=$HOME/.ssh/id_ed25519`,
    )
  return [
    id,
    paths.map(path => {
      const full = resolve(directory, path)
      if (statSync(full, { throwIfNoEntry: false })) return full
      throw usage(`--ssh ${text}: ${full} does not exist`, 'name the socket of an agent, or a private key')
    }),
  ]
}

const PRIVILEGES = ['network.host', 'security.insecure']

function privilege(text: string): string[] {
  if (PRIVILEGES.includes(text)) return [text]
  // A privilege of buildx itself: what -o type=local may remove.
  if (text === 'buildx.local.delete') return []
  if (text === 'device' || text.startsWith('device='))
    throw new ArchimageError('UNSUPPORTED', `--allow ${text}: CDI devices are not supported`, { hint: 'leave it out' })
  throw usage(
    `--allow ${text}: there is no such privilege`,
    didYouMean(text, PRIVILEGES) ?? `there are ${PRIVILEGES.join(' and ')}`,
  )
}

/** The address of this machine, as steps reach it. */
const HOST_GATEWAY = 'host-gateway'

function host(text: string): readonly [string, string] {
  const [, name, given] = /^([^=:]+)[=:](.+)$/.exec(text) ?? []
  const ip = given?.replace(/^\[(.*)\]$/, '$1')
  if (name === undefined || ip === undefined || (ip !== HOST_GATEWAY && isIP(ip) === 0))
    throw usage(`--add-host ${text} is not HOST:IP`, 'for instance --add-host db:10.0.0.7, or db:host-gateway')
  return [name.toLowerCase(), ip]
}

const ULIMITS = 'core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(
  ' ',
)

function ulimit(text: string): { readonly name: string; readonly soft: number; readonly hard: number } {
  const [, name, soft, hard = soft] = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(text) ?? []
  if (name === undefined) throw usage(`--ulimit ${text} is not NAME=SOFT[:HARD]`, 'for instance nofile=1024:2048')
  if (!ULIMITS.includes(name))
    throw usage(
      `--ulimit ${text}: there is no "${name}"`,
      didYouMean(name, ULIMITS) ?? `there are ${ULIMITS.join(', ')}`,
    )
  const [low, high] = [Number(soft), Number(hard)]
  if (high !== -1 && (low === -1 || low > high))
    throw usage(`--ulimit ${text}: the soft limit is above the hard one`, 'write the lower one first')
  return { name, soft: low, hard: high }
}

const NUMBERS = {
  'cpu-shares': 'cpuShares',
  'cpu-period': 'cpuPeriod',
  'cpu-quota': 'cpuQuota',
  pids: 'pids',
} as const
const SETS = { 'cpuset-cpus': 'cpusetCpus', 'cpuset-mems': 'cpusetMems' } as const

function limitsOf(entries: readonly string[]): StepLimits {
  const limits: { -readonly [K in keyof StepLimits]: StepLimits[K] } = {}
  const names = ['memory', 'memory-swap', ...Object.keys(NUMBERS), ...Object.keys(SETS)]
  for (const entry of entries) {
    const [name, value] = pair(entry)
    const wrong = (what: string): ArchimageError =>
      usage(`--resource ${entry}: "${value}" is no ${what}`, 'for instance memory=2g, cpu-quota=50000, cpuset-cpus=0-3')
    if (name === 'memory') limits.memory = bytes('--resource memory', value)
    else if (name === 'memory-swap') limits.memorySwap = value === '-1' ? -1 : bytes('--resource memory-swap', value)
    else if (name === 'cpu-shares' || name === 'cpu-period' || name === 'cpu-quota' || name === 'pids') {
      if (!/^[1-9]\d{0,14}$/.test(value)) throw wrong('number')
      limits[NUMBERS[name]] = Number(value)
    } else if (name === 'cpuset-cpus' || name === 'cpuset-mems') {
      if (!/^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(value)) throw wrong('list of numbers')
      limits[SETS[name]] = value
    } else
      throw usage(
        `--resource ${entry}: there is no limit "${name}"`,
        didYouMean(name, names) ?? `there are ${names.join(', ')}`,
      )
  }
  return limits

  function pair(entry: string): readonly [string, string] {
    const equals = entry.indexOf('=')
    if (equals < 0) throw usage(`--resource ${entry} is not NAME=VALUE`, 'for instance memory=2g')
    return [entry.slice(0, equals).trim(), entry.slice(equals + 1).trim()]
  }
}

function bytes(flag: string, text: string): number {
  const size = parseSize(text)
  if (size === undefined || size === 0) throw usage(`${flag} ${text} is not a size`, 'for instance 512m, 2g')
  return size
}

function fieldsOf(flag: string, text: string, known: readonly string[]): ReadonlyMap<string, string> {
  const fields = new Map<string, string>()
  for (const field of parseCsvLine(text) ?? []) {
    const equals = field.indexOf('=')
    const key = (equals < 0 ? field : field.slice(0, equals)).toLowerCase()
    if (equals < 0 || !known.includes(key))
      throw usage(
        `${flag} ${text}: ${equals < 0 ? `"${field}" has no value` : `there is no option "${key}"`}`,
        didYouMean(key, known) ?? `write it as ${known.map(name => `${name}=…`).join(', ')}`,
      )
    fields.set(key, field.slice(equals + 1))
  }
  return fields
}

function configuredProxies(env: NodeJS.ProcessEnv): Record<string, string> {
  const all = readAuthFile(dockerConfigPath(env))?.json['proxies'] as
    | Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>
    | undefined
  const own = all?.['default']
  const proxies: Record<string, string> = {}
  for (const name of ['http', 'https', 'ftp', 'no', 'all']) {
    const value = own?.[`${name}Proxy`]
    if (typeof value !== 'string' || value === '') continue
    proxies[`${name.toUpperCase()}_PROXY`] = value
    proxies[`${name}_proxy`] = value
  }
  return proxies
}
