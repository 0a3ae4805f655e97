import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { peerOrThrow } from './locate.ts'
import { must, type RunOptions, removeFolder, run, start, temporaryFolder } from './process.ts'

export interface Podman extends AsyncDisposable {
  /** `podman …` with storage of its own; gives standard output. Registries on loopback may speak plain HTTP. */
  podman(args: readonly string[], options?: RunOptions): Promise<string>
  /** `buildah …` on the same storage. */
  buildah(args: readonly string[], options?: RunOptions): Promise<string>
  /** `skopeo …` with the same configuration. */
  skopeo(args: readonly string[], options?: RunOptions): Promise<string>
  /** Environment that gives any tool of containers/image this configuration, and nothing of the user's. */
  readonly env: Readonly<Record<string, string>>
  /** Folder of the storage, `overlay` driver. */
  readonly storage: string
  /** Starts the service with docker's and podman's API; gives the address for DOCKER_HOST. It ends with `stop`. */
  serve(): Promise<string>
  stop(): Promise<void>
}

/**
 * podman, buildah and skopeo with their own storage and configuration in a temporary folder. They have no daemon: `stop` removes
 * the folder. Containers are run with `--network none`.
 */
export async function startPodman(): Promise<Podman> {
  const folder = temporaryFolder('pm')
  const storage = join(folder, 'storage')
  const file = (name: string, lines: readonly string[]) => {
    const path = join(folder, name)
    writeFileSync(path, `${lines.join('\n')}\n`)
    return path
  }
  for (const name of ['home', 'run', 'tmp', 'networks']) mkdirSync(join(folder, name))
  const env = {
    HOME: join(folder, 'home'),
    XDG_RUNTIME_DIR: join(folder, 'run'),
    TMPDIR: join(folder, 'tmp'),
    REGISTRY_AUTH_FILE: join(folder, 'auth.json'),
    CONTAINERS_STORAGE_CONF: file('storage.conf', [
      '[storage]',
      'driver = "overlay"',
      `graphroot = "${storage}"`,
      `runroot = "${folder}/run"`,
    ]),
    CONTAINERS_REGISTRIES_CONF: file('registries.conf', [
      'unqualified-search-registries = ["docker.io"]',
      '[[registry]]',
      'prefix = "127.0.0.1"',
      'location = "127.0.0.1"',
      'insecure = true',
    ]),
    CONTAINERS_CONF: file('containers.conf', [
      '[engine]',
      'runtime = "runc"',
      'cgroup_manager = "cgroupfs"',
      'events_logger = "file"',
      `tmp_dir = "${folder}/run/libpod"`,
      // The packaged defaults are above what an ordinary machine's hard limit allows.
      '[containers]',
      'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]',
      '[network]',
      `network_config_dir = "${folder}/networks"`,
    ]),
    BUILDAH_RUNTIME: 'runc',
    BUILDAH_ISOLATION: 'oci',
  }
  writeFileSync(env.REGISTRY_AUTH_FILE, '{}')
  const policy = file('policy.json', ['{ "default": [{ "type": "insecureAcceptAnything" }] }'])
  const call =
    (program: 'podman' | 'buildah' | 'skopeo', flags: readonly string[] = []) =>
    (args: readonly string[], options: RunOptions = {}) =>
      must([peerOrThrow(program), ...flags, ...args], { ...options, env: { ...env, ...options.env } })
  const services: { stop(): Promise<void> }[] = []
  const stop = async () => {
    for (const service of services.splice(0)) await service.stop()
    await removeFolder(folder)
  }
  return {
    podman: call('podman'),
    buildah: call('buildah', ['--registries-conf', env.CONTAINERS_REGISTRIES_CONF]),
    skopeo: call('skopeo', ['--policy', policy, '--registries-conf', env.CONTAINERS_REGISTRIES_CONF]),
    env,
    storage,
    async serve() {
      const address = `unix://${folder}/podman.sock`
      const podman = peerOrThrow('podman')
      const log = join(folder, 'service')
      mkdirSync(log, { recursive: true })
      services.push(
        await start([podman, 'system', 'service', '--time=0', address], {
          folder: log,
          env,
          ready: async () => (await run([podman, '--url', address, '--remote', 'version'], { env })).code === 0,
        }),
      )
      return address
    },
    stop,
    [Symbol.asyncDispose]: stop,
  }
}
