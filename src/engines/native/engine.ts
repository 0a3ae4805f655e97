import { readFileSync } from 'node:fs'
import { nativeAdvice } from '../../dockerfile/compilers.ts'
import { ArchimageError } from '../../errors/error.ts'
import { applyItems } from '../../layer/apply.ts'
import type { LayerContent } from '../../layer/content.ts'
import type { Entry } from '../../layer/entry.ts'
import { Tree } from '../../layer/tree.ts'
import type { LayerItem } from '../../layer/write.ts'
import type { HistoryEntry } from '../../oci/config.ts'
import type { ImageManifest } from '../../oci/manifest.ts'
import { formatPlatform } from '../../oci/platform.ts'
import { findIn } from '../../plan/context-view.ts'
import { CREATED } from '../../plan/lower.ts'
import type { CopyOp, LoweredStage, Op, RunMount, RunOp } from '../../plan/lowered.ts'
import { placedAt } from '../../plan/placed.ts'
import { treeSource } from '../../plan/source-tree.ts'
import { findSources, type SourceMatch } from '../../plan/sources.ts'
import { NO_NAMESPACES_HINT } from '../../sandbox/reasons.ts'
import { hasCapability } from '../../sys/capabilities.ts'
import { fsPath } from '../../tar/path-bytes.ts'
import { MachineAbility } from '../ability.ts'
import type { CachedStep } from '../cached-steps.ts'
import type { BuildTools, Cell, Engine, ExportedSteps, Problem } from '../engine.ts'
import { type ImageLayer, putImage } from '../image.ts'
import { runOps } from '../runs.ts'
import { isFresh, type StepMeans } from '../steps.ts'
import { type ArchiveEntry, archiveEntries } from './archive.ts'
import { imageTree } from './base.ts'
import { Change } from './change.ts'
import { applyCopy } from './copy.ts'
import { exportSteps } from './exported-steps.ts'
import { layerContent } from './layer-content.ts'
import { layerBlob, type WrittenLayer } from './layers.ts'
import { type Owner, resolveOwner } from './owner.ts'
import { EMPTY, hasSteps, type Root } from './root.ts'
import { rememberStepLayer } from './step-layer.ts'
import { type MountSource, rootSource } from './step-mounts.ts'
import type { StepResult } from './step-record.ts'
import { Steps } from './steps.ts'
import { contentTime } from './times.ts'

/** What one instruction wrote: a layer of the image, if its stage is part of it. */
interface StageChange {
  readonly op: Op
  /** Parents first. */
  readonly items: readonly LayerItem[]
  /** What the step left, if it is one, and its key. */
  readonly result?: StepResult
  readonly key?: string
  /** The root that the instruction found. */
  readonly below: Root
}

interface StageResult {
  readonly tree: Tree
  readonly root: Root
  readonly changes: readonly StageChange[]
}

export interface NativeOptions extends Pick<StepMeans, 'noSteps' | 'sandbox'> {
  readonly ability?: MachineAbility
}

/** Computes images as trees of entries (DESIGN §4): no daemon, no root, on any host; only RUN makes a tree real. */
export function nativeEngine(options: NativeOptions = {}): Engine {
  const { sandbox, ability = new MachineAbility(), noSteps = withoutSteps(sandbox) } = options
  let steps: Steps | undefined
  return {
    name: 'native',
    probe: async () => ({ runs: ability.of, problems: [] }),
    // Whoever needs no step needs nothing of this.
    lacks: cell => (runOps(cell).length > 0 ? noSteps : undefined),
    build: async (cell, tools) => {
      steps ??= new Steps(tools, sandbox)
      const build = new NativeBuild(cell, tools, steps, ability)
      try {
        return await build.build()
      } catch (error) {
        throw build.cause(error)
      } finally {
        await build.close()
      }
    },
    close: async () => steps?.close(),
  }
}

/** Where it is plain from the beginning that no step runs. */
function withoutSteps(sandbox: StepMeans['sandbox']): Problem | undefined {
  if (process.platform !== 'linux') return { message: 'RUN steps run on Linux only' }
  if (process.geteuid?.() !== 0)
    return { message: 'RUN steps of an ordinary user need a user namespace, which this process has not entered' }
  if (sandbox === 'chroot' || hasCapability('sys_admin')) return undefined
  return { message: 'this process may not make namespaces (it has no CAP_SYS_ADMIN)', hint: NO_NAMESPACES_HINT }
}

