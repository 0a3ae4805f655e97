import { isArchimageError } from '../errors/error.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import { type Ability, type ProbeOptions, probePlatforms } from './ability.ts'
import { installEmulators, registerHere } from './install.ts'
import { elfAt, findQemu, QEMU_FOLDERS } from './qemu.ts'

export interface ReadyOptions extends ProbeOptions {
  /** Where QEMU is looked for. */
  readonly folders?: readonly string[]
  /** This process is in user and mount namespaces of its own: handlers may be registered for it alone, and that needs no question. */
  readonly ownNamespace?: boolean
  /**
   * `--install-emulators`: what is missing is registered on the machine. `fetch` brings emulators out of an image when there is no
   * QEMU, and gives their folder.
   */
  readonly install?: { readonly fetch: () => Promise<string> }
}

/**
 * What each platform can do here, before a build: what does not run and could, runs afterwards, as far as that may be done without
 * asking. What still does not has its `problem`. Throws PERMISSION and what `fetch` throws with `install`.
 */
export async function readyPlatforms(
  platforms: readonly Platform[],
  options: ReadyOptions = {},
): Promise<Record<string, Ability>> {
  const { ownNamespace = false, install } = options
  const abilities = await probePlatforms(platforms, options)
  const lacking = platforms.filter(platform => lacksEmulator(abilities[formatPlatform(platform)]!))
  if (lacking.length === 0 || (!ownNamespace && install === undefined)) return abilities
  let { folders = QEMU_FOLDERS } = options
  const has = ({ architecture }: Platform): boolean => findQemu(architecture, folders).found !== undefined
  if (install !== undefined && !lacking.every(has)) folders = [...folders, await install.fetch()]
  if (!ownNamespace) await installEmulators(lacking, { ...options, folders })
  else if (
    lacking.some(has) &&
    platforms.every(platform => has(platform) || stays(abilities[formatPlatform(platform)]!))
  )
    try {
      await registerHere(platforms, { ...options, folders })
    } catch (error) {
      // Before Linux 6.7 a user namespace has no handlers of its own.
      if (!isArchimageError(error) || install !== undefined) throw error
      return abilities
    }
  else return abilities
  return probePlatforms(platforms, options)
}

function lacksEmulator({ how, problem }: Ability): boolean {
  return how === 'no' && problem?.code.startsWith('EMULATOR_') === true
}

/** Whether it runs, or fails, the same way in a binfmt_misc of our own: the machine's handler may have a file that nobody else sees. */
function stays({ how, handler, problem }: Ability): boolean {
  if (how === 'no') return problem !== undefined
  return how === 'native' || (handler !== undefined && elfAt(handler.interpreter) !== undefined)
}
