import { delimiter, join } from 'node:path'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { layoutOfFolder, readImages } from '../fidelity/image.ts'
import { push } from '../fidelity/push.ts'
import { startBuildKit } from '../peers/buildkit.ts'
import { busyboxImages } from '../peers/busybox.ts'
import { startDocker } from '../peers/docker.ts'
import { peerCache } from '../peers/locate.ts'
import { startPodman } from '../peers/podman.ts'
import { canRun, type Need } from '../peers/require.ts'
import { Sandbox } from '../run/command.ts'

/** A real engine that archimage finds by its environment. */
export interface RealEngine {
  readonly env: Readonly<Record<string, string | undefined>>
  /** What is left of builds: names of images, containers. */
  leavings(): Promise<string>
  stop(): Promise<void>
}

export interface EngineKind {
  readonly title: string
  /** For `--engine`. */
  readonly engine: 'native' | 'docker' | 'podman'
  /** A network that its steps can have here: daemons of tests have no bridge. */
  readonly network: 'none' | 'host'
  /** Whether it knows --shm-size and --ulimit: the daemon of Debian 12 is too old. */
  readonly limits: boolean
  readonly needs: readonly Need[]
  start(): Promise<RealEngine>
}

const PATH = [join(peerCache(), 'bin'), process.env['PATH']].join(delimiter)

/** Each with its own state in a temporary folder. */
export const ENGINE_KINDS: readonly EngineKind[] = [
  {
    title: 'native',
    engine: 'native',
    network: 'none',
    limits: true,
    needs: ['root', 'busybox', 'emulation'],
    start: async () => ({ env: {}, leavings: async () => '', stop: async () => {} }),
  },
  {
    title: 'docker buildx with a remote BuildKit',
    engine: 'docker',
    network: 'none',
    limits: true,
    needs: ['buildx', 'buildkitd', 'buildctl', 'runc', 'root', 'busybox', 'emulation'],
    async start() {
      const buildkit = await startBuildKit()
      const env = { PATH, ...(await buildkit.buildxEnvironment()), BUILDX_NO_DEFAULT_ATTESTATIONS: undefined }
      return { env, leavings: async () => '', stop: () => buildkit.stop() }
    },
  },
  {
    title: 'docker buildx with a docker daemon',
    engine: 'docker',
    network: 'none',
    limits: false,
    needs: ['buildx', 'docker', 'dockerd', 'runc', 'root', 'busybox', 'emulation'],
    async start() {
      const docker = await startDocker()
      const leavings = (): Promise<string> =>
        docker.docker(['images', '--all', '--format', '{{.Repository}}', '--filter', 'dangling=false'])
      return { env: { PATH, DOCKER_HOST: docker.host }, leavings, stop: () => docker.stop() }
    },
  },
  {
    title: 'podman',
    engine: 'podman',
    network: 'host',
    limits: true,
    needs: ['podman', 'buildah', 'runc', 'root', 'busybox', 'emulation'],
    async start() {
      const podman = await startPodman()
      const { CONTAINERS_REGISTRIES_CONF: _, HOME: __, ...env } = podman.env
      const leavings = async (): Promise<string> =>
        (await podman.podman(['images', '--format', '{{.Repository}}', '--filter', 'dangling=false'])) +
        (await podman.buildah(['containers', '--quiet']))
      return { env: { PATH, ...env }, leavings, stop: () => podman.stop() }
    },
  },
]

/** A folder with a store, and a registry that stands for docker.io and has `busybox`. */
export async function engineSandbox(name: string): Promise<{ sandbox: Sandbox; registry: FaultyRegistry }> {
  const sandbox = new Sandbox(name)
  const registry = await startFaultyRegistry()
  sandbox.mirror(registry.address)
  if (canRun('busybox')) await push(registry.address, 'library/busybox:1', busyboxImages())
  return { sandbox, registry }
}

/** The images of a name in the store, by platform. */
export function imagesIn(sandbox: Sandbox, name: string): ReturnType<typeof readImages> {
  return readImages(layoutOfFolder(sandbox.home), name)
}