class NativeBuild {
  private readonly cell: Cell
  private readonly tools: BuildTools
  private readonly stages = new Map<number, Promise<StageResult>>()
  /** Layers on their way, by the change that they are of. */
  private readonly blobs = new Map<StageChange, Promise<WrittenLayer>>()
  private readonly name: { readonly service: string; readonly platform: string }
  private readonly content: LayerContent
  private readonly stop = new AbortController()
  /** Aborted with the run, and when a stage of this cell has failed. */
  private readonly signal: AbortSignal
  private readonly steps: Steps
  private readonly ability: MachineAbility
  private step = 0
  private readonly total: number
  private readonly runs: boolean

  constructor(cell: Cell, tools: BuildTools, steps: Steps, ability: MachineAbility) {
    this.cell = cell
    this.tools = tools
    this.steps = steps
    this.ability = ability
    this.signal = AbortSignal.any([tools.signal, this.stop.signal])
    this.name = { service: cell.service.name, platform: formatPlatform(cell.platform) }
    this.content = layerContent(tools)
    const ops = [...cell.lowered.stages.values()].flatMap(stage => stage.ops)
    this.total = ops.length
    this.runs = ops.some(op => op.kind === 'run')
  }

  async build(): Promise<ImageManifest> {
    const { cell, tools } = this
    const { lowered } = cell
    if (this.runs) this.startStages()
    const layers = await this.layersOf(lowered.target)
    const history = withHistoryFor(lowered.target.config.history ?? [], layers.length)
    const manifest = putImage({ ...lowered.target.config, history }, layers, cell.options, tools.store)
    if (this.runs && tools.exported) tools.exported.take(await this.exported(tools.exported.mode))
    return manifest
  }

  /** What other machines can take over of this build. */
  private async exported(mode: 'min' | 'max'): Promise<ExportedSteps> {
    const { own = [], others = [] } = Object.groupBy(this.cell.lowered.stages.values(), stage =>
      this.isOfTarget(stage) ? 'own' : 'others',
    )
    const of = async (stages: readonly LoweredStage[]): Promise<readonly CachedStep[]> => {
      const all = await Promise.all(stages.map(stage => this.stage(stage.index)))
      const steps = all.flatMap(({ changes }) =>
        changes.flatMap(({ op, key, result }) => (key && result ? [{ label: op.label, key, result }] : [])),
      )
      return exportSteps(steps, this.cell, this.content, this.tools)
    }
    return { own: await of(own), others: mode === 'max' ? await of(others) : [] }
  }

  /** The failure that stopped the other stages, which only say that they were stopped. */
  cause(error: unknown): unknown {
    return this.stop.signal.aborted && !this.tools.signal.aborted ? this.stop.signal.reason : error
  }

  async close(): Promise<void> {
    // Another cell may wait for a layer that this one writes.
    await Promise.allSettled(this.blobs.values())
    this.content.close()
  }

  /** All that the target needs at once: stages that need each other wait for each other. The first failure stops the rest. */
  private startStages(): void {
    for (const index of this.cell.lowered.stages.keys()) this.stage(index).catch(error => this.stop.abort(error))
  }

  /** The layers of a stage's image, those of its bases first; only the target's are ever written. */
  private async layersOf(stage: LoweredStage): Promise<ImageLayer[]> {
    const below = await this.baseLayers(stage)
    if (stage.ops.length === 0) return below
    const { changes } = await this.stage(stage.index)
    const own: ImageLayer[] = []
    for (const change of changes) {
      const layer = await this.blob(change)
      own.push({
        diffId: layer.diffId,
        descriptor: { mediaType: layer.mediaType, digest: layer.digest, size: layer.size },
      })
    }
    return [...below, ...own]
  }

