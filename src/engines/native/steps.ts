import { totalmem } from 'node:os'
import { join } from 'node:path'
import { cancelled, isArchimageError } from '../../errors/error.ts'
import type { LayerContent } from '../../layer/content.ts'
import type { Tree } from '../../layer/tree.ts'
import type { Platform } from '../../oci/platform.ts'
import type { RunOp } from '../../plan/lowered.ts'
import { upperChanges } from '../../rootfs/changes.ts'
import { type CopiedRoot, copyRoot } from '../../rootfs/copy.ts'
import { writeDirectory } from '../../rootfs/directory.ts'
import type { Marks } from '../../rootfs/marks.ts'
import { type Scratch, Snapshots } from '../../rootfs/snapshots.ts'
import type { CellName, Emit } from '../../run/events.ts'
import { openSandbox } from '../../sandbox/sandbox.ts'
import type { Sandbox, SandboxFacts, Step, StepEnd } from '../../sandbox/step.ts'
import { isUserNamespace } from '../../sandbox/sub-ids.ts'
import { NAMES } from '../../store/home.ts'
import { mountsPath } from '../../store/mounts.ts'
import type { Store } from '../../store/store.ts'
import { hasCapability } from '../../sys/capabilities.ts'
import { removeFile } from '../../sys/files.ts'
import { waitForLock } from '../../sys/locks.ts'
import { removeTree } from '../../sys/remove-tree.ts'
import type { Ability } from '../ability.ts'
import type { ImportedStep } from '../cached-steps.ts'
import type { BuildTools, Cell } from '../engine.ts'
import { Slots } from '../slots.ts'
import { Agents } from './agent.ts'
import { knownIndex } from './base.ts'
import { CacheMounts } from './cache-mounts.ts'
import { Flights } from './flights.ts'
import { importStep } from './imported-step.ts'
import { layerContent } from './layer-content.ts'
import { RealRoots } from './real-roots.ts'
import { identity, type Root } from './root.ts'
import { DiskWatch, isFull } from './step-disk.ts'
import { stepFailure } from './step-failure.ts'
import { stepKey } from './step-key.ts'
import { stepLayer } from './step-layer.ts'
import { StepLog } from './step-log.ts'
import { type MountSource, prepareMounts } from './step-mounts.ts'
import { canonical, decodeStep, encodeStep, located, STEP, type StepResult, withContent } from './step-record.ts'

/** A RUN step of a cell, with all that its key is made of. */
export interface StepRequest {
  readonly op: RunOp
  readonly platform: Platform
  readonly root: Root
  /** The tree of `root`, which nobody changes. */
  readonly tree: Tree
  readonly sources: readonly (MountSource | undefined)[]
  readonly cell: Pick<Cell, 'steps' | 'proxies'>
  readonly name: CellName
  /** Of its turn in the cell. */
  readonly number: number
  /** It runs although its result is known. */
  readonly fresh: boolean
  /** How programs of `platform` run here. */
  readonly ability: Ability
}

/** Where the steps of a run happen, and what their roots are made of there. */
interface Site {
  readonly sandbox: Sandbox
  readonly marks: Marks
  readonly snapshots: Snapshots
  readonly roots: RealRoots
}

/** How overlays say here what is not there: without the rights of the machine's root they may not do it in the usual way. */
const overlayMarks = (): Marks => (isUserNamespace() ? 'user' : 'trusted')

/** A step that failed on a full disk failed for that. */
function withSpace(end: StepEnd, upper: string): StepEnd {
  return end.reason === undefined && isFull(upper) ? { ...end, reason: 'no-space' } : end
}

/**
 * The RUN steps of a whole run: each is run once, whoever needs it, in one sandbox that is made when the first has to run.
 * What a step left is remembered and found again by its key.
 */
