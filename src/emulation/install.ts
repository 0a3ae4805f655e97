import { ArchimageError } from '../errors/error.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import { type Ability, type ProbeOptions, probePlatforms } from './ability.ts'
import { BINFMT_MISC, type Handler, handlersFor, readBinfmt } from './binfmt.ts'
import { probeProgram } from './probe-program.ts'
import { type Problem, problemError } from './problem.ts'
import { elfAt, findQemu, packageCommand, QEMU_FOLDERS, QEMU_NAMES, qemuVersion } from './qemu.ts'
import {
  enableAll,
  mountBinfmt,
  OWN_PREFIX,
  qemuRegistration,
  type Registration,
  register,
  unregister,
} from './register.ts'

export interface InstallOptions extends Pick<ProbeOptions, 'mountPoint' | 'directory'> {
  /** Where QEMU is looked for, the first that has it wins. */
  readonly folders?: readonly string[]
  /** Register an emulator also where one works already. */
  readonly force?: boolean
  /** Handlers of another binfmt_misc: what they run is run by the same interpreters here. */
  readonly handlers?: readonly Handler[]
}

/** What became of one platform. */
export interface Installed {
  readonly platform: string
  readonly state: 'registered' | 'runs already' | 'failed'
  readonly ability: Ability
  readonly problem?: Problem
}

/**
 * Registers an emulator for each platform that does not run, tries it, and takes it away again if it does not work. Mounts
 * binfmt_misc and switches it on if need be. Throws PERMISSION; what failed for a single platform is said in the answer.
 */
export async function installEmulators(
  platforms: readonly Platform[],
  options: InstallOptions = {},
): Promise<readonly Installed[]> {
  const { mountPoint = BINFMT_MISC, force = false } = options
  const before = await probePlatforms(platforms, options)
  const wanted = platforms.filter(platform => {
    const { how, problem } = before[formatPlatform(platform)]!
    return how === 'no' ? problem?.code.startsWith('EMULATOR_') : how === 'emulated' && force
  })
  const failed = new Map<string, Problem>()
  const replaced = new Map<string, Handler | undefined>()
  if (wanted.length > 0) {
    mountBinfmt(mountPoint)
    const { enabled, handlers } = readBinfmt(mountPoint)
    if (!enabled) enableAll(mountPoint)
    for (const architecture of new Set(wanted.map(platform => platform.architecture))) {
      const registration = await choose(architecture, options)
      if ('code' in registration) failed.set(architecture, registration)
      else {
        replaced.set(
          architecture,
          handlers.find(({ name }) => name === registration.name),
        )
        register(registration, mountPoint)
      }
    }
  }
  const after = wanted.length === 0 ? before : await probePlatforms(platforms, options)
  const installed = platforms.map((platform): Installed => {
    const name = formatPlatform(platform)
    const ability = after[name]!
    if (!wanted.includes(platform))
      return ability.how === 'no'
        ? { platform: name, state: 'failed', ability, ...(ability.problem && { problem: ability.problem }) }
        : { platform: name, state: 'runs already', ability }
    const problem = failed.get(platform.architecture) ?? ability.problem
    if (problem === undefined) return { platform: name, state: 'registered', ability }
    return { platform: name, state: 'failed', ability, problem }
  })
  // What does not work for any of its platforms is in nobody's way.
  for (const [architecture, former] of replaced) {
    if (installed.some(({ state }, i) => state === 'registered' && platforms[i]!.architecture === architecture))
      continue
    const again = former && carried(former, architecture)
    if (again !== undefined) register(again, mountPoint)
    else unregister(OWN_PREFIX + architecture, mountPoint)
  }
  return installed
}

/** The interpreter that another binfmt_misc has for the architecture, else QEMU. */
async function choose(
  architecture: string,
  { handlers = [], folders = QEMU_FOLDERS }: InstallOptions,
): Promise<Registration | Problem> {
  const program = probeProgram({ os: 'linux', architecture })
  const fitting =
    program &&
    handlersFor({ handlers }, program.bytes).find(({ enabled, interpreter }) => enabled && elfAt(interpreter))
  const same = fitting && carried(fitting, architecture)
  if (same !== undefined) return same
  const { found, unfit } = findQemu(architecture, folders)
  if (found !== undefined) return qemuRegistration(architecture, found.path, await qemuVersion(found.path))
  const command = packageCommand(architecture)
  const because = unfit.map(({ path, why }) => `${path} cannot be used: ${why}`)
  return {
    code: 'EMULATOR_MISSING',
    message: [`there is no QEMU for ${architecture} in ${folders.join(', ')}`, ...because].join('; '),
    hint: [
      ...(command === undefined ? [] : [`with packages: ${command}`]),
      'without packages: archimage emulators install --image',
    ].join('\n'),
  }
}

/** A handler that exists, as one of ours. */
function carried({ interpreter, flags, match }: Handler, architecture: string): Registration | undefined {
  if (match === undefined || match.offset !== 0) return undefined
  const { magic, mask = new Uint8Array(magic.length).fill(0xff) } = match
  return {
    ...{ name: OWN_PREFIX + architecture, interpreter, match: { magic, mask } },
    flags: flags.includes('F') ? flags : `${flags}F`,
  }
}

/**
 * The same inside the user namespace of this process (Linux 6.7), without root: mounts a binfmt_misc of the namespace's own
 * on `mountPoint`. From then on the machine's handlers do not hold in the namespace, so `platforms` are all that the
 * steps in it need, and `handlers` those of the machine. Throws EMULATOR_MISSING for a platform that cannot be had.
 */
export async function registerHere(
  platforms: readonly Platform[],
  options: InstallOptions & { readonly mountPoint: string },
): Promise<readonly Installed[]> {
  mountBinfmt(options.mountPoint)
  const installed = await installEmulators(platforms, options)
  const failures = installed.flatMap(({ problem }) => (problem ? [problemError(problem)] : []))
  if (failures.length > 1)
    throw new ArchimageError('EMULATOR_MISSING', `${failures.length} platforms do not run here`, { parts: failures })
  if (failures[0] !== undefined) throw failures[0]
  return installed
}

/** Takes away the handlers that archimage registered, of these architectures or of all. Gives their names. */
export function uninstallEmulators(
  architectures: readonly string[] = Object.keys(QEMU_NAMES),
  mountPoint: string = BINFMT_MISC,
): string[] {
  return architectures.map(name => OWN_PREFIX + name).filter(name => unregister(name, mountPoint))
}
