import { formatPlatform, type Platform, parsePlatform } from '../oci/platform.ts'
import { type Ability, type ProbeOptions, probePlatforms } from './ability.ts'
import { BINFMT_MISC, type Handler, handlersFor, readBinfmt } from './binfmt.ts'
import { probeProgram } from './probe-program.ts'
import { findQemu, QEMU_FOLDERS, QEMU_NAMES, qemuVersion } from './qemu.ts'
import { kernelAtLeast, OWN_PREFIX } from './register.ts'

/** One platform with all that there is to know about running it here. */
export interface PlatformReport extends Ability {
  readonly platform: string
  /** Version of the emulator, where it is QEMU and its file is there. */
  readonly version?: string
  /** What is not wrong, but may go wrong. */
  readonly remarks: readonly string[]
}

/** What this machine can emulate, as facts. */
export interface EmulationReport {
  readonly binfmt: {
    readonly mountPoint: string
    readonly mounted: boolean
    readonly enabled: boolean
    /** Linux 6.7: a user namespace may have handlers of its own, without root. */
    readonly perNamespace: boolean
  }
  readonly platforms: readonly PlatformReport[]
  /** Emulators that could be registered, by architecture. */
  readonly qemu: Readonly<Record<string, string>>
}

/** Every platform that a probe is known for, the usual ones first. */
export const KNOWN_PLATFORMS: readonly Platform[] = [
  ...['amd64', 'amd64/v2', 'amd64/v3', 'amd64/v4', 'arm64', 'arm/v7', 'arm/v6', 'arm/v5', '386', 'riscv64', 'ppc64le'],
  ...['s390x', 'loong64', 'mips64le', 'mips64', 'mipsle', 'mips', 'ppc64'],
].map(parsePlatform)

/** Measures `platforms` and says by what each is run. */
export async function emulationReport(
  platforms: readonly Platform[] = KNOWN_PLATFORMS,
  options: ProbeOptions & { readonly folders?: readonly string[] } = {},
): Promise<EmulationReport> {
  const { mountPoint = BINFMT_MISC, folders = QEMU_FOLDERS } = options
  const abilities = await probePlatforms(platforms, options)
  const binfmt = readBinfmt(mountPoint)
  const versions = new Map<string, Promise<string | undefined>>()
  const versionOf = (path: string): Promise<string | undefined> => {
    const known = versions.get(path) ?? qemuVersion(path)
    versions.set(path, known)
    return known
  }
  const reports = platforms.map(async platform => {
    const ability = abilities[formatPlatform(platform)]!
    const path = ability.handler?.interpreter
    const version = path === undefined ? undefined : await versionOf(path)
    const fitting = handlersFor(binfmt, probeProgram(platform)?.bytes ?? new Uint8Array())
    return {
      platform: formatPlatform(platform),
      ...ability,
      ...(version !== undefined && { version }),
      remarks: remarksOn(ability, version, fitting),
    }
  })
  const qemu = Object.keys(QEMU_NAMES).flatMap(architecture => {
    const { found } = findQemu(architecture, folders)
    return found === undefined ? [] : [[architecture, found.path] as const]
  })
  return {
    binfmt: { mountPoint, mounted: binfmt.mounted, enabled: binfmt.enabled, perNamespace: kernelAtLeast(6, 7) },
    platforms: await Promise.all(reports),
    qemu: Object.fromEntries(qemu),
  }
}

function remarksOn(ability: Ability, version: string | undefined, fitting: readonly Handler[]): string[] {
  if (ability.how !== 'emulated') return []
  const remarks: string[] = []
  if (ability.handler === undefined) remarks.push('by a handler that cannot be seen from here, as in a container')
  if (version !== undefined && olderThan(version, 8, 1))
    remarks.push(
      `QEMU ${version}: before 8.1 programs crash at times on kernels of 2024 and later, unless the distribution mended it`,
    )
  if (ability.handler !== undefined && !/[CO]/.test(ability.handler.flags))
    remarks.push('no flag C: su, sudo and other setuid programs have no rights under emulation')
  const active = fitting.filter(({ enabled }) => enabled)
  if (active.length > 1)
    remarks.push(`several handlers: ${active.map(({ name }) => name).join(', ')}; the newest counts`)
  return remarks
}

function olderThan(version: string, major: number, minor: number): boolean {
  const [a = 0, b = 0] = version.split('.').map(Number)
  return a < major || (a === major && b < minor)
}

/** Handlers of ours that are registered. */
export function ownHandlers(mountPoint: string = BINFMT_MISC): Handler[] {
  return readBinfmt(mountPoint).handlers.filter(({ name }) => name.startsWith(OWN_PREFIX))
}
