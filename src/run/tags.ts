import { ArchimageError, isArchimageError } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import { formatReference, parseReference } from '../oci/reference.ts'
import { Journal, type Move } from './journal.ts'
import { failure, type Publication, type PublishTools, type TagOutcome, target } from './publication.ts'

/** Milliseconds that putting tags back may take after an interruption; the journal lets the next run go on. */
const RESTORE_TIME = 1200

/** What the tags of a publication are now, by `formatReference`. */
export async function currentTags(
  publication: Publication,
  tools: PublishTools,
): Promise<Map<string, Digest | undefined>> {
  const { signal } = tools
  const entries = await Promise.all(
    publication.tags.map(async ({ reference, manifest }) => {
      const repository = target(reference, tools)
      const head = await repository.head(reference.tag ?? manifest.digest, { signal })
      return [formatReference(reference), head?.digest] as const
    }),
  )
  return new Map(entries)
}

/**
 * Moves the tags of a group, those of one publication in its order, under a journal. If one is refused, those that moved
 * return to where they were, unless somebody else moved them since.
 */
export async function moveTags(
  group: readonly Publication[],
  tools: PublishTools,
): Promise<{ tags: TagOutcome[]; failure?: ArchimageError }> {
  const outcomes = new Map<string, TagOutcome>()
  const moves: Move[] = []
  // Asked again: the upload before this may have taken an hour.
  const before = new Map(
    (await Promise.all(group.map(publication => currentTags(publication, tools)))).flatMap(tags => [...tags]),
  )
  for (const { service, tags } of group)
    for (const { reference, manifest } of tags) {
      if (reference.tag === undefined) continue
      const name = formatReference(reference)
      const already = before.get(name) === manifest.digest
      const digest = before.get(name) ?? manifest.digest
      outcomes.set(name, { service, reference: name, digest, state: already ? 'already' : 'kept' })
      if (!already) moves.push({ reference: name, before: before.get(name), after: manifest.digest })
    }
  const failed = moves.length > 0 ? await moveAll(group, moves, outcomes, tools) : undefined
  // A tag that did not exist and still does not has nothing to tell.
  for (const { reference, before, after } of failed ? moves : []) {
    const { state, digest } = outcomes.get(reference)!
    if (before === undefined && state !== 'moved' && digest === after) outcomes.delete(reference)
  }
  for (const outcome of outcomes.values()) tools.emit({ type: 'tag', ...outcome })
  return { tags: [...outcomes.values()], ...(failed ? { failure: failed } : {}) }
}

async function moveAll(
  group: readonly Publication[],
  moves: readonly Move[],
  outcomes: Map<string, TagOutcome>,
  tools: PublishTools,
): Promise<ArchimageError | undefined> {
  const { signal } = tools
  const journal = Journal.write(tools.store, moves)
  const touched: Move[] = []
  const errors: unknown[] = []
  const moveOne = async ({ reference, manifest }: Publication['tags'][number]): Promise<void> => {
    const move = moves.find(candidate => candidate.reference === formatReference(reference))
    if (!move || errors.length > 0) return
    try {
      signal.throwIfAborted()
      // A lost answer may hide a tag that did move: from here on it is looked at.
      touched.push(move)
      await target(reference, tools).putManifest(manifest, reference.tag, { signal })
      outcomes.set(move.reference, { ...outcomes.get(move.reference)!, digest: move.after, state: 'moved' })
    } catch (error) {
      errors.push(error)
    }
  }
  await Promise.all(
    group.map(async ({ tags }) => {
      for (const wish of tags) await moveOne(wish)
    }),
  )
  if (errors.length === 0) {
    journal.close()
    return undefined
  }
  const lost = await restore(touched, outcomes, tools)
  // After a refusal nothing is left to be tried; after an interruption the next run goes on.
  if (lost.length > 0 && signal.aborted) journal.leave()
  else journal.close()
  const cause = failure(errors[0], signal)
  const back =
    lost.length === 0
      ? 'all tags are where they were before'
      : `not back where they were${signal.aborted ? ', the next push mends them' : ''}: ${lost.join(', ')}`
  return new ArchimageError(cause.code, cause.message, {
    hint: cause.hint ? `${cause.hint}\n${back}` : back,
    cause: cause.cause,
    details: cause.details,
  })
}

/** Brings tags back to their former digest. Returns those that could not be, each with the reason. */
async function restore(
  moves: readonly Move[],
  outcomes: Map<string, TagOutcome>,
  tools: PublishTools,
): Promise<string[]> {
  const options = tools.signal.aborted ? { signal: AbortSignal.timeout(RESTORE_TIME) } : {}
  const lost: string[] = []
  for (const { reference: name, before, after } of moves.toReversed()) {
    const reference = parseReference(name)
    const repository = target(reference, tools)
    const set = (outcome: Partial<TagOutcome>): void => void outcomes.set(name, { ...outcomes.get(name)!, ...outcome })
    try {
      const now = await repository.head(reference.tag!, options)
      if (now?.digest !== after) {
        set({ state: 'kept', ...(now ? { digest: now.digest } : {}) })
      } else if (before === undefined) {
        if (await repository.deleteTag(reference.tag!, options)) set({ state: 'restored' })
        else lost.push(`${name} (it is new, and the registry does not let it be deleted)`)
      } else {
        const manifest = await repository.manifest(before, options)
        if (manifest) {
          await repository.putManifest(manifest, reference.tag, options)
          set({ digest: before, state: 'restored' })
        } else lost.push(`${name} (${before} is no longer in the registry)`)
      }
    } catch (error) {
      if (!isArchimageError(error)) throw error
      lost.push(`${name} (${error.code === 'CANCELLED' ? 'there was no time' : error.message})`)
    }
  }
  return lost
}

/**
 * Finishes what killed runs left: their content was up before their first tag moved, so tags that still are where they were
 * go on to where they should be; those that somebody moved since are left alone. Only registries that this run talks to
 * are asked.
 */
export async function repair(registries: ReadonlySet<string>, tools: PublishTools): Promise<void> {
  const concerns = ({ reference }: Move): boolean => registries.has(parseReference(reference).registry)
  for (const { moves, journal } of Journal.abandoned(tools.store, concerns)) {
    let finished = true
    for (const move of moves) finished = (await finish(move, tools)) && finished
    if (finished) journal.close()
    else journal.leave()
  }
}

async function finish({ reference: name, before, after }: Move, tools: PublishTools): Promise<boolean> {
  const { signal } = tools
  const warn = (what: string): void =>
    tools.emit({ type: 'warning', message: `an earlier run was stopped while it published; ${what}` })
  try {
    const reference = parseReference(name)
    const repository = target(reference, tools)
    const now = (await repository.head(reference.tag!, { signal }))?.digest
    if (now === after || now !== before) return true
    const manifest = await repository.manifest(after, { signal })
    if (!manifest) {
      warn(`${name} stays as it is: what it should have become is no longer in the registry`)
      return true
    }
    await repository.putManifest(manifest, reference.tag, { signal })
    warn(`${name} now is what it should have become`)
    return true
  } catch (error) {
    if (!isArchimageError(error) || error.code === 'CANCELLED') throw error
    warn(`${name} could not be looked at: ${error.message}`)
    return false
  }
}
