import { statSync } from 'node:fs'
import { ArchimageError } from '../errors/error.ts'
import { redact, secret } from '../errors/redact.ts'
import { type Finished, runProgram } from '../sys/spawn.ts'
import { basic, decoded, type User } from './basic.ts'

/** Environment variables that git gets as they are; it sees nothing else of the user's. */
const PASSED = [
  ...['PATH', 'TMPDIR', 'SystemRoot', 'SSH_AUTH_SOCK', 'SSL_CERT_FILE', 'SSL_CERT_DIR'],
  ...['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'ALL_PROXY', 'http_proxy', 'https_proxy', 'no_proxy', 'all_proxy'],
]

/** What a repository could otherwise bring to run or to read on this machine is off; so is what would ask somebody. */
const CONFIG: Readonly<Record<string, string>> = {
  'core.hooksPath': '/dev/null',
  'core.fsmonitor': 'false',
  'core.attributesFile': '/dev/null',
  'core.logAllRefUpdates': 'false',
  'core.symlinks': 'true',
  'credential.helper': '',
  'gc.auto': '0',
  'maintenance.auto': 'false',
  'http.lowSpeedLimit': '100',
  'http.lowSpeedTime': '60',
  'init.defaultBranch': 'master',
  'protocol.allow': 'never',
  'protocol.http.allow': 'always',
  'protocol.https.allow': 'always',
  'protocol.ssh.allow': 'always',
  'protocol.git.allow': 'always',
}

export interface GitTools {
  readonly env: NodeJS.ProcessEnv
  readonly signal: AbortSignal
  /** Keys of hosts that were met for the first time are remembered here, as ssh does in known_hosts. */
  readonly knownHosts: string
  /** `--ssh default=…`: the socket of an agent, or keys. Without it ssh has the agent of the environment and the user's own keys. */
  readonly ssh?: readonly string[]
  /** `--secret`: BuildKit's GIT_AUTH_TOKEN and GIT_AUTH_HEADER, also with `.host`. */
  readonly secret?: (id: string) => string | undefined
}

export interface GitRun {
  readonly cwd?: string
  readonly config?: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
  /** The repository that is talked to: credentials for its host go along, and it is named in errors. */
  readonly remote?: string
}

/**
 * Runs git with a configuration of its own: nothing of the user's or the machine's is read, no hook, no credential helper
 * and no prompt can run. Throws TOOL_MISSING, CANCELLED, and for whatever git refuses what `failure` makes of it.
 */
export async function git(args: readonly string[], tools: GitTools, run: GitRun = {}): Promise<string> {
  const finished = await tryGit(args, tools, run)
  if (finished.code !== 0) throw failure(run.remote, finished)
  return finished.stdout.toString('utf8')
}

/** The same for callers that know what to do with a failure. */
export async function tryGit(args: readonly string[], tools: GitTools, run: GitRun = {}): Promise<Finished> {
  const access = accessTo(run.remote, tools)
  if (access === undefined) return start(args, tools, run)
  const { origin, header, user } = access
  // Git would send the header along to wherever a redirect leads.
  const first = { [`http.${origin}/.extraHeader`]: `Authorization: ${header}`, 'http.followRedirects': 'false' }
  const finished = await start(args, tools, { ...run, config: { ...first, ...run.config } })
  if (finished.code === 0 || !REDIRECTED.test(finished.stderr.toString('utf8'))) return finished
  // What it asks for itself it gives to that origin alone.
  const { name = '', password = '' } = user ?? {}
  if (user === undefined || /[\0\r\n]/.test(name + password)) return start(args, tools, run)
  const second = { [`credential.${origin}.helper`]: HELPER }
  const env = { ...run.env, ARCHIMAGE_GIT_USER: name, ARCHIMAGE_GIT_PASSWORD: password }
  return start(args, tools, { ...run, config: { ...second, ...run.config }, env })
}

const REDIRECTED = /returned error: 30[12378]\b/
const HELPER =
  '!f() { test "$1" != get || printf "username=%s\\npassword=%s\\n" "$ARCHIMAGE_GIT_USER" "$ARCHIMAGE_GIT_PASSWORD"; }; f'

async function start(args: readonly string[], tools: GitTools, run: GitRun): Promise<Finished> {
  const config = Object.entries({ ...CONFIG, ...run.config })
  const kept = PASSED.flatMap(name => (tools.env[name] === undefined ? [] : [[name, tools.env[name]] as const]))
  const env: Record<string, string> = {
    ...Object.fromEntries(kept),
    HOME: '/dev/null',
    XDG_CONFIG_HOME: '/dev/null',
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '',
    SSH_ASKPASS: '',
    GIT_SSH_VARIANT: 'ssh',
    ...ssh(tools),
    // In the environment, not as arguments, which everybody on the machine can read.
    GIT_CONFIG_COUNT: String(config.length),
    ...Object.fromEntries(
      config.flatMap(([key, value], i) => [
        [`GIT_CONFIG_KEY_${i}`, key],
        [`GIT_CONFIG_VALUE_${i}`, value],
      ]),
    ),
    ...run.env,
  }
  try {
    return await runProgram('git', args, {
      env,
      signal: tools.signal,
      ...(run.cwd === undefined ? {} : { cwd: run.cwd }),
    })
  } catch (error) {
    if (tools.signal.aborted) throw new ArchimageError('CANCELLED', 'interrupted')
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new ArchimageError('TOOL_MISSING', 'git is not installed, and a source of the build is a git repository', {
      hint: 'install git, or clone the repository and build the folder',
      cause: error,
    })
  }
}

/** ssh asks nobody; it remembers hosts in a file of the store, and knows those of the user. */
function ssh({ ssh: given = [], knownHosts }: GitTools): Record<string, string> {
  const socket = given.find(path => statSync(path, { throwIfNoEntry: false })?.isSocket())
  const keys = given.filter(path => path !== socket)
  const options = {
    BatchMode: 'yes',
    ConnectTimeout: '30',
    ServerAliveInterval: '20',
    StrictHostKeyChecking: 'accept-new',
    UserKnownHostsFile: `"${knownHosts}" ~/.ssh/known_hosts ~/.ssh/known_hosts2`,
    ...(keys.length > 0 ? { IdentitiesOnly: 'yes' } : {}),
  }
  const words = [
    ...['-F', '/dev/null', ...keys.flatMap(key => ['-i', key])],
    ...Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
  ]
  return {
    // git gives it to a shell.
    GIT_SSH_COMMAND: ['ssh', ...words.map(word => `'${word.replaceAll("'", "'\\''")}'`)].join(' '),
    ...(socket === undefined ? {} : { SSH_AUTH_SOCK: socket }),
  }
}

/** The URL without user and password, which travel as a header; ssh needs its user. */
export function withoutCredentials(remote: string): string {
  return remote.replace(/^(https?:\/\/)[^/]*@/, '$1')
}

interface Access {
  /** The host that it is for, and no other. */
  readonly origin: string
  /** Authorization. */
  readonly header: string
  readonly user?: User
}

/** What gives access to a repository: secrets of the build first, then user and password of its URL. */
function accessTo(remote: string | undefined, tools: GitTools): Access | undefined {
  const [, scheme, userInfo, host = ''] = /^(https?:\/\/)(?:([^/]*)@)?([^/?#]*)/.exec(remote ?? '') ?? []
  if (scheme === undefined) return undefined
  const origin = scheme + host
  const ask = (id: string): string | undefined => {
    const value = tools.secret?.(id)?.trim()
    if (value) secret(value)
    return value || undefined
  }
  for (const suffix of [`.${host}`, '']) {
    const header = ask(`GIT_AUTH_HEADER${suffix}`)
    if (header !== undefined) return { origin, header, ...userOf(header) }
    const token = ask(`GIT_AUTH_TOKEN${suffix}`)
    if (token !== undefined) return { origin, ...basicOf({ name: 'x-access-token', password: token }) }
  }
  if (userInfo === undefined) return undefined
  const [name = '', ...password] = userInfo.split(':').map(decoded)
  return { origin, ...basicOf({ name, password: password.join(':') }) }
}

function basicOf(user: User): Pick<Access, 'header' | 'user'> {
  return { header: basic(user), user }
}

function userOf(header: string): Pick<Access, 'user'> {
  const [, value] = /^basic +(\S+)$/i.exec(header) ?? []
  if (value === undefined) return {}
  const [name = '', ...password] = Buffer.from(value, 'base64').toString('utf8').split(':')
  return { user: { name, password: password.join(':') } }
}

const UNREACHABLE =
  /could not resolve host|couldn't resolve|unable to connect|failed to connect|connection (?:refused|reset|timed out|closed)|operation timed out|network is unreachable|no route to host|operation too slow/i
const DENIED =
  /authentication failed|could not read (?:username|password)|terminal prompts disabled|permission denied|access denied|error: 40[13]/i

/** The error for what git could not do, in its own words. */
export function failure(remote: string | undefined, { code, stderr, stdout }: Finished): ArchimageError {
  const text = redact(`${stderr.toString('utf8')}\n${stdout.toString('utf8')}`)
  const lines = text
    .split(/[\r\n]+/)
    .map(line => line.replace(/\p{Cc}/gu, ' ').trim())
    .filter(line => line !== '' && !/^(?:remote: (?:Counting|Compressing|Total)|Receiving|Resolving)/.test(line))
  const telling = lines.filter(line => /^(?:fatal|error|remote|ssh|ERROR|Host key)\b/.test(line))
  const said = (telling.length > 0 ? telling : lines).slice(0, 4).join('; ').slice(0, 600)
  const where = remote === undefined ? 'git' : withoutCredentials(remote)
  const message = `${where}: ${said || `git ended with code ${code}`}`
  const hint = DENIED.test(said)
    ? 'credentials are wanted: an SSH agent for ssh, --secret id=GIT_AUTH_TOKEN,env=TOKEN for https'
    : UNREACHABLE.test(said)
      ? 'check the address, DNS, and HTTPS_PROXY and NO_PROXY of this machine; --offline takes what the store has from last time'
      : undefined
  return new ArchimageError(UNREACHABLE.test(said) ? 'SOURCE_UNREACHABLE' : 'SOURCE_FAILED', message, {
    ...(hint === undefined ? {} : { hint }),
  })
}
