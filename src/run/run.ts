import { availableParallelism } from 'node:os'
import { MachineAbility } from '../engines/ability.ts'
import { Engines, engineLoader } from '../engines/choose.ts'
import { defaultEmulators } from '../engines/emulators.ts'
import type { BuildTools, Cell, ExportedSteps } from '../engines/engine.ts'
import type { EngineName } from '../engines/names.ts'
import type { NativeOptions } from '../engines/native/engine.ts'
import { runOps } from '../engines/runs.ts'
import { Slots } from '../engines/slots.ts'
import type { StepMeans } from '../engines/steps.ts'
import { CODES, type ErrorCode } from '../errors/codes.ts'
import { ArchimageError, cancelled, gravest, isArchimageError } from '../errors/error.ts'
import type { ImageManifest } from '../oci/manifest.ts'
import { formatPlatform, type Platform, parsePlatform, selectPlatform } from '../oci/platform.ts'
import type { Reference } from '../oci/reference.ts'
import { buildGraph, cellId, type Graph, type PlannedCell } from '../plan/graph.ts'
import { type CellKey, engineKey, FORMAT, whatChanged } from '../plan/key.ts'
import type { Project, Service } from '../project/project.ts'
import type { Registry } from '../registry/registry.ts'
import type { Store } from '../store/store.ts'
import { Ahead } from './ahead.ts'
import type { BlobFetcher } from './blobs.ts'
import { CacheImports } from './cache-import.ts'
import type { CachePlace, CacheTarget } from './cache-options.ts'
import { type CacheName, cacheName } from './cache-places.ts'
import { assembleImages, deliver, type ServiceImage } from './deliver.ts'
import type {
  CellResult,
  CellState,
  Emit,
  RunEvent,
  RunResult,
  SandboxSummary,
  ServiceResult,
  StepFacts,
} from './events.ts'
import { toFailure } from './failure.ts'
import { RunFindings } from './findings.ts'
import { type CellSettings, openPreparation, type Preparation, type Prepared } from './prepare.ts'
import { type CellRecord, knownImage, type LastBuild, lastBuild, recordImage, recordLast } from './records.ts'

export interface RunRequest {
  readonly project: Project
  /** Those that were asked for; what they need comes by itself. */
  readonly services: readonly Service[]
  readonly platformsOf: (service: Service) => readonly Platform[]
  readonly settings: CellSettings
  /** Builds every cell, instead of the first engine that can. */
  readonly engine?: EngineName
  readonly jobs?: number
  readonly failFast: boolean
  /** Builds although a record says that it is not necessary. */
  readonly force: boolean
  readonly pull: boolean
  readonly offline: boolean
  readonly push: boolean
  readonly atomic: boolean
  /** A tag that names something else is an error, before anything is uploaded for it. */
  readonly noClobber?: boolean
  /** Names for a service's index, the main one first. The first is its name in the store; all are pushed. */
  readonly names: (service: Service) => readonly Reference[]
  /** Names for the image of one platform (`--arch-tags`). */
  readonly archNames: (service: Service, platform: Platform) => readonly Reference[]
  readonly means?: StepMeans
  /** Do not push any name, only content by digest (`push-by-digest`). */
  readonly byDigest?: boolean
  readonly indexAnnotations: Readonly<Record<string, string>>
  /** Where RUN steps of other machines are found, and where those of this run go. */
  readonly caches?: Caches
}

export interface Caches {
  readonly from: readonly CachePlace[]
  readonly to: readonly CacheTarget[]
  /** One image is built, and its name is no part of those of its caches. */
  readonly single: boolean
}

export interface RunTools {
  readonly store: Store
  readonly registry: Registry
  readonly emit: Emit
  readonly signal: AbortSignal
}

export interface RunOutcome {
  readonly result: RunResult
  /** Complete services, in the project's order. */
  readonly images: readonly ServiceImage[]
  readonly blobs: BlobFetcher
}

interface Ended {
  readonly result: CellResult
  readonly manifest?: ImageManifest
}

