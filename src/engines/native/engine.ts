import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { parseChmod } from '../../dockerfile/chmod.ts'
import { ArchimageError, isArchimageError } from '../../errors/error.ts'
import { LayerContent } from '../../layer/content.ts'
import type { Entry } from '../../layer/entry.ts'
import { Tree } from '../../layer/tree.ts'
import { writeLayer } from '../../layer/write.ts'
import type { HistoryEntry } from '../../oci/config.ts'
import type { Digest } from '../../oci/digest.ts'
import type { ImageManifest } from '../../oci/manifest.ts'
import { compressionOf, layerType } from '../../oci/media-types.ts'
import { formatPlatform } from '../../oci/platform.ts'
import { findIn } from '../../plan/context-view.ts'
import { FORMAT } from '../../plan/key.ts'
import { CREATED } from '../../plan/lower.ts'
import type { CopyOp, LoweredStage, Op } from '../../plan/lowered.ts'
import type { SourceTree } from '../../plan/source-tree.ts'
import { findSources, type SourceMatch } from '../../plan/sources.ts'
import { fsPath } from '../../tar/path-bytes.ts'
import type { BuildTools, Cell, Engine } from '../engine.ts'
import { type ImageLayer, putImage } from '../image.ts'
import { type ArchiveEntry, archiveEntries } from './archive.ts'
import { BLOB, imageTree, type LayerBlob, rememberIndex } from './base.ts'
import { Change } from './change.ts'
import { applyCopy } from './copy.ts'
import { type Owner, resolveOwner } from './owner.ts'
import { contentTime, entryText } from './times.ts'

/** Record kind: the blob of a layer by what is in it. */
const LAYER = 'layer'

interface StageResult {
  readonly tree: Tree
  readonly changes: readonly { readonly op: Op; readonly entries: readonly LayerEntry[] }[]
}

interface LayerEntry {
  readonly path: string
  readonly entry: Entry
}

interface WrittenLayer extends LayerBlob {
  readonly diffId: Digest
}

/** Layers that are being written in this process: cells that need the same one share it. */
const writing = new Map<string, Promise<WrittenLayer>>()

/** Computes images as trees of entries (DESIGN §4): no daemon, no root, on any host; RUN needs another engine. */
export const nativeEngine: Engine = {
  name: 'native',
  probe: async () => ({ platforms: {}, features: ['copy'], problems: [] }),
  build: async (cell, tools) => {
    const build = new NativeBuild(cell, tools)
    try {
      return await build.build()
    } finally {
      build.close()
    }
  },
}

class NativeBuild {
  private readonly cell: Cell
  private readonly tools: BuildTools
  private readonly stages = new Map<number, Promise<StageResult>>()
  private readonly name: { readonly service: string; readonly platform: string }
  private readonly content: LayerContent
  private step = 0
  private readonly steps: number

  constructor(cell: Cell, tools: BuildTools) {
    this.cell = cell
    this.tools = tools
    this.name = { service: cell.service.name, platform: formatPlatform(cell.platform) }
    this.content = layerContent(tools)
    this.steps = [...cell.lowered.stages.values()].reduce((sum, stage) => sum + stage.ops.length, 0)
  }

  async build(): Promise<ImageManifest> {
    const { cell, tools } = this
    const { lowered } = cell
    refuseRun(this.cell)
    const layers = await this.layersOf(lowered.target)
    const history = withHistoryFor(lowered.target.config.history ?? [], layers.length)
    return putImage({ ...lowered.target.config, history }, layers, cell.options, tools.store)
  }

  close(): void {
    this.content.close()
  }

