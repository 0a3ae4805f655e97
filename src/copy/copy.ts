import { ArchimageError, cancelled, isArchimageError, systemError } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor, Manifest } from '../oci/manifest.ts'
import { Gate } from '../registry/host.ts'
import type { Transport } from '../transports/transport.ts'
import { blobsOf, fits, type ImagePlan, nameOf, type PlannedManifest, planCopy, settle } from './plan.ts'
import type { CopyImage, CopyState, CopyTools } from './request.ts'
import { appearsAsWhole, onSide } from './side.ts'
import type { Transformer } from './transform.ts'

/** What became of one image. */
export interface CopyOutcome {
  readonly image: CopyImage
  readonly state: CopyState
  /** What is at the destination; absent where it failed. */
  readonly digest?: Digest
  readonly error?: ArchimageError
}

export interface CopyCounts {
  readonly sent: number
  readonly sentBytes: number
  readonly mounted: number
  /** Blobs that the destination had. */
  readonly there: number
}

export interface CopyResult {
  readonly images: readonly CopyOutcome[]
  readonly blobs: CopyCounts
}

/** Blobs that are asked for or sent at a time: each has a download behind it. */
const STREAMS = 3
const JOBS = 4

/**
 * Copies images from anywhere to anywhere, each as it is planned by `planCopy`: blobs, then manifests, children before what
 * leads to them, then tags; then looks whether all is there. No blob goes to one place twice. An image that fails does not
 * hold up the others; what an interruption leaves undone has failed with CANCELLED.
 */
export async function copy(images: readonly CopyImage[], tools: CopyTools): Promise<CopyResult> {
  const session = new Session(tools)
  const gate = new Gate(Math.max(1, tools.jobs ?? JOBS))
  try {
    const outcomes = await Promise.all(
      images.map(async image => {
        await gate.enter()
        try {
          return await session.run(image)
        } finally {
          gate.leave()
        }
      }),
    )
    return { images: outcomes, blobs: session.counts }
  } finally {
    session.close()
  }
}

/** What one command has brought where. */
class Session {
  readonly counts = { sent: 0, sentBytes: 0, mounted: 0, there: 0 }
  readonly #tools: CopyTools
  readonly #streams = new Gate(STREAMS)
  /** Made when something is compressed anew. */
  #transformer: Transformer | undefined
  readonly #brought = new WeakMap<Transport, Map<Digest, Promise<void>>>()

  constructor(tools: CopyTools) {
    this.#tools = tools
  }

  close(): void {
    this.#transformer?.close()
  }