export class Steps {
  readonly #store: Store
  readonly #emit: Emit
  readonly #signal: AbortSignal
  readonly #slots: Slots
  readonly #runtime: SandboxFacts['runtime'] | undefined
  readonly #flights = new Flights<StepResult>()
  readonly #recalled = new Map<string, StepResult>()
  readonly #imports = new Map<string, Promise<StepResult | undefined>>()
  readonly #content: LayerContent
  readonly #fetch: BuildTools['fetch']
  readonly #caches: CacheMounts
  readonly #copies = new Map<string, Promise<Scratch>>()
  readonly #agents = new Agents()
  #site: Promise<Site> | undefined
  #count = 0

  constructor(input: BuildTools, runtime?: SandboxFacts['runtime']) {
    this.#runtime = runtime
    this.#store = input.store
    this.#emit = input.emit
    this.#signal = input.signal
    this.#slots = new Slots(input.jobs)
    this.#content = layerContent(input)
    this.#fetch = input.fetch
    this.#caches = new CacheMounts(mountsPath(input.store.root))
  }

  key({ op, root, platform, sources }: Pick<StepRequest, 'op' | 'root' | 'platform' | 'sources'>): string {
    const texts = sources.map(source => source?.text)
    return stepKey(op, identity(root), platform, texts)
  }

  /** What is known of a step, if all of it is still there. */
  recall(key: string): StepResult | undefined {
    const recalled = this.#recalled.get(key) ?? this.#recall(key)
    if (recalled) this.#recalled.set(key, recalled)
    return recalled
  }

