import { ArchimageError, isArchimageError, systemError } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor, ImageManifest, Manifest } from '../oci/manifest.ts'
import { isForeignLayer } from '../oci/media-types.ts'
import { formatReference, parseReference, type Reference } from '../oci/reference.ts'
import type { Registry } from '../registry/registry.ts'
import type { Store } from '../store/store.ts'
import type { Transport } from '../transports/transport.ts'
import type { BlobFetcher } from './blobs.ts'
import type { Emit, TagState } from './events.ts'
import { Journal, type Move } from './journal.ts'

/** One tag to be written: which manifest it shall name. A reference without tag: content by digest only. */
export interface TagWish {
  readonly reference: Reference
  readonly manifest: Manifest
}

/** One service on its way out: all that its tags need, the main tag last. */
export interface Publication {
  readonly service: string
  readonly index: Manifest
  readonly children: readonly ImageManifest[]
  readonly tags: readonly TagWish[]
}

export interface TagOutcome {
  readonly service: string
  readonly reference: string
  readonly digest: Digest
  readonly state: TagState
}

export interface PublishTools {
  readonly store: Store
  readonly registry: Registry
  readonly blobs: BlobFetcher
  readonly emit: Emit
  readonly signal: AbortSignal
}

export interface Published {
  readonly tags: readonly TagOutcome[]
  /** By service: why it is not published. */
  readonly failures: ReadonlyMap<string, ArchimageError>
}

/**
 * Publication is a barrier (DESIGN §5): content goes up by digest, then tags move, each only to a complete set, and a
 * refused tag brings the others of its group back to where they were. A group is a service, or with `atomic` all of them.
 */
export async function publish(
  publications: readonly Publication[],
  atomic: boolean,
  tools: PublishTools,
): Promise<Published> {
  await repair(tools)
  const failures = new Map<string, ArchimageError>()
  const ready: { publication: Publication; before: ReadonlyMap<string, Digest | undefined> }[] = []
  await Promise.all(
    publications.map(async publication => {
      try {
        const before = await currentTags(publication, tools)
        const missing = publication.tags.filter(
          wish => before.get(formatReference(wish.reference)) !== wish.manifest.digest,
        )
        const repositories = new Map(missing.map(wish => [repositoryOf(wish.reference), wish]))
        for (const name of repositories.keys()) await upload(publication, name, tools)
        ready.push({ publication, before })
      } catch (error) {
        failures.set(publication.service, failure(error, tools.signal))
      }
    }),
  )
  tools.signal.throwIfAborted()
  const tags: TagOutcome[] = []
  const order = (name: string): number => publications.findIndex(publication => publication.service === name)
  ready.sort((a, b) => order(a.publication.service) - order(b.publication.service))
  if (atomic && failures.size > 0) {
    const [first, why] = [...failures][0]!
    for (const { publication } of ready)
      failures.set(
        publication.service,
        new ArchimageError('INCOMPLETE', `no tag was moved: ${first} could not be published, and --atomic was given`, {
          cause: why,
        }),
      )
    return { tags, failures }
  }
  const groups = atomic ? [ready] : ready.map(one => [one])
  await Promise.all(
    groups.map(async group => {
      const moved = await moveGroup(group, tools)
      tags.push(...moved.tags)
      for (const { publication } of group) if (moved.failure) failures.set(publication.service, moved.failure)
    }),
  )
  tags.sort((a, b) => order(a.service) - order(b.service))
  return { tags, failures }
}

function failure(error: unknown, signal: AbortSignal): ArchimageError {
  if (signal.aborted) throw signal.reason
  if (isArchimageError(error)) return error
  return systemError(error, 'publishing')
}

function repositoryOf(reference: Reference): string {
  return `${reference.registry}/${reference.repository}`
}

async function currentTags(publication: Publication, tools: PublishTools): Promise<Map<string, Digest | undefined>> {
  const entries = await Promise.all(
    publication.tags.map(async ({ reference }) => {
      if (reference.tag === undefined) return [formatReference(reference), undefined] as const
      const head = await tools.registry.repository(reference).head(reference.tag, { signal: tools.signal })
      return [formatReference(reference), head?.digest] as const
    }),
  )
  return new Map(entries)
}

/** Blobs, then the manifests of the platforms, then the index, all by digest. */
async function upload(publication: Publication, repository: string, tools: PublishTools): Promise<void> {
  const target = tools.registry.repository(parseReference(repository))
  const { signal } = tools
  await Promise.all(
    publication.children.map(async child => {
      if (await target.head(child.digest, { signal })) return
      const blobs = new Map([child.config, ...child.layers].map(descriptor => [descriptor.digest, descriptor]))
      await Promise.all([...blobs.values()].map(descriptor => uploadBlob(descriptor, target, repository, tools)))
      await target.putManifest(child, undefined, { signal })
    }),
  )
  if (!(await target.head(publication.index.digest, { signal })))
    await target.putManifest(publication.index, undefined, { signal })
}