/** Takes a project from source to verified images: builds every cell, publishes, reads back (DESIGN §2). */
export async function run(request: RunRequest, tools: RunTools): Promise<RunOutcome> {
  return new Run(request, tools).run()
}

class Run {
  private readonly request: RunRequest
  private readonly tools: RunTools
  private readonly blobs: BlobFetcher
  private readonly preparation: Preparation
  private readonly engines: Engines
  private readonly ability: MachineAbility
  /** By cell. */
  private readonly chosen = new Map<string, { readonly engine: string; readonly emulated: boolean }>()
  private readonly started = new Date()
  private readonly clock = performance.now()
  private readonly ended = new Map<string, Ended>()
  /** By cell: the failed one that it waits for in vain. */
  private readonly heldBy = new Map<string, string>()
  private readonly warnings: string[] = []
  private readonly findings = new RunFindings()
  private readonly stop = new AbortController()
  private readonly signal: AbortSignal
  /** By cell: its RUN steps that ended. */
  private readonly steps = new Map<string, StepFacts[]>()
  private sandbox: SandboxSummary | undefined
  private readonly imports: CacheImports
  /** By cell: its RUN steps, for caches. */
  private readonly exports = new Map<string, ExportedSteps>()
  private readonly cacheErrors: ArchimageError[] = []
  private readonly jobs: number
  private readonly ahead: Ahead
  private over = false

  constructor(asked: RunRequest, tools: RunTools) {
    // A service that has none of the platforms that were asked for has no part in the run.
    const request = { ...asked, services: asked.services.filter(service => asked.platformsOf(service).length > 0) }
    this.request = request
    this.signal = AbortSignal.any([tools.signal, this.stop.signal])
    const emit: Emit = event => {
      if (this.over && event.type !== 'run-ended') return
      if (event.type === 'warning') {
        if (this.warnings.includes(event.message)) return
        this.warnings.push(event.message)
      }
      this.remember(event)
      tools.emit(event)
    }
    this.tools = { ...tools, emit }
    const { ownNamespace = false, installEmulators } = request.means ?? {}
    this.ability = new MachineAbility({
      ...{ memory: tools.store.records, ownNamespace },
      ...(installEmulators ? { install: { fetch: () => this.emulators() } } : {}),
    })
    this.engines = new Engines(request.engine, this.signal, engineLoader(nativeOptions(request, this.ability)))
    this.jobs = request.jobs ?? Math.max(4, availableParallelism())
    const { preparation, blobs } = openPreparation(request, { ...tools, emit, signal: this.signal })
    this.preparation = preparation
    this.blobs = blobs
    this.ahead = new Ahead({ ...this.tools, blobs, signal: this.signal })
    this.imports = new CacheImports({ ...this.tools, blobs, signal: this.signal })
  }

  private emulators(): Promise<string> {
    const { store, registry, emit } = this.tools
    const repository = registry.repository.bind(registry)
    return defaultEmulators({ home: store.root, repository, emit, signal: this.signal })
  }

  /** What the result says of RUN steps. */
  private remember(event: RunEvent): void {
    if (event.type === 'step-ended') {
      const { type: _, cell, number: __, ...facts } = event
      const id = `${cell.service} ${cell.platform}`
      this.steps.set(id, [...(this.steps.get(id) ?? []), facts])
    } else if (event.type === 'sandbox') {
      const { type: _, ...sandbox } = event
      this.sandbox = sandbox
    }
  }