  #recall(key: string): StepResult | undefined {
    const bytes = this.#store.records.blob(STEP, key)
    const found = bytes && decodeStep(bytes)
    if (found === undefined || found.id === undefined) return found
    const { id, items } = found
    const directory = new Snapshots(this.#store, { marks: overlayMarks() }).anyStep(id)
    if (directory !== undefined) return { ...found, items: located(items, id, directory), directory }
    const layer = stepLayer(this.#store, id)
    const index = layer && knownIndex(this.#store, layer.diffId)
    if (index === undefined) return undefined
    const contents = new Map(index.entries.map(({ path, entry }) => [path, entry?.content]))
    return { ...found, items: withContent(items, id, path => contents.get(path)) }
  }

  /** What another machine left of a step, taken over once for all cells; undefined, with a warning, where that fails. */
  take(key: string, found: ImportedStep): Promise<StepResult | undefined> {
    let promise = this.#imports.get(key)
    if (promise === undefined) {
      promise = this.#import(key, found)
      this.#imports.set(key, promise)
    }
    return promise
  }

  async #import(key: string, found: ImportedStep): Promise<StepResult | undefined> {
    try {
      await importStep(found, { store: this.#store, signal: this.#signal })
      return this.recall(key)
    } catch (error) {
      if (this.#signal.aborted || !isArchimageError(error)) throw error
      this.#emit({ type: 'warning', message: `${found.from}: a step is not taken from this cache: ${error.message}` })
      return undefined
    }
  }

  /**
   * Runs a step, or waits while another cell or another process runs the same one. `first` tells whether it ran for this
   * request. Throws STEP_FAILED, SANDBOX_MISSING, USAGE for a secret that was not given, CANCELLED.
   */
  run(key: string, request: StepRequest, signal: AbortSignal): Promise<{ value: StepResult; first: boolean }> {
    return this.#flights.run(key, signal, stop => this.#alone(key, request, stop))
  }

  /** One process at a time: the others find its record. */
  async #alone(key: string, request: StepRequest, signal: AbortSignal): Promise<StepResult> {
    const path = join(this.#store.root, NAMES.tmp, `step-${key}.lock`)
    const lock = await waitForLock(path, 'exclusive', signal)
    try {
      const known = request.fresh ? undefined : this.#recall(key)
      const result = known ?? (await this.#execute(key, request, signal))
      this.#recalled.set(key, result)
      return result
    } finally {
      removeFile(path)
      lock.release()
    }
  }

  async #execute(key: string, request: StepRequest, signal: AbortSignal): Promise<StepResult> {
    const { op, cell, ability } = request
    const emulated = ability.how === 'emulated'
    const site = await this.#open()
    const { sandbox, snapshots, roots } = site
    const lowers = await roots.directories(request.root)
    const prepared = await prepareMounts(op, request.sources, {
      settings: cell.steps,
      caches: this.#caches,
      directories: root => roots.directories(root),
      copy: async (name, items) => (await this.#copy(name, items, site)).upper,
      write: async (directory, items) => void (await writeDirectory(directory, items, this.#writing(site, signal))),
      agent: paths => this.#agents.socket(paths),
      signal,
    })
    const log = new StepLog(
      text => this.#emit({ type: 'cell-log', cell: request.name, text, step: request.number }),
      seconds =>
        this.#emit({
          type: 'warning',
          cell: request.name,
          message: `${op.label}: nothing heard for ${seconds} s; it still runs`,
        }),
    )
    const scratch = snapshots.scratch()
    try {
      return await this.#slots.run(
        async () => {
          if (signal.aborted) throw cancelled(signal.reason)
          const copy =
            sandbox.facts.roots === 'copy'
              ? await copyRoot(lowers, scratch.upper, { marks: site.marks, signal })
              : undefined
          const step = this.#step(request, lowers, scratch, prepared)
          const start = performance.now()
          const end = await this.#watched(request, scratch, signal, signal =>
            sandbox.run(step, { output: (stream, bytes) => log.output(stream, bytes), signal }),
          )
          log.end()
          if (end.exitCode !== 0 || end.signal !== undefined)
            throw stepFailure(op, withSpace(end, scratch.upper), cell.steps, log.last, {
              ...{ platform: request.platform, ability },
              directories: copy ? [scratch.upper] : [scratch.upper, ...lowers.toReversed()],
            })
          const facts = { seconds: (performance.now() - start) / 1000, emulated }
          return this.#keep(key, request, { ...site, ...scratch, copy }, facts, signal)
        },
        this.#weight(cell, emulated),
      )
    } finally {
      log.end()
      prepared.release()
      scratch.dispose()
    }
  }

  /** Ends a step that writes more than the store is to keep, and warns of a disk that gets full. */
  async #watched<T>(
    { op, name }: StepRequest,
    { upper }: Scratch,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { limit, root } = this.#store
    const watch = new DiskWatch({
      ...{ directory: upper, ...(limit === undefined ? {} : { limit }) },
      nearlyFull: left =>
        this.#emit({
          ...{ type: 'warning', cell: name },
          message: `${op.label}: the disk of the store ${root} is nearly full: ${Math.round(left / 1e6)} MB are left`,
        }),
    })
    try {
      const value = await work(AbortSignal.any([signal, watch.signal]))
      watch.look()
      watch.signal.throwIfAborted()
      return value
    } catch (error) {
      throw watch.signal.aborted && !signal.aborted ? watch.signal.reason : error
    } finally {
      watch.end()
    }
  }