  private async baseLayers(stage: LoweredStage): Promise<ImageLayer[]> {
    const { base } = stage
    if (base.kind === 'scratch') return []
    if (base.kind === 'stage') return this.layersOf(this.cell.lowered.stages.get(base.stage)!)
    const diffIds = base.image.config.rootfs.diff_ids
    return base.image.manifest.layers.map((descriptor, i) => ({ diffId: diffIds[i]!, descriptor }))
  }

  private stage(index: number): Promise<StageResult> {
    let result = this.stages.get(index)
    if (!result) {
      result = this.runStage(this.cell.lowered.stages.get(index)!)
      this.stages.set(index, result)
    }
    return result
  }

  private async runStage(stage: LoweredStage): Promise<StageResult> {
    const base = await this.base(stage)
    const { tree } = base
    let { root } = base
    const changes: StageChange[] = []
    for (const [i, op] of stage.ops.entries()) {
      this.signal.throwIfAborted()
      try {
        const below = root
        if (op.kind === 'run') {
          const before = tree.fork()
          const { result, key } = await this.run(op, stage, root, before)
          applyItems(tree, result.items)
          if (result.id !== undefined) root = { kind: 'step', below, result, before }
          changes.push({ op, items: result.items, result, key, below })
        } else {
          const change = new Change(tree)
          if (op.kind === 'copy') await this.copy(change, op, `${stage.index}.${i}`)
          else await this.workdir(change, op.path, op.user)
          this.begun(op, false)
          const items = this.timed(change)
          if (items.length > 0) root = { kind: 'items', below, items }
          changes.push({ op, items, below })
        }
      } catch (error) {
        throw placedAt(error, this.cell.lowered.file, op)
      }
      // While the next step runs, what the last one left is compressed.
      if (this.runs && this.isOfTarget(stage)) this.blob(changes.at(-1)!).catch(() => {})
    }
    return { tree, root, changes }
  }

  /** Tells that an instruction has its turn; gives its number. */
  private begun(op: Op, cached: boolean, emulated = false, from?: string): number {
    const number = ++this.step
    this.tools.emit({
      ...{ type: 'cell-step', cell: this.name, step: op.label, number, total: this.total, line: op.line, cached },
      ...(op.kind === 'run' && !cached ? { runs: true, emulated } : {}),
      ...(from === undefined ? {} : { from }),
    })
    return number
  }

  private async base(stage: LoweredStage): Promise<{ readonly tree: Tree; readonly root: Root }> {
    const { base } = stage
    if (base.kind === 'scratch')
      return { tree: new Tree({ caseInsensitive: stage.platform.os === 'windows' }), root: EMPTY }
    if (base.kind === 'image')
      return { tree: await imageTree(base.image, this.tools), root: { kind: 'image', image: base.image } }
    const { tree, root } = await this.stage(base.stage)
    return { tree: tree.fork(), root }
  }

  private isOfTarget(stage: LoweredStage): boolean {
    const { target, stages } = this.cell.lowered
    for (let at = target; ; at = stages.get(at.base.stage)!) {
      if (at.index === stage.index) return true
      if (at.base.kind !== 'stage') return false
    }
  }

  private async run(
    op: RunOp,
    stage: LoweredStage,
    root: Root,
    tree: Tree,
  ): Promise<{ readonly key: string; readonly result: StepResult }> {
    const { steps } = this
    const { emit } = this.tools
    const sources = await Promise.all(op.mounts.map(mount => this.mountSource(mount)))
    const asked = {
      ...{ op, root, tree, sources, cell: this.cell, name: this.name, platform: stage.platform },
      fresh: isFresh(stage, this.cell.steps),
    }
    const key = steps.key(asked)
    const here = asked.fresh ? undefined : steps.recall(key)
    const found = here || asked.fresh ? undefined : await this.tools.imported?.(key)
    const known = here ?? (found && (await steps.take(key, found)))
    const from = known && found ? { from: found.from } : {}
    const ability = known ? undefined : await this.ability.of(stage.platform)
    const number = this.begun(op, known !== undefined, ability?.how === 'emulated', from.from)
    const ended = { type: 'step-ended', cell: this.name, number, line: op.line, step: op.label } as const
    if (known) {
      emit({ ...ended, seconds: known.seconds, emulated: known.emulated, cached: true, shared: false, ...from })
      return { key, result: known }
    }
    const { value, first } = await steps.run(key, { ...asked, number, ability: ability! }, this.signal)
    const native = value.emulated ? nativeAdvice(op.args) : undefined
    const { seconds, emulated } = value
    emit({ ...ended, seconds, emulated, ...(native ? { native } : {}), cached: false, shared: !first })
    return { key, result: value }
  }