  async run(): Promise<RunOutcome> {
    const { request, tools, jobs } = this
    const { project } = request
    await this.preparation.open(request.services)
    const graph = planGraph(request, this.preparation)
    for (const message of [...project.warnings, ...graph.warnings]) tools.emit({ type: 'warning', message })
    const cells = graph.cells.map(({ service, platform }) => ({
      service: service.name,
      platform: formatPlatform(platform),
    }))
    tools.emit({ type: 'run-started', cells, jobs, project: project.root })
    await untilStopped(this.prebuild(graph, jobs), tools.signal)
    if (!tools.signal.aborted) {
      await readyForSteps(graph, this.ability)
      tools.emit({ type: 'phase', phase: 'build' })
    }
    await untilStopped(this.buildCells(graph, jobs), tools.signal)
    await untilStopped(this.engines.close(), tools.signal)
    for (const message of this.findings.warnings()) tools.emit({ type: 'warning', message })
    this.preparation.save()
    await untilStopped(this.exportCaches(graph), tools.signal)
    const manifestOf = (service: Service, platform: Platform) =>
      this.ended.get(cellId(service.name, platform))?.manifest
    const images = tools.signal.aborted ? [] : assembleImages(request, tools.store, manifestOf)
    const { services, errors } = await deliver(images, request, {
      ...tools,
      blobs: this.blobs,
      stopped: this.stop.signal,
    })
    await this.ahead.stop()
    this.over = true
    const result = this.result(graph, services, errors)
    tools.emit({ type: 'run-ended', result })
    return { result, images, blobs: this.blobs }
  }

  /** Prebuild commands of all cells, before anything is hashed: contexts are read as they leave them. */
  private async prebuild(graph: Graph, jobs: number): Promise<void> {
    const cells = graph.cells.filter(cell => cell.service.prebuild !== undefined)
    if (cells.length === 0) return
    this.tools.emit({ type: 'phase', phase: 'prepare' })
    const { runPrebuild } = await import('../project/prebuild.ts')
    const slots = new Slots(jobs)
    const prebuild = async (cell: PlannedCell): Promise<void> => {
      if (this.signal.aborted) return
      const name = { service: cell.service.name, platform: formatPlatform(cell.platform) }
      const start = performance.now()
      try {
        await runPrebuild(cell.service, cell.platform, {
          signal: this.signal,
          onLine: line => this.tools.emit({ type: 'cell-log', cell: name, text: `${line}\n` }),
        })
      } catch (error) {
        this.end(cell, this.failed(cell, error, start))
      }
    }
    // One after the other in one folder: two of `npm ci` would tread on each other.
    const folders = Map.groupBy(cells, cell => cell.service.context)
    await Promise.all(
      [...folders.values()].map(async group => {
        for (const cell of group) await slots.run(() => prebuild(cell))
      }),
    )
  }

  /**
   * Cells of which no engine here can run a step fail before anything else is built, unless their image is there already. Nobody
   * knows that yet where they stand on another service: such a cell fails if it was never built here.
   */
  private async failEarly(graph: Graph): Promise<void> {
    for (const cell of graph.cells) {
      const { steps, dockerfile, id } = cell
      if (this.ended.has(id)) continue
      const start = performance.now()
      const refusal = await this.engines.refusal(steps, dockerfile.file)
      if (refusal === undefined) continue
      if (cell.needs.length === 0) await this.buildCell(cell)
      else if (lastBuild(this.request.project.root, id, this.tools.store) === undefined)
        this.end(cell, this.failed(cell, refusal, start))
    }
  }

  private async buildCells(graph: Graph, jobs: number): Promise<void> {
    await this.failEarly(graph)
    const slots = new Slots(jobs)
    const promises = new Map<string, Promise<void>>()
    for (const cell of graph.cells) {
      const needs = cell.needs.map(id => promises.get(id)!)
      promises.set(
        cell.id,
        Promise.all(needs).then(() => (this.ended.has(cell.id) ? undefined : slots.run(() => this.buildCell(cell)))),
      )
    }
    await Promise.all(promises.values())
  }

  private async buildCell(cell: PlannedCell): Promise<void> {
    const start = performance.now()
    const held = cell.needs.find(id => !isRight(this.ended.get(id)))
    if (held !== undefined) return this.end(cell, this.heldUp(cell, held, start))
    if (this.signal.aborted)
      return this.end(
        cell,
        this.ending(cell, this.tools.signal.aborted ? 'cancelled' : 'not-run', this.stopReason(), start),
      )
    this.tools.emit({ type: 'cell-started', cell: cellName(cell) })
    try {
      const prepared = await this.preparation.prepare(cell, (service, platform) =>
        this.upstream(cell, service, platform),
      )
      this.findings.add(cell.dockerfile.file, cell.platform, prepared.check())
      for (const message of prepared.warnings) this.tools.emit({ type: 'warning', message, cell: cellName(cell) })
      const ended = await this.buildPrepared(cell, prepared, start)
      this.sendAhead(cell, ended)
      this.end(cell, ended)
    } catch (error) {
      this.end(cell, this.failed(cell, error, start))
    }
  }

