import { existsSync } from 'node:fs'
import { isArchimageError } from '../../errors/error.ts'
import { redact } from '../../errors/redact.ts'
import { isRecord } from '../../oci/json.ts'
import { formatPlatform, type Platform, parsePlatform } from '../../oci/platform.ts'
import { isUserNamespace } from '../../sandbox/sub-ids.ts'
import { findProgram } from '../../sys/programs.ts'
import { runProgram } from '../../sys/spawn.ts'
import type { Abilities, Problem } from '../engine.ts'
import { abilityAmong } from '../runs.ts'

/** What `podman info` says that matters to builds. */
export interface Podman {
  /** The program and what stands before its subcommands. */
  readonly command: readonly string[]
  /** Of podman, for messages: `4.3.1`. */
  readonly version: string
  /** Of the buildah in it, which knows the Dockerfiles: `[1, 28]`. */
  readonly buildah: readonly [number, number]
  /** The service of another machine (or of a virtual one) does the work. */
  readonly remote: boolean
  readonly platform: Platform
  /** Platforms that run under emulation; undefined where podman does not say. */
  readonly emulated?: readonly Platform[]
}

const INSTALL = 'install podman; on macOS and Windows also: podman machine init && podman machine start'
const ANSWER_WITHIN = 60_000

/** Finds podman and asks what it is; or why it cannot be used. */
export async function findPodman(signal: AbortSignal): Promise<Podman | Problem> {
  let said: Awaited<ReturnType<typeof runProgram>>
  try {
    said = await runProgram('podman', ['info', '--format', 'json'], { signal, timeout: ANSWER_WITHIN })
  } catch (error) {
    if (isArchimageError(error) || signal.aborted) throw error
    return { message: 'it is not installed', hint: INSTALL }
  }
  if (said.code !== 0) {
    const why =
      redact(said.stderr.toString().trim().split('\n').at(-1)!).replace(/^Error: /, '') || `exit code ${said.code}`
    // As an ordinary user archimage enters a namespace before it is known that podman will be needed.
    const hint =
      process.platform === 'linux' && isUserNamespace()
        ? 'build with --engine podman: then it is started as you are'
        : 'see what podman info says'
    return { message: `it does not work here: ${why}`, hint }
  }
  return parseInfo(said.stdout.toString()) ?? { message: 'what podman info says is not understood' }
}

/** Reads `podman info --format json`; undefined when it is something else. */
export function parseInfo(text: string, hybrid = hybridCgroups()): Podman | undefined {
  let info: unknown
  try {
    info = JSON.parse(text)
  } catch {
    return undefined
  }
  const [host, version] = isRecord(info) ? [info['host'], info['version']] : []
  if (!isRecord(host) || typeof host['arch'] !== 'string' || typeof host['buildahVersion'] !== 'string')
    return undefined
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(host['buildahVersion']) ?? []
  if (major === undefined) return undefined
  const remote = host['serviceIsRemote'] === true
  const runtime = isRecord(host['ociRuntime']) ? host['ociRuntime']['name'] : undefined
  const emulated = host['emulatedArchitectures']
  return {
    // crun refuses where both versions of cgroups are mounted.
    command: [
      'podman',
      ...(!remote && runtime === 'crun' && hybrid && findProgram('runc') ? ['--runtime', 'runc'] : []),
    ],
    version: isRecord(version) && typeof version['Version'] === 'string' ? version['Version'] : '',
    buildah: [Number(major), Number(minor)],
    remote,
    platform: parsePlatform(`linux/${host['arch']}`),
    ...(Array.isArray(emulated) ? { emulated: emulated.flatMap(platformOf) } : {}),
  }
}

function hybridCgroups(): boolean {
  return existsSync('/sys/fs/cgroup/unified/cgroup.controllers') && existsSync('/sys/fs/cgroup/memory')
}

function platformOf(text: unknown): Platform[] {
  try {
    return typeof text === 'string' ? [parsePlatform(text)] : []
  } catch {
    return []
  }
}

/** `here` tells of this machine, where a podman without a service works. */
export function podmanAbilities(
  { platform, emulated, remote }: Podman,
  here: NonNullable<Abilities['runs']>,
): Abilities {
  if (!remote) return { runs: here, problems: [] }
  if (!emulated) return { problems: [] }
  const platforms = Object.fromEntries([
    ...emulated.map(one => [formatPlatform(one), 'emulated'] as const),
    ...(platform.architecture === 'amd64' ? [['linux/386', 'native'] as const] : []),
    [formatPlatform(platform), 'native'] as const,
  ])
  return { runs: wanted => abilityAmong(platforms, wanted), problems: [] }
}