async function uploadBlob(
  descriptor: Descriptor,
  target: Transport,
  repository: string,
  tools: PublishTools,
): Promise<void> {
  if (isForeignLayer(descriptor.mediaType)) return
  const { signal } = tools
  const source = tools.blobs.sourceOf(descriptor.digest)
  const registry = repository.slice(0, repository.indexOf('/'))
  const from = source?.startsWith(`${registry}/`) ? [source.slice(registry.length + 1)] : []
  const id = `push ${repository} ${descriptor.digest}`
  let started = false
  const report = (current: number, done: boolean): void => {
    started = true
    const what = `${repository} ${descriptor.digest.slice(7, 19)}`
    tools.emit({ type: 'transfer', id, direction: 'push', what, current, total: descriptor.size, done })
  }
  await target.putBlob(
    descriptor,
    async () => {
      await tools.blobs.ensure(descriptor, signal)
      return tools.store.open(descriptor)
    },
    { signal, from, progress: bytes => report(bytes, false) },
  )
  if (started) report(descriptor.size, true)
}

interface Ready {
  readonly publication: Publication
  readonly before: ReadonlyMap<string, Digest | undefined>
}

async function moveGroup(
  group: readonly Ready[],
  tools: PublishTools,
): Promise<{ tags: TagOutcome[]; failure?: ArchimageError }> {
  const outcomes = new Map<string, TagOutcome>()
  const moves: Move[] = []
  for (const { publication, before } of group)
    for (const { reference, manifest } of publication.tags) {
      if (reference.tag === undefined) continue
      const name = formatReference(reference)
      const already = before.get(name) === manifest.digest
      outcomes.set(name, {
        service: publication.service,
        reference: name,
        digest: manifest.digest,
        state: already ? 'already' : 'kept',
      })
      if (!already) moves.push({ reference: name, before: before.get(name), after: manifest.digest })
    }
  const done: Move[] = []
  let failed: ArchimageError | undefined
  if (moves.length > 0) {
    const journal = Journal.write(tools.store, moves)
    const errors: unknown[] = []
    await Promise.all(
      group.map(async ({ publication }) => {
        for (const { reference, manifest } of publication.tags) {
          if (errors.length > 0) return
          const move = moves.find(candidate => candidate.reference === formatReference(reference))
          if (!move) continue
          try {
            tools.signal.throwIfAborted()
            await tools.registry.repository(reference).putManifest(manifest, reference.tag, { signal: tools.signal })
            done.push(move)
            outcomes.set(move.reference, { ...outcomes.get(move.reference)!, state: 'moved' })
          } catch (error) {
            // A lost answer may hide a tag that did move: it is looked at with the others.
            done.push(move)
            errors.push(error)
          }
        }
      }),
    )
    if (errors.length > 0) {
      const lost = await restore(done, outcomes, tools)
      const cause = tools.signal.aborted
        ? new ArchimageError('CANCELLED', 'interrupted while tags were moved')
        : failure(errors[0], new AbortController().signal)
      failed = new ArchimageError(cause.code, cause.message, {
        hint: [
          ...(cause.hint ? [cause.hint] : []),
          lost.length === 0
            ? 'the tags that had moved are back where they were'
            : `not back where they were: ${lost.join(', ')}`,
        ].join('\n'),
        cause,
      })
    }
    journal.close()
  }
  for (const outcome of outcomes.values()) tools.emit({ type: 'tag', ...outcome })
  return { tags: [...outcomes.values()], ...(failed ? { failure: failed } : {}) }
}

/** Brings tags back to their former digest, unless somebody moved them since. Returns those that could not be. */
async function restore(
  moves: readonly Move[],
  outcomes: Map<string, TagOutcome>,
  tools: PublishTools,
): Promise<string[]> {
  const lost: string[] = []
  for (const { reference: name, before, after } of moves.toReversed()) {
    const reference = parseReference(name)
    const repository = tools.registry.repository(reference)
    try {
      const now = await repository.head(reference.tag!)
      const outcome = outcomes.get(name)!
      if (now?.digest !== after) {
        outcomes.set(name, { ...outcome, state: 'kept' })
        continue
      }
      if (before === undefined) {
        if (!(await repository.deleteManifest?.(reference.tag!)))
          lost.push(`${name} (new; the registry does not let it be deleted)`)
        else outcomes.set(name, { ...outcome, state: 'restored' })
        continue
      }
      const manifest = await repository.manifest(before)
      if (!manifest) {
        lost.push(name)
        continue
      }
      await repository.putManifest(manifest, reference.tag)
      outcomes.set(name, { ...outcome, digest: before, state: 'restored' })
    } catch (error) {
      if (!isArchimageError(error)) throw error
      lost.push(`${name} (${error.message})`)
    }
  }
  return lost
}

/**
 * Finishes what killed runs left: their content was up before their first tag moved, so tags that still are where they were
 * go on to where they should be; those that somebody moved since are left alone.
 */
export async function repair(tools: PublishTools): Promise<void> {
  for (const { moves, journal } of Journal.abandoned(tools.store)) {
    let finished = true
    for (const { reference: name, before, after } of moves) {
      try {
        const reference = parseReference(name)
        const repository = tools.registry.repository(reference)
        const now = (await repository.head(reference.tag!, { signal: tools.signal }))?.digest
        if (now === after || now !== before) continue
        const manifest = await repository.manifest(after, { signal: tools.signal })
        if (!manifest) continue
        await repository.putManifest(manifest, reference.tag, { signal: tools.signal })
        tools.emit({
          type: 'warning',
          message: `an earlier run was killed while it published; ${name} now is what it should have become`,
        })
      } catch (error) {
        if (!isArchimageError(error) || error.code === 'CANCELLED') throw error
        finished = false
        tools.emit({
          type: 'warning',
          message: `an earlier run was killed while it published, and ${name} could not be looked at: ${error.message}`,
        })
      }
    }
    if (finished) journal.close()
    else journal.leave()
  }
}
