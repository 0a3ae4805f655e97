import { randomBytes } from 'node:crypto'
import { cancelled } from '../../errors/error.ts'
import type { ImageManifest } from '../../oci/manifest.ts'
import { formatPlatform, type Platform } from '../../oci/platform.ts'
import type { BaseImage } from '../../plan/lowered.ts'
import { endGroup, Lines, streamProgram } from '../../sys/stream-program.ts'
import { MachineAbility } from '../ability.ts'
import { ImageArchive } from '../archive.ts'
import { fetchImage, foreignLayers } from '../bases.ts'
import { withoutElsewhere } from '../elsewhere.ts'
import type { Abilities, BuildTools, Cell, Engine, Problem } from '../engine.ts'
import { limitNames, sharedFlags } from '../flags.ts'
import { ImageKeeper } from '../keeper.ts'
import { knownLayers, takeImage } from '../result.ts'
import { type Rewritten, rewriteDockerfile } from '../rewrite.ts'
import { StepEvents } from '../step-events.ts'
import { namedFolders, openWorkspace, type Workspace } from '../workspace.ts'
import { endContainers } from './end.ts'
import { podmanFailure } from './failure.ts'
import { podmanLacks } from './lacks.ts'
import { PlainSteps } from './plain-steps.ts'
import { findPodman, type Podman, podmanAbilities } from './probe.ts'

/** Builds with podman, which is started as a program. */
export function podmanEngine(ability = new MachineAbility()): Engine {
  return new PodmanEngine(ability)
}

class PodmanEngine implements Engine {
  readonly name = 'podman'
  readonly #ability: MachineAbility
  #podman: Podman | undefined
  #keeper: ImageKeeper | undefined
  readonly #builds = new Set<Promise<unknown>>()

  constructor(ability: MachineAbility) {
    this.#ability = ability
  }

  async probe(signal: AbortSignal): Promise<Abilities> {
    const found = await findPodman(signal)
    if ('message' in found) return { problems: [found] }
    this.#podman = found
    this.#keeper = new ImageKeeper(found.command, this.name)
    return podmanAbilities(found, this.#ability.of)
  }

  lacks(cell: Cell): Problem | undefined {
    return podmanLacks(cell, this.#podman!)
  }

  async build(cell: Cell, tools: BuildTools): Promise<ImageManifest> {
    const build = this.#build(cell, tools)
    this.#builds.add(build)
    try {
      return await build
    } finally {
      this.#builds.delete(build)
    }
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#builds)
    await this.#keeper?.close()
  }

  async #build(whole: Cell, tools: BuildTools): Promise<ImageManifest> {
    const { cell, elsewhere } = await withoutElsewhere(whole, tools)
    const images = new Map<BaseImage, string>()
    for (const image of new Set(cell.lowered.bases)) {
      if (!(await fetchImage(image, tools))) throw foreignLayers(image, this.name)
      images.set(image, await this.#keeper!.load(image, tools))
    }
    const folders = new Map<string, string>()
    for (const path of [...namedFolders(cell), ...elsewhere.map(one => one.path)])
      folders.set(path, await this.#keeper!.folder(path, cell, tools))
    const rewritten = rewriteDockerfile(
      cell,
      { image: image => images.get(image)!, directory: path => folders.get(path)! },
      // After a FROM with a platform buildah 1.28 takes that one for the others as well.
      { syntax: false, platforms: true },
      elsewhere,
    )
    const workspace = await openWorkspace(cell, rewritten.text, tools.store.scratch(), tools)
    try {
      return await this.#run(cell, rewritten, workspace, tools)
    } finally {
      workspace.remove()
    }
  }

  async #run(cell: Cell, { stages }: Rewritten, workspace: Workspace, tools: BuildTools): Promise<ImageManifest> {
    const { signal, store } = tools
    const [podman, keeper] = [this.#podman!, this.#keeper!]
    const [program = '', ...before] = podman.command
    const result = `${keeper.repository}/result:${randomBytes(8).toString('hex')}`
    const emulates = ({ architecture }: Platform): boolean => architecture !== podman.platform.architecture
    const steps = new PlainSteps([...stages.values()], new StepEvents(cell, emulates, tools.emit))
    const said: string[] = []
    const out = new Lines(line => steps.line(line))
    const err = new Lines(line => {
      said.push(line)
      steps.error(line)
    })
    const args = [
      ...['build', '--format', 'docker', '--pull=never', '--http-proxy=false', '-t', result],
      ...['--platform', formatPlatform(cell.platform), '-f', workspace.dockerfile],
      ...['--ignorefile', workspace.ignoreFile],
      ...buildFlags(cell, stages, podman.platform),
      workspace.context,
    ]
    try {
      const ended = await streamProgram(program, [...before, ...args], {
        signal,
        end: podman.remote || process.platform !== 'linux' ? endGroup : endContainers,
        stdout: chunk => out.push(chunk),
        stderr: chunk => err.push(chunk),
      })
      out.finish()
      err.finish()
      if (signal.aborted) throw cancelled(signal.reason)
      if (ended.code !== 0) throw podmanFailure(cell, steps.fail(), said)
      steps.end()
      const { compression, level, workers } = cell.options
      const archive = new ImageArchive({
        ...{ store, from: this.name, compression, known: knownLayers(cell) },
        ...(level === undefined ? {} : { level }),
        ...(workers === undefined ? {} : { workers }),
      })
      try {
        await keeper.save(result, chunk => archive.push(chunk), signal)
        return await takeImage(await archive.finish(), cell, this.name, tools)
      } finally {
        archive.abort()
      }
    } finally {
      keeper.drop(result)
    }
  }
}

function buildFlags(cell: Cell, stages: Rewritten['stages'], own: Platform): string[] {
  const { source, steps } = cell
  return [
    ...sharedFlags(cell, own),
    ...(source.target === undefined ? [] : ['--target', [...stages.keys()].at(-1)!]),
    // Without a type a variable of the secret's name would be taken for it.
    ...[...steps.secrets.values()].flatMap(({ spec }) => [
      '--secret',
      spec.includes(',env=') ? spec : `${spec},type=file`,
    ]),
    ...limitNames(cell).flatMap(([name, value]) => [`--${name}`, value]),
  ]
}
