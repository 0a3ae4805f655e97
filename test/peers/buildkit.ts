import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { peerOrThrow } from './locate.ts'
import { must, type Running, type RunOptions, removeFolder, run, start, temporaryFolder } from './process.ts'

export interface BuildKit extends Running {
  /** `unix:///…/buildkitd.sock`. */
  readonly address: string
  /** Folder of the daemon: `root` below it is its state. */
  readonly folder: string
  /** `buildctl …` against this daemon; gives standard output. */
  buildctl(args: readonly string[], options?: RunOptions): Promise<string>
  /** `buildx …` with a builder of its own (remote driver) that is already chosen. */
  buildx(args: readonly string[], options?: RunOptions): Promise<string>
  /** Environment in which a buildx that others start has that builder, and nothing of the user's. */
  buildxEnvironment(): Promise<Readonly<Record<string, string>>>
  /** What the environment of buildx must hold for that builder, which the first call of `buildx` makes. */
  readonly buildxEnv: Readonly<Record<string, string>>
}

/**
 * Starts buildkitd with its own root and socket in a temporary folder. `registries` are host:port names that speak plain HTTP;
 * `mirror` answers for docker.io; `secure` speak HTTPS with the certificates of the file `ca`. Needs root.
 */
export async function startBuildKit(
  options: { registries?: string[]; mirror?: string; secure?: { hosts: string[]; ca: string } } = {},
): Promise<BuildKit> {
  const folder = temporaryFolder('bk')
  const address = `unix://${folder}/buildkitd.sock`
  const plain = new Set([...(options.registries ?? []), ...(options.mirror ? [options.mirror] : [])])
  const config = [
    `root = "${folder}/root"`,
    '[grpc]',
    `address = ["${address}"]`,
    '[worker.oci]',
    'snapshotter = "overlayfs"',
    'binary = "runc"',
    '[worker.containerd]',
    'enabled = false',
    ...[...plain].flatMap(host => [`[registry."${host}"]`, 'http = true', 'insecure = true']),
    ...(options.secure?.hosts ?? []).flatMap(host => [
      `[registry."${host}"]`,
      'http = false',
      `ca = ["${options.secure!.ca}"]`,
    ]),
    ...(options.mirror ? ['[registry."docker.io"]', `mirrors = ["${options.mirror}"]`] : []),
  ]
  writeFileSync(join(folder, 'buildkitd.toml'), `${config.join('\n')}\n`)
  const buildctl = [peerOrThrow('buildctl'), '--addr', address]
  const running = await start([peerOrThrow('buildkitd'), '--config', join(folder, 'buildkitd.toml')], {
    folder,
    ready: async () => (await run([...buildctl, 'debug', 'workers'])).code === 0,
    afterStop: () => removeFolder(folder),
  })
  const buildxEnv = {
    BUILDX_CONFIG: join(folder, 'buildx'),
    DOCKER_CONFIG: join(folder, 'docker'),
    BUILDX_BUILDER: 'peer',
    BUILDX_NO_DEFAULT_ATTESTATIONS: '1',
  }
  let created: Promise<string> | undefined
  const create = async (): Promise<void> => {
    created ??= must([peerOrThrow('buildx'), 'create', '--name', 'peer', '--driver', 'remote', address], {
      env: buildxEnv,
    })
    await created
  }
  return {
    ...running,
    address,
    folder,
    buildxEnv,
    buildctl: (args, run) => must([...buildctl, ...args], run),
    async buildx(args, run = {}) {
      await create()
      return must([peerOrThrow('buildx'), ...args], { ...run, env: { ...buildxEnv, ...run.env } })
    },
    async buildxEnvironment() {
      await create()
      return buildxEnv
    },
  }
}
