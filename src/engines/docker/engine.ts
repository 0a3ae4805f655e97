import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { cancelled } from '../../errors/error.ts'
import type { ImageManifest } from '../../oci/manifest.ts'
import { formatPlatform, type Platform } from '../../oci/platform.ts'
import type { BaseImage } from '../../plan/lowered.ts'
import { runProgram } from '../../sys/spawn.ts'
import { Lines, streamProgram } from '../../sys/stream-program.ts'
import { type ArchivedImage, ImageArchive } from '../archive.ts'
import { addToLayout, fetchImage, foreignLayers } from '../bases.ts'
import { withoutElsewhere } from '../elsewhere.ts'
import type { Abilities, BuildTools, Cell, Engine, Problem } from '../engine.ts'
import { limitNames, sharedFlags } from '../flags.ts'
import { folderImage } from '../folder-image.ts'
import { ImageKeeper } from '../keeper.ts'
import { knownLayers, takeImage } from '../result.ts'
import { type Rewritten, rewriteDockerfile } from '../rewrite.ts'
import { abilityAmong } from '../runs.ts'
import { StepEvents } from '../step-events.ts'
import { isFresh } from '../steps.ts'
import { isReadInPlace, namedFolders, openWorkspace, type Workspace } from '../workspace.ts'
import { type Buildx, builderAbilities, builderPlatforms, findBuildx, isClassic } from './builder.ts'
import { buildxFailure } from './failure.ts'
import { buildxLacks, isOlder, type Version, versionIn } from './lacks.ts'
import { RawProgress } from './raw-progress.ts'

/** BuildKit's release that knows every instruction and flag that we know (frontend 1.20). */
const WHOLE_LANGUAGE: Version = [0, 26]
/** BuildKit's messages hold pieces of logs. */
const LONGEST_LINE = 16 << 20

/** Builds with the chosen builder of docker buildx, which is started as a program. */
export function dockerEngine(): Engine {
  return new DockerEngine()
}

class DockerEngine implements Engine {
  readonly name = 'docker'
  #buildx: Buildx | undefined
  #keeper: ImageKeeper | undefined
  #emulates: (platform: Platform) => boolean = () => false
  readonly #builds = new Set<Promise<unknown>>()

  async probe(signal: AbortSignal): Promise<Abilities> {
    const found = await findBuildx(signal)
    if ('message' in found) return { problems: [found] }
    this.#buildx = found
    if (isClassic(found.builder)) {
      const [{ endpoint } = { endpoint: 'default' }] = found.builder.nodes
      const docker = ['docker', ...(endpoint === 'default' ? [] : ['--context', endpoint])]
      try {
        await runProgram('docker', ['--version'], { signal })
      } catch {
        const message = 'the program docker is not installed, and its daemon needs it to take and give images'
        return { problems: [{ message, hint: 'install docker, or choose a builder of another kind' }] }
      }
      this.#keeper = new ImageKeeper(docker, 'docker')
    }
    const platforms = builderPlatforms(found.builder)
    this.#emulates = platform => abilityAmong(platforms, platform).how === 'emulated'
    return builderAbilities(platforms)
  }