  /** What a mount shows, for those that show files. */
  private async mountSource(mount: RunMount): Promise<MountSource | undefined> {
    if (mount.kind !== 'bind' && mount.kind !== 'cache') return undefined
    const { from, path } = mount
    if (from.kind === 'scratch') return rootSource(EMPTY, new Tree(), path, 'scratch')
    if (from.kind === 'image')
      return rootSource(
        { kind: 'image', image: from.image },
        await imageTree(from.image, this.tools),
        path,
        from.image.name,
      )
    if (from.kind === 'stage') {
      const { tree, root } = await this.stage(from.stage)
      return rootSource(root, tree, path, `stage ${this.cell.lowered.stages.get(from.stage)!.name}`)
    }
    const view = from.kind === 'context' ? this.cell.context : this.cell.directories.get(from.path)!
    const { matches, digest } = view.mounted(path)
    return { kind: 'files', text: digest, match: matches[0]! }
  }

  private async sources(op: CopyOp): Promise<readonly SourceMatch[]> {
    const { from } = op
    if (op.sources.length === 0) return []
    if (from.kind === 'scratch') return findSources(op, treeSource(new Tree(), 'scratch'))
    if (from.kind === 'context' || from.kind === 'directory')
      return findIn(op, this.cell).flatMap(found => found.matches)
    if (from.kind === 'image')
      return findSources(op, treeSource(await imageTree(from.image, this.tools), from.image.name))
    const { tree } = await this.stage(from.stage)
    return findSources(op, treeSource(tree, `stage ${this.cell.lowered.stages.get(from.stage)!.name}`))
  }

  private async copy(change: Change, op: CopyOp, serial: string): Promise<void> {
    const matches = (await this.sources(op)).map((match, i) => withInodes(match, `${serial}.${i}`))
    const archives = await this.archives(matches.filter(match => match.unpack ?? op.unpack))
    // --link makes a layer that does not depend on what is below it: it is computed on an empty tree and laid over.
    const target = op.link ? new Change(new Tree({ caseInsensitive: change.tree.caseInsensitive })) : change
    const owner = op.chown === undefined ? undefined : await this.owner(op.chown, change, `line ${op.line}: --chown`)
    applyCopy(target, op, matches, { owner, unpack: match => archives.get(match), serial })
    if (target !== change) for (const [path, entry] of target.written) change.put(path, entry)
  }

  /** The entries of those matches that are archives. */
  private async archives(matches: readonly SourceMatch[]): Promise<Map<SourceMatch, readonly ArchiveEntry[]>> {
    const out = new Map<SourceMatch, readonly ArchiveEntry[]>()
    for (const match of matches) {
      const entries = await archiveEntries(match, { ...this.tools, open: entry => this.content.open(entry) })
      if (entries) out.set(match, entries)
    }
    return out
  }

  private async workdir(change: Change, path: string, user: string): Promise<void> {
    const real = change.resolve(path)
    const there = change.lookup(real)
    if (there && there.type !== 'dir')
      throw new ArchimageError('STEP_FAILED', `${path} is there and is not a directory`, {
        hint: 'choose another WORKDIR',
      })
    const owner = user === '' ? undefined : await this.owner(user, change, `WORKDIR ${path}, USER`)
    change.makeDirectories(real, 0o755, owner)
  }

  private owner(text: string, change: Change, what: string): Promise<Owner> {
    return resolveOwner(text, {
      lookup: path => change.lookup(path),
      read: async ({ content, ...entry }) => {
        if (content?.kind === 'host')
          return readFileSync(typeof content.path === 'string' ? fsPath(content.path) : content.path)
        return this.content.read({ ...entry, ...(content ? { content } : {}) }, 16 << 20)
      },
      unknown: name =>
        this.warn(`${this.cell.lowered.file}: ${what}: the image knows no "${name}"; root is taken, as docker does`),
    })
  }

