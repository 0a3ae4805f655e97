import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { peerOrThrow } from './locate.ts'
import { must, type Running, type RunOptions, removeFolder, run, start, temporaryFolder } from './process.ts'

export interface Docker extends Running {
  /** For DOCKER_HOST: `unix:///…/docker.sock`. */
  readonly host: string
  /** `docker …` against this daemon, with a client configuration of its own; gives standard output. */
  docker(args: readonly string[], options?: RunOptions): Promise<string>
}

/**
 * Starts dockerd (and with it a containerd) with its own state, socket and configuration in a temporary folder, and without a
 * network: containers are run with `--network none`. Registries on loopback may speak plain HTTP. Needs root.
 */
export async function startDocker(): Promise<Docker> {
  const folder = temporaryFolder('dk')
  const host = `unix://${folder}/docker.sock`
  writeFileSync(join(folder, 'daemon.json'), '{}\n')
  const flags = {
    'config-file': join(folder, 'daemon.json'),
    'data-root': join(folder, 'data'),
    'exec-root': join(folder, 'exec'),
    pidfile: join(folder, 'pid'),
    host,
    bridge: 'none',
    iptables: 'false',
    ip6tables: 'false',
    'ip-forward': 'false',
    'ip-masq': 'false',
    'insecure-registry': '127.0.0.0/8',
    'log-level': 'warn',
    'shutdown-timeout': '3',
  }
  const docker = [peerOrThrow('docker'), '--config', join(folder, 'client'), '--host', host]
  const running = await start(
    [peerOrThrow('dockerd'), ...Object.entries(flags).map(([name, value]) => `--${name}=${value}`)],
    {
      folder,
      ready: async () => (await run([...docker, 'version', '--format', '{{.Server.Version}}'])).code === 0,
      afterStop: () => removeFolder(folder),
      timeout: 60_000,
    },
  )
  return { ...running, host, docker: (args, options) => must([...docker, ...args], options) }
}