  lacks(cell: Cell): Problem | undefined {
    return buildxLacks(cell, this.#buildx!, this.#keeper !== undefined)
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

  async #build(given: Cell, tools: BuildTools): Promise<ImageManifest> {
    const { cell, elsewhere } = await withoutElsewhere(given, tools)
    const layout = this.#keeper ? undefined : new Layout(tools)
    const images = new Map<BaseImage, string>()
    for (const image of new Set(cell.lowered.bases)) images.set(image, await this.#hand(image, layout, tools))
    const folders = new Map<string, string>()
    const read: string[] = []
    for (const path of [...namedFolders(cell), ...elsewhere.map(one => one.path)])
      if (!layout) folders.set(path, await this.#keeper!.folder(path, cell, tools))
      else if (isReadInPlace(cell, path)) {
        folders.set(path, `archimage.invalid/folder-${folders.size}`)
        read.push(path)
      } else
        folders.set(path, layout.add(await folderImage(path, cell.directories.get(path)!, cell.platform, tools), true))
    const rewritten = rewriteDockerfile(
      cell,
      { image: image => images.get(image)!, directory: path => folders.get(path)! },
      { syntax: this.#wantsSyntax(), platforms: false },
      elsewhere,
    )
    const workspace = await openWorkspace(cell, rewritten.text, tools.store.scratch(), tools)
    try {
      layout?.write(join(workspace.root, 'layout'))
      const contexts = [
        ...read.map(path => `${folders.get(path)!}=${path}`),
        ...(layout?.contexts(join(workspace.root, 'layout')) ?? []),
      ]
      const image = await this.#run(cell, rewritten, workspace, contexts, tools)
      return await takeImage(image, cell, this.name, tools)
    } finally {
      workspace.remove()
    }
  }

  /** Gives an image to the builder; the name that it has there. */
  async #hand(image: BaseImage, layout: Layout | undefined, tools: BuildTools): Promise<string> {
    const whole = await fetchImage(image, tools)
    if (layout) return layout.add(image, whole)
    if (!whole) throw foreignLayers(image, this.name)
    return this.#keeper!.load(image, tools)
  }

  /** A frontend is only fetched where the builder's own is older than ours. */
  #wantsSyntax(): boolean {
    const versions = this.#buildx!.builder.nodes.map(node => versionIn(node.version))
    return versions.some(version => version !== undefined && isOlder(version, WHOLE_LANGUAGE))
  }

  async #run(
    cell: Cell,
    rewritten: Rewritten,
    workspace: Workspace,
    contexts: readonly string[],
    tools: BuildTools,
  ): Promise<ArchivedImage> {
    const { signal, store } = tools
    const [program, ...command] = this.#buildx!.command
    const keeper = this.#keeper
    const result = keeper && `${keeper.repository}/result:${randomBytes(8).toString('hex')}`
    const progress = new RawProgress(
      rewritten.stages,
      new StepEvents(cell, this.#emulates, tools.emit),
      keeper !== undefined,
    )
    const said: string[] = []
    const lines = new Lines(line => void (progress.line(line) || said.push(line)), LONGEST_LINE)
    const { compression, level, workers } = cell.options
    const archive = new ImageArchive({
      ...{ store, from: this.name, compression, known: knownLayers(cell) },
      ...(level === undefined ? {} : { level }),
      ...(workers === undefined ? {} : { workers }),
    })
    const args = [
      ...['build', '--progress', 'rawjson', '--platform', formatPlatform(cell.platform), '-f', workspace.dockerfile],
      ...(result === undefined ? ['-o', exporter(cell)] : ['--load', '-t', result]),
      ...contexts.flatMap(context => ['--build-context', context]),
      ...buildFlags(cell, rewritten, this.#buildx!.builder.nodes[0]?.platforms[0]),
      workspace.context,
    ]
    try {
      const ended = await streamProgram(program, [...command, ...args], {
        signal,
        env: buildxEnvironment(),
        stdout: chunk => (result === undefined ? archive.push(chunk) : undefined),
        stderr: chunk => lines.push(chunk),
      })
      lines.finish()
      if (signal.aborted) throw cancelled(signal.reason)
      if (ended.code !== 0) throw buildxFailure(cell, progress.failed, said)
      if (result !== undefined) await keeper!.save(result, chunk => archive.push(chunk), signal)
      return await archive.finish()
    } catch (error) {
      archive.abort()
      if (signal.aborted) throw cancelled(signal.reason)
      throw error
    } finally {
      if (result !== undefined) keeper!.drop(result)
    }
  }
}

/** The bases of one build in an image layout, each under a name of its own. */
class Layout {
  readonly #tools: BuildTools
  readonly #images: { readonly image: BaseImage; readonly name: string; readonly whole: boolean }[] = []

  constructor(tools: BuildTools) {
    this.#tools = tools
  }

  add(image: BaseImage, whole: boolean): string {
    if (!whole && image.repository === undefined) throw foreignLayers(image, 'docker')
    const name = `archimage.invalid/base-${this.#images.length}`
    this.#images.push({ image, name, whole })
    return name
  }

  write(root: string): void {
    for (const { image, whole } of this.#images) if (whole) addToLayout(image, root, this.#tools)
  }

  /** Values of `--build-context`. What lies outside of registries the builder fetches itself. */
  contexts(root: string): string[] {
    return this.#images.map(({ image: { manifest, repository }, name, whole }) =>
      whole
        ? `${name}=oci-layout://${root}@${manifest.digest}`
        : `${name}=docker-image://${repository}@${manifest.digest}`,
    )
  }
}

/** BuildKit's names: https://github.com/moby/buildkit#output. */
function exporter({ options }: Cell): string {
  const { compression, level } = options
  return [
    ...['type=oci', 'dest=-', `compression=${compression === 'none' ? 'uncompressed' : compression}`],
    ...(level === undefined || compression === 'none' ? [] : [`compression-level=${Math.min(level, 9)}`]),
  ].join(',')
}

function buildFlags(cell: Cell, { stages }: Rewritten, own: Platform | undefined): string[] {
  const { source, steps } = cell
  const fresh = [...stages].filter(([, stage]) => steps.fresh !== true && isFresh(stage, steps)).map(([name]) => name)
  return [
    ...sharedFlags(cell, own),
    ...(source.target === undefined ? [] : ['--target', [...stages.keys()].at(-1)!]),
    ...[...steps.secrets.values()].flatMap(({ spec }) => ['--secret', spec]),
    ...source.policy.allow.flatMap(privilege => ['--allow', privilege]),
    ...limitNames(cell).flatMap(([name, value]) => ['--resource', `${name}=${value}`]),
    ...fresh.flatMap(name => ['--no-cache-filter', name]),
  ]
}

function buildxEnvironment(): NodeJS.ProcessEnv {
  return {
    ...process.env,
    // One image and nothing beside it.
    BUILDX_NO_DEFAULT_ATTESTATIONS: '1',
    BUILDX_GIT_INFO: 'false',
    BUILDX_GIT_LABELS: 'false',
    DOCKER_CLI_HINTS: 'false',
    NO_COLOR: '1',
  }
}