  /** The entries of the layer with their times (DESIGN §4, times), in the tree as well. */
  private timed(change: Change): readonly LayerItem[] {
    const { mode, fixed } = this.cell.options.times
    const all = change.entries()
    const written = all.filter(item => item.written).map(({ path, entry }) => ({ path, entry }))
    const groups = new Map<string, string>()
    for (const { path, entry } of written)
      if (entry.inode !== undefined && !groups.has(entry.inode)) groups.set(entry.inode, path)
    const canonical = written.map(({ path, entry }) => ({ path, entry: withGroup(entry, groups) }))
    const time = mode === 'keep' && fixed === undefined ? undefined : (fixed ?? contentTime(canonical))
    return all.map(({ path, entry, written: own }) => {
      if (!own) return { path, entry }
      const timed = time === undefined ? entry : { ...entry, mtime: time }
      change.tree.put(path, timed)
      return { path, entry: withGroup(timed, groups) }
    })
  }

  /** The layer of a change; each is written once, one after the other. */
  private blob(change: StageChange): Promise<WrittenLayer> {
    let promise = this.blobs.get(change)
    if (promise === undefined) {
      promise = this.write(change, [...this.blobs.values()].at(-1))
      this.blobs.set(change, promise)
    }
    return promise
  }

  private async write(change: StageChange, before: Promise<unknown> | undefined): Promise<WrittenLayer> {
    await before?.catch(() => {})
    const { op, result } = change
    try {
      const items = this.clamped(change)
      const layer = await layerBlob({ items, label: op.label, cell: this.cell, content: this.content }, this.tools)
      if (result?.id !== undefined) rememberStepLayer(this.tools.store, result.id, layer)
      return layer
    } catch (error) {
      throw placedAt(error, this.cell.lowered.file, op)
    }
  }

  /** With SOURCE_DATE_EPOCH nothing that a RUN touched is younger than it (DESIGN §4, times). */
  private clamped({ op, items, below }: StageChange): readonly LayerItem[] {
    const { fixed } = this.cell.options.times
    if (fixed === undefined || !(op.kind === 'run' || hasSteps(below))) return items
    const touched = new Set<string>()
    for (let at = below; op.kind !== 'run' && (at.kind === 'items' || at.kind === 'step'); at = at.below)
      if (at.kind === 'step') for (const { path } of at.result.items) touched.add(path)
    return items.map(item =>
      item.entry && item.entry.mtime > fixed && (op.kind === 'run' || touched.has(item.path))
        ? { ...item, entry: { ...item.entry, mtime: fixed } }
        : item,
    )
  }

  private warn(message: string): void {
    this.tools.emit({ type: 'warning', message, cell: this.name })
  }
}

/** Hard links stay links within one source of one instruction, as in BuildKit; other copies of the file are files of their own. */
function withInodes(match: SourceMatch, serial: string): SourceMatch {
  if (match.below.every(({ entry }) => entry.inode === undefined)) {
    if (match.entry.inode === undefined) return match
    const { inode: _, ...entry } = match.entry
    return { ...match, entry }
  }
  const counts = new Map<string, number>()
  for (const { entry } of match.below)
    if (entry.inode !== undefined) counts.set(entry.inode, (counts.get(entry.inode) ?? 0) + 1)
  const below = match.below.map(item => {
    const { inode, ...entry } = item.entry
    if (inode === undefined) return item
    return { ...item, entry: counts.get(inode)! > 1 ? { ...entry, inode: `${serial} ${inode}` } : entry }
  })
  return { ...match, below }
}

function withGroup(entry: Entry, groups: ReadonlyMap<string, string>): Entry {
  return entry.inode === undefined ? entry : { ...entry, inode: groups.get(entry.inode)! }
}

/** Old bases have less history than layers: the missing lines are added, so that the two agree. */
function withHistoryFor(history: readonly HistoryEntry[], layers: number): readonly HistoryEntry[] {
  const described = history.filter(entry => !entry.empty_layer).length
  if (described >= layers) return history
  const missing = Array.from(
    { length: layers - described },
    (): HistoryEntry => ({ created: CREATED, comment: 'layer of the base' }),
  )
  return [...missing, ...history]
}
