import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import {
  type BuildKit,
  must,
  type Podman,
  peer,
  type Registry,
  removeFolder,
  startBuildKit,
  startPodman,
  startRegistry,
  temporaryFolder,
} from '../test/peers/index.ts'
import { pushBases } from './bases.ts'

/** The real parts that benches share: started when first asked for, ended by `stop`. */
export class Parts {
  readonly folder = temporaryFolder('bench')
  readonly archimage: string
  #discarded = 0
  #registry: Promise<Registry> | undefined
  #bases: Promise<Registry> | undefined
  #buildkit: Promise<BuildKit> | undefined
  #podman: Promise<Podman> | undefined
  readonly #more: Promise<{ stop(): Promise<void> }>[] = []

  constructor(archimage: string) {
    this.archimage = archimage
  }

  /** A folder of this run, made when it is not there. */
  place(name: string): string {
    const folder = join(this.folder, name)
    mkdirSync(folder, { recursive: true })
    return folder
  }

  /**
   * Takes a folder out of the way; it goes at the end. ext4 without a journal does not take the inodes of deleted files again for
   * a minute or more, and looks at all of them for each file that is made meanwhile.
   */
  discard(folder: string): void {
    const place = join(this.folder, `discarded-${this.#discarded++}`)
    if (existsSync(folder)) renameSync(folder, place)
  }

  registry(): Promise<Registry> {
    this.#registry ??= startRegistry()
    return this.#registry
  }

  /** A second registry, which is never emptied: what Dockerfiles begin with. */
  bases(): Promise<Registry> {
    this.#bases ??= startRegistry().then(async registry => {
      await pushBases(registry.host)
      return registry
    })
    return this.#bases
  }

  buildkit(): Promise<BuildKit> {
    this.#buildkit ??= Promise.all([this.registry(), this.bases()]).then(registries =>
      startBuildKit({ registries: registries.map(({ host }) => host) }),
    )
    return this.#buildkit
  }

  podman(): Promise<Podman> {
    this.#podman ??= startPodman()
    return this.#podman
  }

  /** Starts something that only one bench needs, and ends it with the rest. */
  more<T extends { stop(): Promise<void> }>(start: () => Promise<T>): Promise<T> {
    const started = start()
    this.#more.push(started)
    return started
  }

  get hasBuildKit(): boolean {
    return process.getuid?.() === 0 && [peer('buildkitd'), peer('buildctl'), peer('buildx')].every(Boolean)
  }

  get hasBuildah(): boolean {
    return process.getuid?.() === 0 && peer('buildah') !== undefined
  }

  async stop(): Promise<void> {
    for (const part of [this.#podman, this.#buildkit, this.#registry, this.#bases, ...this.#more])
      await part?.then(
        running => running.stop(),
        () => {},
      )
    await removeFolder(this.folder)
  }
}

/** Forgets what a registry holds; it looks at its disk at every request. */
export async function clearRegistry(parts: Parts): Promise<void> {
  parts.discard((await parts.registry()).storage)
}

/** Forgets all that BuildKit has built. */
export async function clearBuildKit(parts: Parts): Promise<void> {
  await (await parts.buildkit()).buildctl(['prune', '--all'])
}

export async function clearBuildah(parts: Parts): Promise<void> {
  const { buildah } = await parts.podman()
  await buildah(['rmi', '--all', '--force'])
}

/** Writes pages back to the disk, so that nobody pays for what the one before wrote. */
export async function settle(): Promise<void> {
  await must(['sync'])
  // What the one before left to its daemons (garbage collection) is not charged to the next.
  await setTimeout(1000)
}

/** The highest resident memory of archimage and its children together seen so far, in bytes, by name of the measurement. */
export const peaks = new Map<string, number>()

/** Runs the compiled archimage in `folder` with `home` as its store; its output goes nowhere unless it fails. */
export function runArchimage(
  parts: Parts,
  folder: string,
  home: string,
  args: readonly string[],
  peak?: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, ARCHIMAGE_HOME: home, NO_COLOR: '1' }
    const child = spawn(parts.archimage, args, { cwd: folder, env, stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.on('data', chunk => {
      said = (said + chunk).slice(-8000)
    })
    const watch = peak === undefined ? undefined : setInterval(() => note(peak, child), 20)
    child.on('error', reject)
    child.on('close', code => {
      clearInterval(watch)
      if (code === 0) resolve()
      else reject(new Error(`archimage ${args.join(' ')} ended with ${code}\n${said}`))
    })
  })
}

function note(name: string, child: ChildProcess): void {
  try {
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
    const bytes = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024
    peaks.set(name, Math.max(peaks.get(name) ?? 0, bytes))
  } catch {}
}

/** Bytes of the blocks that the files below a folder take; a file with several names counts once. */
export function diskUsage(folder: string): number {
  const seen = new Set<number>()
  let sum = 0
  const walk = (path: string) => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const file = join(path, entry.name)
      const { ino, blocks } = lstatSync(file)
      if (!seen.has(ino)) sum += blocks * 512
      seen.add(ino)
      if (entry.isDirectory()) walk(file)
    }
  }
  if (existsSync(folder)) walk(folder)
  return sum
}

/** Throws unless the registry has an index of `members` manifests under each of the references. */
export async function expectIndexes(parts: Parts, names: readonly string[], members: number): Promise<void> {
  const { host } = await parts.registry()
  const accept = [
    'application/vnd.oci.image.index.v1+json',
    'application/vnd.docker.distribution.manifest.list.v2+json',
  ].join(', ')
  for (const name of names) {
    const answer = await fetch(`http://${host}/v2/${name}/manifests/1`, { headers: { accept } })
    const { manifests = [] } = (await answer.json()) as { manifests?: unknown[] }
    if (manifests.length !== members)
      throw new Error(`${host}/${name}:1 has ${manifests.length} members, not ${members}`)
  }
}
