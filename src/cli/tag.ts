import { ArchimageError } from '../errors/error.ts'
import { suggest } from '../errors/suggest.ts'
import { formatReference, isTag, parseReference, withDefaultTag } from '../oci/reference.ts'
import type { Store } from '../store/store.ts'
import type { Ref } from '../store/types.ts'
import { formatLocation, type Location } from '../transports/location.ts'
import { openLocation } from '../transports/open.ts'
import { command, type Invocation, insecureOption, parse, print, say, workingDirectory } from './command.ts'
import { inStore, named, notThere, type PlaceTools, placeTools } from './places.ts'
import { addCredentialFlags, addTlsFlags } from './registry-flags.ts'
import { removeRemote } from './rm.ts'

const ABOUT = `Gives an image further names: one in the store of this machine names in the store, one in a registry (docker://, --remote) or a
layout (oci:) tags of the same repository, without moving a byte.`

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, '[options] IMAGE NAME…', ABOUT)
    .option('--remote', 'the image is in its registry')
    .option('--delete', 'take these tags away instead; what they lead to stays')
    .addOption(insecureOption())
  addCredentialFlags(addTlsFlags(program))
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  process.chdir(workingDirectory(invocation, options))
  const [source, ...names] = args
  if (source === undefined || (names.length === 0 && options['delete'] !== true))
    throw new ArchimageError('USAGE', 'archimage tag needs an image and at least one new name', {
      hint: 'archimage tag app:1.0 registry.example.com/team/app:1.0',
    })
  const remote = options['remote'] === true
  const tools = await placeTools(options, say, () =>
    [source, ...(options['delete'] === true ? names : [])].map(text => named(text, remote)),
  )
  try {
    if (options['delete'] === true) {
      for (const text of args) {
        const location = named(text, remote)
        if (location.kind === 'store') tools.store().remove(inStore(text))
        else await removeRemote(location, tools, invocation.signal)
        print(`removed ${formatLocation(location)}`)
      }
      return 0
    }
    const location = named(source, remote)
    if (location.kind === 'store') tagInStore(tools.store(), inStore(source), names)
    else await tagThere(location, names, tools, invocation.signal)
    return 0
  } finally {
    tools.close()
  }
}

function tagInStore(store: Store, source: string, names: readonly string[]): void {
  const { descriptor, origin: before } = findImage(store, source)
  const origin = before === 'list' ? before : 'tagged'
  const wanted = names.map(text => {
    const location = named(text, false)
    if (location.kind !== 'store')
      throw new ArchimageError('USAGE', `"${text}" is not in the store, and ${source} is`, {
        hint: 'archimage push and archimage copy bring it there; for a tag in its registry: archimage tag --remote',
      })
    return withDefaultTag(location.reference)
  })
  for (const name of wanted)
    if (name.digest !== undefined) throw new ArchimageError('USAGE', 'a new name cannot hold a digest')
  store.tagAll(wanted.map(name => ({ name: formatReference(name), descriptor, origin })))
}

/** A manifest that is there gets further tags: what it leads to is there already. */
async function tagThere(
  location: Location,
  names: readonly string[],
  tools: PlaceTools,
  signal: AbortSignal,
): Promise<void> {
  const tags = names.map(text => tagIn(location, text))
  const place = await openLocation(location, tools)
  try {
    const manifest = await place.transport.manifest(place.name!, { signal })
    if (manifest === undefined) throw await notThere(location, tools)
    for (const tag of tags) await place.transport.putManifest(manifest, tag, { signal })
    await place.transport.commit?.({ signal })
    for (const tag of tags) print(`${labelOf(location)}:${tag}@${manifest.digest}`)
  } finally {
    await place.close()
  }
}

/** `v2`, or the whole name with it. */
function tagIn(location: Location, text: string): string {
  if (!('reference' in location)) return text
  const { registry, repository } = location.reference
  if (isTag(text)) return text
  const reference = withDefaultTag(parseReference(text))
  if (reference.digest !== undefined) throw new ArchimageError('USAGE', 'a new name cannot hold a digest')
  if (reference.registry === registry && reference.repository === repository) return reference.tag!
  throw new ArchimageError('USAGE', `${text} is not in the repository ${registry}/${repository}`, {
    hint: `a tag is one of the same repository; for another one: archimage copy ${formatLocation(location)} ${text}`,
  })
}

function labelOf(location: Location): string {
  if (!('reference' in location)) return `${location.kind}:${location.path}`
  return `${location.reference.registry}/${location.reference.repository}`
}

/** An image of the store by name, or by the beginning of its digest. Throws NOT_FOUND with a suggestion. */
export function findImage(store: Store, text: string): Ref {
  const refs = store.refs()
  const hex = text.replace(/^sha256:/, '')
  const byDigest = /^[0-9a-f]{6,64}$/.test(hex)
    ? refs.filter(ref => ref.descriptor.digest.slice(7).startsWith(hex))
    : []
  const found = byDigest[0] ?? store.ref(formatReference(withDefaultTag(parseReference(text))))
  if (found) return found
  const names = store.list().map(image => image.familiar)
  const meant = suggest(text, [...names, ...names.map(name => name.replace(/:[^:/]*$/, ''))])
  throw new ArchimageError('NOT_FOUND', `there is no image "${text}" in the store`, {
    hint:
      meant === undefined
        ? 'archimage ls lists what is there; --remote is for images in a registry'
        : `did you mean "${meant}"?`,
  })
}
