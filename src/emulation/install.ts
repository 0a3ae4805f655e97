import { formatPlatform, type Platform } from '../oci/platform.ts'
import { type Ability, type ProbeOptions, probePlatforms } from './ability.ts'
import { BINFMT_MISC, type Handler, readBinfmt } from './binfmt.ts'
import type { Problem } from './problem.ts'
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
    const restored = former && again(former)
    if (restored !== undefined) register(restored, mountPoint)
    else unregister(OWN_PREFIX + architecture, mountPoint)
  }
  return installed
}

async function choose(
  architecture: string,
  { folders = QEMU_FOLDERS }: InstallOptions,
): Promise<Registration | Problem> {
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

/**
 * The same for the user namespace of this process alone (Linux 6.7), without root: mounts a binfmt_misc of the namespace's own over
 * the machine's, whose handlers do not hold in the namespace from then on. They are registered again as far as their
 * interpreters are there. The mount namespace must not be the machine's. Throws PERMISSION where the kernel is older.
 */
export async function registerHere(
  platforms: readonly Platform[],
  options: InstallOptions = {},
): Promise<readonly Installed[]> {
  const { mountPoint = BINFMT_MISC } = options
  const { handlers } = readBinfmt(mountPoint)
  mountBinfmt(mountPoint, true)
  // The newest is to be the newest again.
  for (const handler of handlers.toReversed())
    if (handler.enabled && elfAt(handler.interpreter) !== undefined) {
      const registration = again(handler)
      if (registration !== undefined) register(registration, mountPoint)
    }
  return installEmulators(platforms, options)
}

/** A handler that is or was there, for the same files; with the F flag. */
function again({ name, interpreter, flags, match }: Handler): Registration | undefined {
  if (match === undefined) return undefined
  return { name, interpreter, match, flags: flags.includes('F') ? flags : `${flags}F` }
}

/** Takes away the handlers that archimage registered, of these architectures or of all. Gives their names. */
export function uninstallEmulators(
  architectures: readonly string[] = Object.keys(QEMU_NAMES),
  mountPoint: string = BINFMT_MISC,
): string[] {
  return architectures.map(name => OWN_PREFIX + name).filter(name => unregister(name, mountPoint))
}