  private sendAhead({ service, platform }: PlannedCell, { result, manifest }: Ended): void {
    const { request } = this
    if (!request.push || manifest === undefined || result.state !== 'built' || !request.services.includes(service))
      return
    this.ahead.send(manifest, [...request.names(service), ...request.archNames(service, platform)])
  }

  /** The cell that is named is the one that failed, however many stand between. */
  private heldUp(cell: PlannedCell, held: string, start: number): Ended {
    const first = this.heldBy.get(held) ?? held
    this.heldBy.set(cell.id, first)
    const state = this.ended.get(first)?.result.state
    if (state === 'cancelled' || state === 'not-run')
      return this.ending(cell, this.tools.signal.aborted ? 'cancelled' : 'not-run', this.stopReason(), start)
    return this.ending(cell, 'not-run', `needs ${first}, which failed`, start)
  }

  private upstream(cell: PlannedCell, service: string, platform: Platform): ImageManifest | undefined {
    const platforms = cell.needs.filter(id => id.startsWith(`${service} `)).map(id => this.ended.get(id)!)
    const match = selectPlatform(
      platform,
      platforms.map(ended => parsePlatform(ended.result.platform)),
    )
    return match && platforms[match.index]!.manifest
  }

  private async buildPrepared(cell: PlannedCell, prepared: Prepared, start: number): Promise<Ended> {
    const { store } = this.tools
    const { root } = this.request.project
    const last = lastBuild(root, cell.id, store)
    const fallback = prepared.fallback === undefined ? {} : { fallback: prepared.fallback }
    const force = this.request.force || prepared.fresh
    const engines = await this.engines.candidates(prepared.cell)
    const known = force ? undefined : knownImage(prepared, engines, store, this.blobs)
    if (known) {
      const { keyed, engine } = known
      this.chosen.set(cell.id, { engine, emulated: false })
      recordLast(root, cell.id, keyed, store)
      if (this.exporting(prepared)) await this.steppedThrough(prepared, engine)
      const reason = last === undefined || last.key === keyed.key ? 'nothing changed' : 'the same as an earlier build'
      return this.right(cell, 'unchanged', reason, known.record, known.manifest, start, fallback)
    }
    const { engine, emulated, why } = await this.engines.choose(prepared.cell, engines)
    const by = { engine: engine.name, emulated }
    this.chosen.set(cell.id, by)
    this.tools.emit({ type: 'cell-engine', cell: cellName(cell), ...by, ...(why === undefined ? {} : { why }) })
    if (engine.name !== 'native' && this.exporting(prepared)) this.notExported(prepared, engine.name)
    const manifest = await engine.build(prepared.cell, this.buildTools(prepared))
    const keyed = engineKey(prepared, engine.name)
    const record = recordImage(keyed.key, manifest, store)
    recordLast(root, cell.id, keyed, store)
    return this.right(cell, 'built', whyBuilt(force, last, keyed), record, manifest, start, fallback)
  }

  private buildTools({ cell }: Prepared): BuildTools {
    const { caches } = this.request
    const [id, names] = [cellId(cell.service.name, cell.platform), this.cacheNames(cell, caches?.from ?? [])]
    const mode = caches?.to.some(target => target.mode === 'max') ? 'max' : 'min'
    return {
      store: this.tools.store,
      emit: this.tools.emit,
      signal: this.signal,
      fetch: descriptor => this.blobs.ensure(descriptor, this.signal),
      jobs: this.jobs,
      ...(names.length > 0 ? { imported: key => this.imports.find(key, names) } : {}),
      ...(caches?.to.length ? { exported: { mode, take: steps => this.exports.set(id, steps) } } : {}),
    }
  }