  /** The layers of a stage's image, those of its bases first; only the target's are ever written. */
  private async layersOf(stage: LoweredStage): Promise<ImageLayer[]> {
    const below = await this.baseLayers(stage)
    if (stage.ops.length === 0) return below
    const { changes } = await this.stage(stage.index)
    const own: ImageLayer[] = []
    for (const { op, entries } of changes) {
      const layer = await this.layer(op, entries)
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
    const tree = await this.baseTree(stage)
    const changes: { op: Op; entries: LayerEntry[] }[] = []
    for (const [i, op] of stage.ops.entries()) {
      this.tools.signal.throwIfAborted()
      const change = new Change(tree)
      try {
        if (op.kind === 'copy') await this.copy(change, op, `${stage.index}.${i}`)
        else if (op.kind === 'workdir') await this.workdir(change, op.path, op.user)
      } catch (error) {
        throw this.placed(error, op)
      }
      this.tools.emit({
        type: 'cell-step',
        cell: this.name,
        step: op.label,
        number: ++this.step,
        total: this.steps,
        line: op.line,
        cached: false,
      })
      changes.push({ op, entries: this.timed(change) })
    }
    return { tree, changes }
  }

  private async baseTree(stage: LoweredStage): Promise<Tree> {
    const { base } = stage
    if (base.kind === 'scratch') return new Tree({ caseInsensitive: stage.platform.os === 'windows' })
    if (base.kind === 'stage') return (await this.stage(base.stage)).tree.fork()
    return imageTree(base.image, this.tools)
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
    if (op.chmod !== undefined && !parseChmod(op.chmod))
      throw new ArchimageError('DOCKERFILE_INVALID', `--chmod=${op.chmod} is not a mode`, {
        hint: 'write an octal mode up to 7777, or a symbolic one like u=rwX,go=rX',
      })
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
      const entries = await archiveEntries(match, this.tools)
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
  private timed(change: Change): LayerEntry[] {
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

  private async layer(op: Op, entries: readonly LayerEntry[]): Promise<WrittenLayer> {
    const { store } = this.tools
    const { docker, compression, level } = this.cell.options
    const windows = this.cell.platform.os === 'windows'
    const hash = createHash('sha256').update(`layer ${FORMAT} ${compression} ${level ?? ''} ${windows}\n`)
    for (const { path, entry } of entries) hash.update(entryText(path, entry, true)).update('\n')
    const key = hash.digest('hex')
    const mediaType = layerType(compression, docker)
    const known = store.records.get<WrittenLayer>(LAYER, key)
    if (known && store.has(known.digest, known.size)) return { ...known, mediaType }
    const flight = `${store.root} ${key}`
    let promise = writing.get(flight)
    if (!promise) {
      promise = this.write(op, entries, key, mediaType).finally(() => writing.delete(flight))
      writing.set(flight, promise)
    }
    return { ...(await promise), mediaType }
  }

  private async write(op: Op, entries: readonly LayerEntry[], key: string, mediaType: string): Promise<WrittenLayer> {
    const { store, signal, emit } = this.tools
    const { compression, level, workers } = this.cell.options
    const total = entries.reduce((sum, { entry }) => sum + entry.size, 0)
    const id = `write ${key}`
    const report =
      total < 8 << 20
        ? undefined
        : (current: number, done = false): void =>
            emit({ type: 'transfer', id, direction: 'write', what: op.label, current, total, done })
    const sink = store.create()
    try {
      const written = await writeLayer({
        entries,
        windows: this.cell.platform.os === 'windows',
        compression,
        ...(level === undefined ? {} : { level }),
        ...(workers === undefined ? {} : { workers }),
        sink,
        signal,
        open: entry => this.content.open(entry),
        ...(report ? { progress: bytes => report(bytes) } : {}),
      })
      const layer: WrittenLayer = {
        digest: written.digest,
        size: written.size,
        diffId: written.diffId,
        mediaType,
        members: written.members,
      }
      rememberIndex(store, written.index, layer)
      store.records.put(LAYER, key, layer)
      return layer
    } catch (error) {
      sink.abort()
      throw this.placed(error, op)
    } finally {
      report?.(total, true)
    }
  }

  private placed(error: unknown, op: Op): unknown {
    if (!isArchimageError(error) || error.place || error.code === 'CANCELLED') return error
    return new ArchimageError(error.code, error.message, {
      ...(error.hint ? { hint: error.hint } : {}),
      place: { file: this.cell.lowered.file, line: op.line, column: op.range.start.column, endLine: op.range.end.line },
      details: error.details,
      cause: error.cause,
      parts: error.parts,
    })
  }

  private warn(message: string): void {
    this.tools.emit({ type: 'warning', message, cell: this.name })
  }
}

/** RUN comes with its own engine; until a cell can go there it is refused before anything is done. */
export function refuseRun(cell: Pick<Cell, 'lowered'>): void {
  for (const stage of cell.lowered.stages.values())
    for (const op of stage.ops)
      if (op.kind === 'run')
        throw new ArchimageError('ENGINE_MISSING', `RUN cannot be executed by the native engine yet: ${op.label}`, {
          place: { file: cell.lowered.file, line: op.line, column: op.range.start.column, endLine: op.range.end.line },
          hint: 'let prebuild in archimage.yaml run the command on this machine and COPY its result, or put it into a base image that another tool builds',
        })
}

function layerContent({ store, fetch }: BuildTools): LayerContent {
  return new LayerContent({
    locate: async diffId => {
      const blob = store.records.get<LayerBlob>(BLOB, diffId)
      if (!blob) throw new ArchimageError('NOT_FOUND', `the layer with diff ID ${diffId} is not in the store any more`)
      await fetch(blob)
      return {
        path: store.blobPath(blob.digest),
        compression: compressionOf(blob.mediaType) ?? 'none',
        ...(blob.members ? { members: blob.members } : {}),
      }
    },
    tarPath: diffId => store.tarPath(diffId),
  })
}

function treeSource(tree: Tree, name: string): SourceTree {
  return {
    name,
    lookup: path => (path === '' ? tree.root : tree.lookup(path)),
    list: path => tree.list(path),
    digest: path => {
      throw new Error(`/${path} in ${name} has no digest`)
    },
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
