import type { RunInstruction } from '../dockerfile/ast.ts'
import { parseDevice } from '../dockerfile/devices.ts'
import type { Fail } from '../dockerfile/fault.ts'
import { type Mount, parseMount } from '../dockerfile/mounts.ts'
import { scriptOf } from '../dockerfile/script.ts'
import { ArchimageError } from '../errors/error.ts'
import type { CopySource, RunMount, RunOp, StepNetwork } from './lowered.ts'
import { slashed, withoutDrive } from './paths.ts'
import { clean, join, nameOf } from './posix.ts'
import type { StageState } from './stage-state.ts'

/** What the command line says of RUN steps and what is part of them: the rest of its flags changes no result. */
export interface StepPolicy {
  /** `--network`: for steps that do not say it themselves. */
  readonly network: StepNetwork
  /** `--allow`: `network.host`, `security.insecure`. */
  readonly allow: readonly string[]
}

export const NO_PRIVILEGES: StepPolicy = { network: 'default', allow: [] }

/** Docker's name for the machine that a step believes to run on. */
const HOSTNAME = 'buildkitsandbox'

interface RunInput extends Pick<RunOp, 'line' | 'range' | 'label'> {
  readonly file: string
  /** --build-arg. */
  readonly args: Readonly<Record<string, string>>
  readonly steps: StepPolicy
  readonly warnings: string[]
  readonly mountSource: (name: string, instruction: RunInstruction) => Promise<CopySource>
  /** Expands a word. */
  readonly word: (text: string) => string
  readonly fail: Fail
}

/** RUN with everything expanded, as BuildKit's frontend does. Throws DOCKERFILE_INVALID, NOT_ALLOWED, UNSUPPORTED. */
export function runOp(instruction: RunInstruction, state: StageState, input: RunInput): RunOp | Promise<RunOp> {
  const { args, steps, word, fail, line, range, label } = input
  refuseDevices(instruction, input)
  const network = networkOf(instruction, steps)
  const insecure = isInsecure(instruction, steps)
  const windows = state.platform.os === 'windows'
  const script = scriptOf(instruction, state.image.os === 'windows')
  if (script.kind === 'exec' && script.args.length === 0)
    throw fail('RUN [] starts nothing', 'name the program: RUN ["/bin/sh", "-c", "…"]')
  const mounts: RunMount[] = []
  if (script.kind === 'file')
    mounts.push({ kind: 'script', target: `/dev/pipes/${script.name}`, content: script.content })
  return instruction.mounts.length === 0 ? operation() : addMounts().then(operation)

  function operation(): RunOp {
    const env: string[] = []
    for (const [key, value] of state.env) env.push(`${key}=${value}`)
    const ssh = mounts.find(mount => mount.kind === 'ssh')
    if (ssh && !state.env.has('SSH_AUTH_SOCK')) env.push(`SSH_AUTH_SOCK=${ssh.target}`)
    // DESIGN §4, times: steps see the moment that their files get.
    const epoch = Object.hasOwn(args, 'SOURCE_DATE_EPOCH') ? args['SOURCE_DATE_EPOCH'] : undefined
    if (epoch && !state.env.has('SOURCE_DATE_EPOCH')) env.push(`SOURCE_DATE_EPOCH=${epoch}`)
    return {
      kind: 'run',
      args:
        script.kind === 'exec'
          ? script.args
          : [...shellOf(state), script.kind === 'file' ? `/dev/pipes/${script.name}` : script.text],
      env,
      cwd: slashed(state.config.WorkingDir || '/', state.platform.os),
      user: state.config.User ?? '',
      mounts: inOrder(mounts),
      network,
      insecure,
      hostname: args['BUILDKIT_SANDBOX_HOSTNAME'] || HOSTNAME,
      line,
      range,
      label,
    }
  }

  async function addMounts(): Promise<void> {
    for (const raw of instruction.mounts) mounts.push(await mountOf(parseMount(raw, word, fail)))
  }

  function isAbsolute(path: string): boolean {
    return withoutDrive(path).startsWith('/')
  }

  async function mountOf(mount: Mount): Promise<RunMount> {
    const { uid = 0, gid = 0, readOnly, required } = mount
    // Looked up whatever the type makes of it.
    const source = mount.from === undefined ? undefined : await input.mountSource(mount.from, instruction)
    if (mount.type === 'secret') {
      const id = mount.source ?? mount.id ?? nameOf(mount.target!)
      const target = mount.target ?? (mount.env === undefined ? `/run/secrets/${nameOf(id)}` : undefined)
      if (target === '/') throw fail('--mount: the root itself cannot be a target')
      if (mount.env === '')
        throw fail('--mount: env has no name', `for instance --mount=type=secret,id=${id},env=SECRET`)
      if (windows && (mount.target === undefined ? mount.env === undefined : !isAbsolute(mount.target)))
        throw fail(
          '--mount: on windows a secret needs an absolute target',
          `for instance --mount=type=secret,id=${id},target=C:/secrets/${nameOf(id)}`,
        )
      return {
        kind: 'secret',
        id,
        ...(target === undefined ? {} : { target: join('/', target) }),
        ...(mount.env === undefined ? {} : { env: mount.env }),
        ...{ required, mode: mount.mode ?? 0o400, uid, gid },
      }
    }
    if (mount.type === 'ssh') {
      if (mount.source !== undefined) throw fail('--mount: source is not for type=ssh', 'name the agent with id=')
      const number = mounts.filter(({ kind }) => kind === 'ssh').length
      const target = join('/', mount.target ?? `/run/buildkit/ssh_agent.${number}`)
      return { kind: 'ssh', id: mount.id ?? 'default', target, ...{ required, mode: mount.mode ?? 0o600, uid, gid } }
    }
    const target = targetOf(mount)
    if (mount.type === 'tmpfs') return { kind: 'tmpfs', target, ...(mount.size ? { size: mount.size } : {}) }
    const path = join('/', mount.source ?? '')
    if (mount.type === 'bind') {
      const from: CopySource = source ?? { kind: 'context' }
      return { kind: 'bind', target, from, path, readOnly }
    }
    const owned = mount.uid !== undefined || mount.gid !== undefined || mount.mode !== undefined
    const namespace = args['BUILDKIT_CACHE_MOUNT_NS']
    const id = mount.id ?? clean(mount.target ?? '')
    return {
      kind: 'cache',
      target,
      id: namespace ? `${namespace}/${id}` : id,
      sharing: mount.sharing ?? 'shared',
      from: source ?? { kind: 'scratch' },
      path,
      // Of what a source has at a path its own owner holds.
      ...(owned && path === '/' ? { owner: { mode: mount.mode ?? 0o755, uid, gid } } : {}),
      readOnly,
    }
  }

  /** What is not absolute is seen from the working directory; no target is the working directory itself. */
  function targetOf({ target = '', type }: Mount): string {
    const path = target.startsWith('/')
      ? clean(target)
      : join('/', slashed(state.config.WorkingDir ?? '', state.platform.os), target)
    if (path !== '/') return path
    throw fail(
      target === '' ? `--mount: type=${type} needs a target` : '--mount: the root itself cannot be a target',
      'name a folder below it: target=/path',
    )
  }
}

