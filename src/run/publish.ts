import { ArchimageError, cancelled } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import { formatReference, type Reference } from '../oci/reference.ts'
import { failure, type Publication, type PublishTools, repositoryOf, type TagOutcome } from './publication.ts'
import { readBack } from './read-back.ts'
import { currentTags, moveTags, repair } from './tags.ts'
import { upload } from './upload.ts'

export interface Published {
  readonly tags: readonly TagOutcome[]
  /** By service: why it is not published. */
  readonly failures: ReadonlyMap<string, ArchimageError>
  /** By service that is published: what did not hold when it was read back. */
  readonly problems: ReadonlyMap<string, readonly string[]>
}

/**
 * Publication is a barrier (DESIGN §5): content goes up by digest, then tags move, each only to a complete set, and a
 * refused tag brings the others of its group back to where they were; then everything is read back. A group is a service,
 * or with `atomic` all of them. What an interruption leaves undone are failures with the code CANCELLED.
 */
export async function publish(
  publications: readonly Publication[],
  atomic: boolean,
  tools: PublishTools,
): Promise<Published> {
  const failures = new Map<string, ArchimageError>()
  const problems = new Map<string, readonly string[]>()
  const tags: TagOutcome[] = []
  const all = { tags, failures, problems }
  const attempt = async (names: readonly string[], work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      const why = failure(error, tools.signal)
      for (const name of names) failures.set(name, why)
    }
  }
  const names = (group: readonly Publication[]): string[] => group.map(({ service }) => service)
  await attempt(names(publications), () => repair(registriesOf(publications), tools))
  if (tools.signal.aborted) return all
  await Promise.all(
    publications.map(publication =>
      attempt([publication.service], async () => {
        if (!(await prepare(publication, tools))) return
        problems.set(publication.service, [])
        for (const { reference, manifest } of publication.tags) {
          if (reference.tag === undefined) continue
          const name = formatReference(reference)
          const tag: TagOutcome = {
            service: publication.service,
            reference: name,
            digest: manifest.digest,
            state: 'already',
          }
          tags.push(tag)
          tools.emit({ type: 'tag', ...tag })
        }
      }),
    ),
  )
  const ready = publications.filter(({ service }) => !failures.has(service) && !problems.has(service))
  if (tools.signal.aborted) {
    for (const name of names(ready)) failures.set(name, cancelled())
    return all
  }
  const [first] = failures
  if (atomic && first) {
    for (const name of names(ready)) failures.set(name, heldUp(first))
    return all
  }
  await Promise.all(
    (atomic ? [ready] : ready.map(one => [one])).map(group =>
      attempt(names(group), async () => {
        const moved = await moveTags(group, tools)
        tags.push(...moved.tags)
        if (moved.failure) throw moved.failure
      }),
    ),
  )
  await Promise.all(
    ready
      .filter(({ service }) => !failures.has(service))
      .map(publication =>
        attempt([publication.service], async () => {
          problems.set(publication.service, await readBack(publication, tools))
        }),
      ),
  )
  const place = new Map(names(publications).map((name, i) => [name, i]))
  tags.sort((a, b) => place.get(a.service)! - place.get(b.service)!)
  return all
}

/**
 * Everything that the tags need is in their repositories afterwards. True when nothing is left to do: all is there and
 * every tag is right. Where the tags are right but something behind them is missing, that is sent again.
 */
async function prepare(publication: Publication, tools: PublishTools): Promise<boolean> {
  if ((await readBack(publication, tools)).length === 0) return true
  const before = await currentTags(publication, tools)
  const left = publication.tags.filter(wish => before.get(formatReference(wish.reference)) !== wish.manifest.digest)
  for (const { reference, manifest } of tools.noClobber ? left : []) {
    const now = before.get(formatReference(reference))
    if (now !== undefined && reference.tag !== undefined) throw wouldMove(reference, now, manifest.digest)
  }
  const thorough = left.length === 0
  const wishes = thorough ? publication.tags : left
  const repositories = new Set(wishes.map(wish => repositoryOf(wish.reference)))
  await Promise.all([...repositories].map(name => upload(publication, name, thorough, tools)))
  return false
}

function wouldMove(reference: Reference, now: Digest, digest: Digest): ArchimageError {
  const name = formatReference(reference)
  return new ArchimageError('TAG_EXISTS', `${name} is there and is ${now}; this would be ${digest}`, {
    hint: 'choose another tag, or leave --no-clobber away; nothing was uploaded',
  })
}

function heldUp([service, cause]: [string, ArchimageError]): ArchimageError {
  return new ArchimageError(
    'INCOMPLETE',
    `no tag was moved: ${service} could not be published, and --atomic was given`,
    {
      cause,
    },
  )
}

function registriesOf(publications: readonly Publication[]): ReadonlySet<string> {
  return new Set(publications.flatMap(({ tags }) => tags.map(({ reference }) => reference.registry)))
}