  private cacheNames({ service, platform }: Pick<Cell, 'service' | 'platform'>, places: readonly CachePlace[]) {
    const name = this.request.caches?.single ? undefined : service.name
    return places.map((place): CacheName => cacheName(place, name, platform))
  }

  private exporting({ cell }: Prepared): boolean {
    return (this.request.caches?.to.length ?? 0) > 0 && runOps(cell).length > 0
  }

  /** The steps of an image that need not be built, for caches; what is not known of them any more runs again. */
  private async steppedThrough(prepared: Prepared, engine: string): Promise<void> {
    if (engine !== 'native') return this.notExported(prepared, engine)
    const choice = await this.engines.choose(prepared.cell, ['native'])
    await choice.engine.build(prepared.cell, this.buildTools(prepared))
  }

  private notExported({ cell }: Prepared, engine: string): void {
    const name = { service: cell.service.name, platform: formatPlatform(cell.platform) }
    this.tools.emit({ type: 'warning', cell: name, message: `--cache-to: steps that ${engine} ran are in no cache` })
  }

  /** Each cell has its own cache: what one failed to build takes nothing from the others. */
  private async exportCaches(graph: Graph): Promise<void> {
    const targets = this.request.caches?.to ?? []
    if (targets.length === 0 || this.exports.size === 0) return
    const { exportCache } = await import('./cache-export.ts')
    const { compression, level } = this.request.settings
    const written = { format: FORMAT, compression, ...(level === undefined ? {} : { level }) }
    const tools = { ...this.tools, blobs: this.blobs }
    const cells = graph.cells.filter(({ id }) => this.exports.has(id))
    const write = async (cell: PlannedCell, { place, mode, ignoreError }: CacheTarget): Promise<void> => {
      const [name] = this.cacheNames(cell, [place])
      const { own, others } = this.exports.get(cell.id)!
      try {
        await exportCache(name!, { written, steps: mode === 'max' ? [...own, ...others] : own }, tools)
      } catch (error) {
        if (tools.signal.aborted) return
        if (!isArchimageError(error)) throw error
        this.tools.emit({ type: 'warning', message: `the cache ${name!.text} was not written: ${error.message}` })
        if (!ignoreError) this.cacheErrors.push(error)
      }
    }
    await Promise.all(targets.flatMap(to => cells.map(cell => write(cell, to))))
  }

  private right(
    cell: PlannedCell,
    state: CellState,
    reason: string,
    record: CellRecord,
    manifest: ImageManifest,
    start: number,
    extra: Partial<CellResult>,
  ): Ended {
    const { result } = this.ending(cell, state, reason, start)
    return {
      manifest,
      result: { ...result, digest: record.digest, configDigest: record.configDigest, size: record.size, ...extra },
    }
  }

  private ending(cell: PlannedCell, state: CellState, reason: string, start: number): Ended {
    const seconds = (performance.now() - start) / 1000
    const { engine, emulated } = this.chosen.get(cell.id) ?? { engine: '', emulated: false }
    const steps = this.steps.get(cell.id)
    // Where each step is known, it is known whether one of them was emulated now.
    const by = { engine, emulated: steps?.some(step => step.emulated && !step.cached) ?? emulated }
    return { result: { ...cellName(cell), state, reason, ...by, seconds, ...(steps ? { steps } : {}) } }
  }

  private failed(cell: PlannedCell, error: unknown, start: number): Ended {
    if (this.signal.aborted && (!isArchimageError(error) || error.code === 'CANCELLED'))
      return this.ending(cell, this.tools.signal.aborted ? 'cancelled' : 'not-run', this.stopReason(), start)
    const failure = toFailure(error, cell.dockerfile.lines)
    if (this.request.failFast)
      this.stop.abort(new ArchimageError('CANCELLED', `${cell.id} failed, and --fail-fast was given`))
    const { result } = this.ending(cell, 'failed', failure.message.split('\n')[0]!, start)
    return { result: { ...result, failure } }
  }