/** The words in front of a command in shell form. */
export function shellOf({ config, image }: StageState): readonly string[] {
  if (config.Shell?.length) return config.Shell
  return image.os === 'windows' ? ['cmd', '/S', '/C'] : ['/bin/sh', '-c']
}

/** BuildKit sorts files and directories by target, so that nothing hides what is mounted inside it, then secrets and sockets. */
function inOrder(mounts: readonly RunMount[]): readonly RunMount[] {
  const last = (kind: RunMount['kind']): boolean => kind === 'secret' || kind === 'ssh'
  const rank = (mount: RunMount): string => (last(mount.kind) ? '' : (mount.target ?? ''))
  return mounts.toSorted((a, b) => {
    const [one, two] = [last(a.kind), last(b.kind)]
    if (one !== two) return one ? 1 : -1
    return rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : 0
  })
}

function networkOf({ network = 'default' }: RunInstruction, steps: StepPolicy): StepNetwork {
  if (network === 'default') return steps.network
  if (network === 'host' && steps.network !== 'host' && !steps.allow.includes('network.host'))
    throw new ArchimageError('NOT_ALLOWED', 'RUN --network=host: this step wants the network of the machine itself', {
      hint: 'if you trust this Dockerfile, build with --allow network.host',
    })
  return network as StepNetwork
}

function isInsecure({ security }: RunInstruction, steps: StepPolicy): boolean {
  if (security !== 'insecure') return false
  if (!steps.allow.includes('security.insecure'))
    throw new ArchimageError('NOT_ALLOWED', 'RUN --security=insecure: this step wants all privileges of the builder', {
      hint: 'if you trust this Dockerfile, build with --allow security.insecure',
    })
  return true
}

/** Devices by CDI need files of the machine that describe them, and a runtime that applies those. */
function refuseDevices(instruction: RunInstruction, { fail, warnings, file, line }: RunInput): void {
  for (const raw of instruction.devices) {
    const { name, required } = parseDevice(raw, fail)
    if (required)
      throw new ArchimageError('UNSUPPORTED', `RUN --device=${name}: CDI devices are not supported`, {
        hint: 'a step that can do without it says so by leaving "required" out; docker buildx with a CDI device builds the others',
      })
    warnings.push(`${file}:${line}: --device=${name} is left out: CDI devices are not supported`)
  }
}