  async run(image: CopyImage): Promise<CopyOutcome> {
    const { emit, signal } = this.#tools
    const name = labelOf(image)
    const started = performance.now()
    const end = (outcome: Omit<CopyOutcome, 'image'>): CopyOutcome => {
      emit({
        ...{ type: 'image-ended', image: name, state: outcome.state },
        ...(outcome.digest === undefined ? {} : { digest: outcome.digest }),
        ...(outcome.state === 'copied' && appearsAsWhole(image.target) ? { unseen: true } : {}),
        seconds: (performance.now() - started) / 1000,
        ...(outcome.error === undefined ? {} : { why: outcome.error.message }),
      })
      return { image, ...outcome }
    }
    try {
      if (signal.aborted) throw cancelled(signal.reason)
      emit({ type: 'image-started', image: name })
      const plan = await planCopy(image, this.#tools)
      if (plan.state === 'same') return end({ state: 'same', digest: plan.root.descriptor.digest })
      if (plan.state === 'kept')
        return end({ state: 'kept', digest: plan.tags.find(({ now }) => now !== undefined)!.now! })
      return end(await this.#bring(plan))
    } catch (error) {
      return end({ state: 'failed', error: failure(error, signal) })
    }
  }

  async #bring(plan: ImagePlan): Promise<Pick<CopyOutcome, 'state' | 'digest'>> {
    const { image, tags, extras } = plan
    const { signal } = this.#tools
    const target = onSide(image.target.transport, 'destination')
    const root = plan.recompress ? await settle(await this.#transform(plan.root, image), target, signal) : plan.root
    if (plan.recompress) fits(root, image, target)
    const { digest } = root.descriptor
    const left = tags.filter(({ now }) => now !== digest)
    if (left.length === 0 && tags.length > 0 && root.there && extras.length === 0) return { state: 'same', digest }
    const trees = [root, ...extras.map(extra => extra.root)]
    const blobs = this.#blobsOf(trees, image)
    await all(trees.map(tree => this.#parts(tree, image, blobs)))
    for (const { root: extra, tag } of extras)
      if (tag !== undefined || !extra.there) await this.#manifest(extra.manifest!, image, tag)
    const names = left.length > 0 ? left.map(({ tag }) => tag) : root.there ? [] : [undefined]
    for (const name of names) await this.#manifest(root.manifest!, image, name)
    await this.#readBack(plan, root, target)
    return { state: 'copied', digest }
  }

  async #transform(root: PlannedManifest, image: CopyImage): Promise<PlannedManifest> {
    const { Transformer } = await import('./transform.ts')
    this.#transformer ??= new Transformer(this.#tools)
    return this.#transformer.tree(root, image)
  }

  /** Begins to bring all blobs of an image, each once. */
  #blobsOf(trees: readonly PlannedManifest[], image: CopyImage): ReadonlyMap<Digest, Promise<void>> {
    const wanted = new Map<Digest, Descriptor>()
    const visit = ({ manifest, there, children }: PlannedManifest): void => {
      if (there || manifest === undefined) return
      for (const blob of blobsOf(manifest, image.options.foreignLayers === true)) wanted.set(blob.digest, blob)
      for (const child of children) visit(child)
    }
    for (const tree of trees) visit(tree)
    const blobs = [...wanted.values()]
    // The largest first: what is left at the end then is small. Archives have blobs in the order of the manifests, and room for them in
    // the order in which they are asked for.
    if (image.target.transport.commit === undefined) blobs.sort((a, b) => b.size - a.size)
    return new Map(
      blobs.map(blob => {
        const work = this.#blob(blob, image)
        work.catch(() => {})
        return [blob.digest, work]
      }),
    )
  }

  /** Everything below a manifest. */
  async #parts(
    { manifest, there, children }: PlannedManifest,
    image: CopyImage,
    blobs: ReadonlyMap<Digest, Promise<void>>,
  ): Promise<void> {
    if (there || manifest === undefined) return
    await all([
      ...children.map(async child => {
        await this.#parts(child, image, blobs)
        if (!child.there && child.manifest !== undefined) await this.#manifest(child.manifest, image)
      }),
      ...blobsOf(manifest, image.options.foreignLayers === true).map(({ digest }) => blobs.get(digest)!),
    ])
  }

  async #manifest(manifest: Manifest, image: CopyImage, tag?: string): Promise<void> {
    const put = async (): Promise<void> => {
      const target = onSide(image.target.transport, 'destination')
      try {
        await target.putManifest(manifest, tag, { signal: this.#tools.signal })
      } catch (error) {
        if (!lacksBlob(error) || manifest.kind === 'index') throw error
        // It said that it had what it lacks (or lost it meanwhile): once more, in earnest.
        const blobs = blobsOf(manifest, image.options.foreignLayers === true)
        for (const { digest } of blobs) this.#at(image).delete(digest)
        await all(blobs.map(blob => this.#blob(blob, image)))
        await target.putManifest(manifest, tag, { signal: this.#tools.signal })
      }
    }
    if (tag !== undefined) return put()
    return this.#once(image, manifest.digest, put)
  }

  #at(image: CopyImage): Map<Digest, Promise<void>> {
    const { transport } = image.target
    let brought = this.#brought.get(transport)
    if (brought === undefined) {
      brought = new Map()
      this.#brought.set(transport, brought)
    }
    return brought
  }

  /** Who waited in vain for another image's attempt tries by itself: its source may be another one. */
  async #once(image: CopyImage, digest: Digest, work: () => Promise<void>): Promise<void> {
    const brought = this.#at(image)
    for (let doing = brought.get(digest); doing !== undefined; doing = brought.get(digest)) {
      if (
        await doing.then(
          () => true,
          () => false,
        )
      )
        return
      if (this.#tools.signal.aborted) throw cancelled(this.#tools.signal.reason)
    }
    const own = work()
    brought.set(digest, own)
    await own.catch(error => {
      brought.delete(digest)
      throw error
    })
  }

  #blob(blob: Descriptor, image: CopyImage): Promise<void> {
    const { source, target } = image
    const site = source.site ?? source.siteOf?.(blob)
    const near = site !== undefined && site.registry === target.site?.registry
    const made = this.#transformer?.body(blob.digest)
    // A manifest of this repository named it: it is there.
    if (near && made === undefined && source.site?.repository === target.site!.repository) return Promise.resolve()
    return this.#once(image, blob.digest, async () => {
      await this.#streams.enter()
      let moved = false
      const open = () => made?.() ?? onSide(source.transport, 'source').blob(blob, { signal: this.#tools.signal })
      const report = (current: number, done: boolean): void =>
        this.#tools.emit({
          ...{ type: 'blob', digest: blob.digest, target: target.label, doing: 'sending' },
          ...{ current, total: blob.size, done },
        })
      try {
        const { signal } = this.#tools
        const how = await onSide(target.transport, 'destination').putBlob(blob, open, {
          signal,
          checked: true,
          ...(made === undefined && {
            tail: (start: number) => onSide(source.transport, 'source').blob(blob, { signal, start }),
          }),
          progress: bytes => {
            moved = true
            report(bytes, false)
          },
          ...(near ? { from: [site.repository] } : {}),
        })
        if (how === 'uploaded') {
          this.counts.sent++
          this.counts.sentBytes += blob.size
        } else if (how === 'mounted') this.counts.mounted++
        else this.counts.there++
      } finally {
        if (moved) report(blob.size, true)
        this.#streams.leave()
      }
    })
  }

  /** What was written is where it should be: asked with HEAD. Where things appear as a whole later, that is not yet so. */
  async #readBack({ image, tags }: ImagePlan, root: PlannedManifest, target: Transport): Promise<void> {
    if (image.target.transport.commit !== undefined) return
    const { signal } = this.#tools
    const { digest } = root.descriptor
    const written = (node: PlannedManifest): Digest[] =>
      node.there
        ? []
        : node.children.flatMap(child => [...(child.there ? [] : [child.descriptor.digest]), ...written(child)])
    const wanted: [string, Digest][] = [
      ...tags.map(({ tag }): [string, Digest] => [tag, digest]),
      ...[...(tags.length === 0 ? [digest] : []), ...new Set(written(root))].map((one): [string, Digest] => [one, one]),
    ]
    await Promise.all(
      wanted.map(async ([name, expected]) => {
        const found = await target.head(name, { signal })
        if (found?.digest === expected) return
        throw new ArchimageError(
          'VERIFY_FAILED',
          `destination: ${image.target.label}: ${name} ${found === undefined ? 'is not there' : `is ${found.digest}`} after it was written as ${expected}`,
          { hint: 'somebody else may write the same tag; else copy again: what is missing is sent anew' },
        )
      }),
    )
  }
}

/** Waits for the end of all, also when one fails: nothing goes on behind the back of who asked. */
async function all(work: readonly Promise<unknown>[]): Promise<void> {
  const ended = await Promise.allSettled(work)
  const bad = ended.find(one => one.status === 'rejected')
  if (bad !== undefined) throw bad.reason
}

/** `registry.example.com/app:1.0 → oci:out:1.0` */
export function labelOf(image: CopyImage): string {
  const tags = image.tags.map((tag, i) => (i === 0 ? `:${tag}` : `, :${tag}`)).join('')
  return `${nameOf(image)} → ${image.target.label}${tags}`
}

/** The registry lacks what a manifest names (distribution-spec, error codes). */
function lacksBlob(error: unknown): boolean {
  const codes = isArchimageError(error) ? error.details['codes'] : undefined
  return Array.isArray(codes) && codes.some(code => code === 'MANIFEST_BLOB_UNKNOWN' || code === 'BLOB_UNKNOWN')
}

function failure(error: unknown, signal: AbortSignal): ArchimageError {
  if (signal.aborted) return cancelled(signal.reason)
  if (isArchimageError(error)) return error
  return systemError(error, 'copying')
}
