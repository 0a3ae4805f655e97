import { type ChildProcess, spawn } from 'node:child_process'
import {
  appendFileSync,
  closeSync,
  cpSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, delimiter, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { archimage, root } from '../../scripts/archimage.ts'
import { push } from '../fidelity/push.ts'
import {
  busyboxImages,
  freePort,
  peerOrThrow,
  peerPath,
  type Running,
  removeFolder,
  startPodman,
  temporaryFolder,
} from '../peers/index.ts'
import { start } from '../peers/process.ts'

const LIMIT = 120_000

/** Placeholders in the texts, and what stands for them on this machine. */
interface Places {
  readonly folder: string
  /** Of `registry.example.com`. */
  readonly registry: string
  /** Of `localhost:5000`. */
  readonly port: string
}

/**
 * What the commands of one Markdown file run in: a folder with a store and a HOME of its own, a registry that
 * `registry.example.com` stands for, and `archimage` on the PATH. Commands share the working directory.
 */
export class Session implements AsyncDisposable {
  readonly #places: Places
  readonly #env: Record<string, string>
  readonly #children: ChildProcess[] = []
  readonly #running: { stop(): Promise<void> }[]
  #cwd: string

  private constructor(places: Places, env: Record<string, string>, running: { stop(): Promise<void> }[]) {
    this.#places = places
    this.#env = env
    this.#running = running
    this.#cwd = places.folder
  }

  static async open(options: { readonly podman: boolean; readonly busybox: boolean }): Promise<Session> {
    const folder = realpathSync(temporaryFolder('docs'))
    const port = await freePort()
    const places = { folder, registry: `127.0.0.1:${port}`, port: String(await freePort()) }
    for (const name of ['home/.config/containers', 'bin', 'registry'])
      mkdirSync(join(folder, name), { recursive: true })
    symlinkSync(join(root, 'bin/archimage'), join(folder, 'bin/archimage'))
    const containers = join(folder, 'home/.config/containers')
    writeFileSync(join(containers, 'policy.json'), '{ "default": [{ "type": "insecureAcceptAnything" }] }')
    writeFileSync(
      join(containers, 'registries.conf'),
      `[[registry]]\nlocation = "${places.registry}"\ninsecure = true\n[[registry]]\nlocation = "localhost:${places.port}"\ninsecure = true\n`,
    )
    // Bases come from the session's registry, never from a public one.
    if (options.busybox)
      appendFileSync(
        join(containers, 'registries.conf'),
        `[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "${places.registry}"\ninsecure = true\n`,
      )
    const env: Record<string, string> = {
      HOME: join(folder, 'home'),
      XDG_CONFIG_HOME: join(folder, 'home/.config'),
      XDG_RUNTIME_DIR: join(folder, 'home'),
      DOCKER_CONFIG: join(folder, 'home/.docker'),
      ARCHIMAGE_HOME: join(folder, 'store'),
      LC_ALL: 'C.UTF-8',
      PATH: [join(folder, 'bin'), join(root, 'node_modules/.bin'), ...peerPath()].join(delimiter),
    }
    const running: Running[] = []
    running.push(
      await start([...archimage, 'serve', '--port', String(port), join(folder, 'registry/data')], {
        folder: join(folder, 'registry'),
        env,
        ready: async () => (await fetch(`http://${places.registry}/v2/`)).ok,
      }),
    )
    if (options.busybox) await push(places.registry, 'library/busybox:1', busyboxImages())
    const others: { stop(): Promise<void> }[] = [...running]
    if (options.podman) {
      const podman = await startPodman()
      others.push(podman)
      const registries = { CONTAINERS_REGISTRIES_CONF: join(containers, 'registries.conf') }
      Object.assign(env, podman.env, registries, { HOME: env['HOME'], DOCKER_HOST: await podman.serve() })
      // Containers without a network: the machine may have none to give.
      const program = `#!/bin/sh\n[ "$1" = run ] && shift && set -- run --network none "$@"\nexec ${peerOrThrow('podman')} "$@"\n`
      writeFileSync(join(folder, 'bin/podman'), program, { mode: 0o755 })
    }
    return new Session(places, env, others)
  }

  /** Goes to a copy of an example or of the shop beside this file, to an empty folder (`new`), or to the checkout. */
  enter(place: string): void {
    this.#cwd = place === 'checkout' ? root : join(this.#places.folder, place)
    if (place === 'new') mkdirSync(this.#cwd, { recursive: true })
    if (place === 'new' || place === 'checkout') return
    const made = ['dist', '_output', '.archimage']
    cpSync(place === 'shop' ? join(import.meta.dir, place) : join(root, 'examples', place), this.#cwd, {
      recursive: true,
      filter: path => !made.includes(basename(path)),
    })
  }

  write(file: string, text: string): void {
    const path = join(this.#cwd, file)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, `${this.#real(text)}\n`)
  }

  /** Runs one command line; gives its exit code and its output as the text would show it. */
  async run(command: string): Promise<{ readonly code: number; readonly output: string }> {
    const { folder, port } = this.#places
    const [log, directory] = [join(folder, 'output'), join(folder, 'directory')]
    const script = `${this.#real(command)}\nstatus=$?\npwd > ${directory}\nexit $status\n`
    const fd = openSync(log, 'w')
    // A process group of its own: what it leaves in the background ends with the session.
    const child = spawn('sh', ['-c', script], {
      cwd: this.#cwd,
      env: { ...clean(process.env), ...this.#env },
      stdio: ['ignore', fd, fd],
      detached: true,
    })
    closeSync(fd)
    this.#children.push(child)
    const code = await new Promise<number>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${command}: no end within ${LIMIT} ms`)), LIMIT)
      child.on('error', reject)
      child.on('exit', status => {
        clearTimeout(timer)
        resolve(status ?? 128)
      })
    })
    if (/&\s*(?:#.*)?$/.test(command))
      for (let tries = 0; tries < 400; tries++) {
        if (await fetch(`http://localhost:${port}/v2/`).catch(() => undefined)) break
        await sleep(25)
      }
    if (code === 0) this.#cwd = readFileSync(directory, 'utf8').trim()
    return { code, output: this.#shown(readFileSync(log, 'utf8')) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { pid } of this.#children)
      try {
        process.kill(-pid!, 'SIGTERM')
      } catch {}
    for (const one of this.#running.toReversed()) await one.stop()
    await removeFolder(this.#places.folder)
  }

  #real(text: string): string {
    const { registry, port } = this.#places
    return (
      text
        .replaceAll('registry.example.com', registry)
        .replaceAll(/\b5000\b/g, port)
        // What is installed is what is being tested.
        .replaceAll('npm ci && ', '')
    )
  }

  #shown(text: string): string {
    const { folder, registry, port } = this.#places
    return text
      .replaceAll(registry, 'registry.example.com')
      .replaceAll(port, '5000')
      .replaceAll(folder, '/home/you')
      .replaceAll(root, '/home/you/archimage')
  }
}

/** Nothing of the caller's may change what the texts show. */
function clean(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const out = { ...env }
  for (const name of Object.keys(out))
    if (/^(?:SOURCE_DATE_EPOCH|REGISTRY_AUTH_FILE|CONTAINERS_|DOCKER_|NO_COLOR|FORCE_COLOR|CI$)/.test(name))
      delete out[name]
  return out
}
