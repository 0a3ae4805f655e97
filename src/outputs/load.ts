import type { Platform } from '../oci/platform.ts'
import { type Daemon, type DaemonKind, findDaemon } from '../transports/daemon-api.ts'
import { loadArchive, verifyLoaded } from '../transports/daemon-images.ts'
import { layoutArchive, layoutSize } from './archive.ts'
import {
  chooseMember,
  hasZstd,
  nameOf,
  type OutputImage,
  type OutputMember,
  type OutputTools,
  repoTags,
} from './image.ts'
import { dockerLayout } from './layout.ts'

export interface LoadTools extends Pick<OutputTools, 'store' | 'fetch' | 'signal' | 'emit' | 'env'> {
  /** Default: whichever answers first. */
  readonly to?: DaemonKind
  /** Default: the only platform, else this machine's. */
  readonly platform?: Platform
}

export interface Loaded {
  readonly service: string
  /** The main name, as docker shows it. */
  readonly name: string
  readonly platform: Platform
  /** "docker at unix:///var/run/docker.sock". */
  readonly daemon: string
}

/**
 * Loads one platform of each image into docker or podman through the engine API, and reads back that it is there. Throws DAEMON
 * when there is none or it refuses, PLATFORM_MISSING, UNSUPPORTED, VERIFY_FAILED, CANCELLED.
 */
export async function load(images: readonly OutputImage[], tools: LoadTools): Promise<Loaded[]> {
  const { signal, env = process.env, to, platform } = tools
  const remedy = 'choose one with --platform, or write all of them with -o type=oci,dest=image.tar'
  const chosen = images.map(image => ({ image, member: chooseMember(image, platform, remedy) }))
  const daemon = await findDaemon(to, env, signal)
  const out: Loaded[] = []
  for (const { image, member } of chosen) {
    await send(daemon, image, member, tools)
    await readBack(daemon, image, member, signal)
    out.push({ service: image.service, name: nameOf(image), platform: member.platform, daemon: daemon.name })
  }
  return out
}

async function send(daemon: Daemon, image: OutputImage, member: OutputMember, tools: LoadTools): Promise<void> {
  const { store, signal } = tools
  const layout = await dockerLayout(image, member, tools)
  const hint = hasZstd(member)
    ? 'the image has zstd layers, which some older daemons cannot read: build with -o type=docker,compression=gzip'
    : 'write it to a file with -o type=docker,dest=image.tar and load that to see more'
  await loadArchive(daemon, layoutArchive(layout, store), layoutSize(layout), { what: nameOf(image), hint, signal })
}

async function readBack(daemon: Daemon, image: OutputImage, member: OutputMember, signal: AbortSignal): Promise<void> {
  const { manifest, platform } = member
  const tags = repoTags(image)
  for (const name of tags.length > 0 ? tags : [manifest.config.digest])
    await verifyLoaded(daemon, name, manifest, platform, signal)
}