  private stopReason(): string {
    return this.tools.signal.aborted ? 'interrupted' : cancelled(this.stop.signal.reason).message
  }

  private end(cell: PlannedCell, ended: Ended): void {
    if (this.over || this.ended.has(cell.id)) return
    this.ended.set(cell.id, ended)
    const { state, reason, digest, size, seconds, fallback, failure } = ended.result
    this.tools.emit({
      type: 'cell-ended',
      cell: cellName(cell),
      state,
      reason,
      seconds,
      ...(digest === undefined ? {} : { digest }),
      ...(size === undefined ? {} : { size }),
      ...(fallback === undefined ? {} : { fallback }),
      ...(failure === undefined ? {} : { failure }),
    })
  }

  private result(
    graph: Graph,
    services: readonly ServiceResult[],
    errors: ReadonlyMap<string, ArchimageError>,
  ): RunResult {
    const cells = graph.cells.map(
      cell => (this.ended.get(cell.id) ?? this.ending(cell, 'cancelled', 'interrupted', performance.now())).result,
    )
    const exits: number[] = []
    for (const cell of cells) {
      if (cell.failure) exits.push(CODES[cell.failure.code as ErrorCode].exit)
      else if (cell.state !== 'built' && cell.state !== 'unchanged') exits.push(1)
    }
    for (const error of [...errors.values(), ...this.cacheErrors]) exits.push(error.exit)
    for (const service of services) if (service.verified.some(check => !check.ok)) exits.push(1)
    if (this.tools.signal.aborted) exits.push(130)
    const exitCode = gravest(exits)
    return {
      version: 1,
      project: this.request.project.root,
      started: this.started.toISOString(),
      seconds: (performance.now() - this.clock) / 1000,
      complete: exitCode === 0,
      exitCode,
      cells,
      services,
      ...(this.sandbox === undefined ? {} : { sandbox: this.sandbox }),
      warnings: this.warnings,
    }
  }
}

/** What the native engine is told of the machine and the user. */
export function nativeOptions({ means }: Pick<RunRequest, 'means'>, ability: MachineAbility): NativeOptions {
  return { ...means, ability }
}

/** Measures before the first step how the programs of all steps run. */
export async function readyForSteps({ cells }: Graph, ability: MachineAbility): Promise<void> {
  await ability.ready(cells.flatMap(({ steps }) => steps.map(({ platform }) => platform)))
}

/** The graph of a request; shared with `plan`. */
export function planGraph(
  request: Pick<RunRequest, 'project' | 'services' | 'platformsOf' | 'settings'>,
  preparation: Preparation,
): Graph {
  return buildGraph({
    project: request.project,
    services: request.services,
    platformsOf: request.platformsOf,
    args: service => preparation.args(service),
    readDockerfile: preparation.readDockerfile,
    given: Object.keys(request.settings.args),
  })
}

/** Why a cell is built and not taken from the store. */
export function whyBuilt(force: boolean, last: LastBuild | undefined, prepared: CellKey): string {
  if (force) return 'forced'
  if (last === undefined) return 'never built here'
  return last.key === prepared.key ? 'its image is no longer in the store' : whatChanged(last.parts, prepared.parts())
}

/** Milliseconds that work which was told to stop may take to do so; then the run ends without it. */
const STOP_TIME = 500

async function untilStopped(work: Promise<void>, signal: AbortSignal): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  let hurry = (): void => {}
  const late = new Promise<void>(resolve => {
    hurry = () => {
      timer = setTimeout(resolve, STOP_TIME)
    }
  })
  if (signal.aborted) hurry()
  else signal.addEventListener('abort', hurry, { once: true })
  try {
    await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', hurry)
  }
}

function isRight(ended: Ended | undefined): ended is Ended & { manifest: ImageManifest } {
  return ended?.manifest !== undefined
}

function cellName(cell: PlannedCell): { service: string; platform: string } {
  return { service: cell.service.name, platform: formatPlatform(cell.platform) }
}