  #open(): Promise<Site> {
    this.#site ??= this.#openSite()
    return this.#site
  }

  async #openSite(): Promise<Site> {
    const sandbox = await openSandbox({
      ...{ directory: this.#directory(), records: this.#store.records },
      ...(this.#runtime === undefined ? {} : { runtime: this.#runtime }),
    })
    const { facts } = sandbox
    this.#emit({ type: 'sandbox', ...facts })
    for (const message of facts.remarks) this.#emit({ type: 'warning', message })
    const marks = facts.roots === 'copy' ? 'names' : overlayMarks()
    const snapshots = new Snapshots(this.#store, { marks })
    const tools = { store: this.#store, fetch: this.#fetch, signal: this.#signal }
    return { sandbox, marks, snapshots, roots: new RealRoots(snapshots, this.#content, tools) }
  }

  #step(
    { op, cell }: StepRequest,
    lowers: readonly string[],
    { upper, work }: Scratch,
    prepared: Awaited<ReturnType<typeof prepareMounts>>,
  ): Step {
    const { hosts, shmSize, ulimits, limits } = cell.steps
    return {
      id: `archimage-${process.pid}-${++this.#count}`,
      ...{ lowers, upper, work, hosts, ulimits, limits },
      args: op.args,
      env: [...op.env, ...cell.proxies, ...prepared.env],
      cwd: op.cwd,
      user: op.user,
      mounts: prepared.mounts,
      network: op.network,
      insecure: op.insecure,
      hostname: op.hostname,
      ...(shmSize === undefined ? {} : { shmSize }),
    }
  }

  /** What the step left becomes a snapshot, and its record comes after it: a kill between them costs the step only. */
  async #keep(
    key: string,
    { tree }: StepRequest,
    site: Site & Scratch & { readonly copy: CopiedRoot | undefined },
    facts: Pick<StepResult, 'seconds' | 'emulated'>,
    signal: AbortSignal,
  ): Promise<StepResult> {
    const { upper, copy, marks, snapshots } = site
    const whole = copy && { untouched: copy.untouched, devices: !isUserNamespace() && hasCapability('mknod') }
    const changes = await upperChanges(upper, tree, {
      ...{ marks, group: key.slice(0, 16), signal },
      ...(whole ? { whole } : {}),
    })
    if (changes.items.length === 0) {
      this.#store.records.putBlob(STEP, key, encodeStep({ items: [], ...facts }))
      return { items: [], ...facts }
    }
    const { id, items } = canonical(changes.items)
    const directory = copy ? await this.#extract(id, changes.items, site, signal) : snapshots.adopt(id, upper, changes)
    this.#store.records.putBlob(STEP, key, encodeStep({ id, items, ...facts }))
    return { id, items: located(items, id, directory), directory, ...facts }
  }

  /** What a step changed in a copied root, as the directory of a layer. */
  async #extract(id: string, items: StepResult['items'], site: Site, signal: AbortSignal): Promise<string> {
    const { upper, dispose } = site.snapshots.scratch()
    try {
      return site.snapshots.adopt(id, upper, await writeDirectory(upper, items, this.#writing(site, signal)))
    } finally {
      dispose()
    }
  }

  /** An emulator keeps more than one processor busy; a step with a limit may use all of it. */
  #weight({ steps }: StepRequest['cell'], emulated: boolean): number {
    const memory = steps.limits.memory ?? 0
    const share = totalmem() / this.#slots.limit
    return Math.max(emulated ? 2 : 1, Math.ceil(memory / share))
  }

  #writing({ marks }: Site, signal: AbortSignal) {
    return { marks, open: this.#content.open.bind(this.#content), signal }
  }

  /** Files of a context for mounts: copies that are root's, without what is ignored, for this run. */
  #copy(key: string, items: () => Parameters<typeof writeDirectory>[1], site: Site): Promise<Scratch> {
    let promise = this.#copies.get(key)
    if (promise === undefined) {
      promise = (async () => {
        const scratch = site.snapshots.scratch()
        await writeDirectory(scratch.upper, items(), this.#writing(site, this.#signal))
        return scratch
      })()
      promise.catch(() => this.#copies.delete(key))
      this.#copies.set(key, promise)
    }
    return promise
  }

  #directory(): string {
    return join(this.#store.root, NAMES.tmp, `sandbox-${process.pid}`)
  }

  /** Ends the sandbox and everything else that was made for steps. */
  async close(): Promise<void> {
    if (this.#site !== undefined) {
      const site = await this.#site.catch(() => undefined)
      await site?.sandbox.close()
      removeTree(this.#directory())
    }
    this.#content.close()
    for (const copy of this.#copies.values()) copy.then(scratch => scratch.dispose()).catch(() => {})
    this.#agents.close()
  }
}
