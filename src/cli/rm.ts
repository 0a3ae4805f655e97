import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { familiarReference, parseReference } from '../oci/reference.ts'
import { formatLocation, type Location } from '../transports/location.ts'
import { openTransport } from '../transports/open.ts'
import { command, type Invocation, insecureOption, parse, print, say, workingDirectory } from './command.ts'
import { inStore, named, notThere, type PlaceTools, placeTools } from './places.ts'
import { addCredentialFlags, addTlsFlags } from './registry-flags.ts'

const ABOUT = `Removes images from the store of this machine: names, or beginnings of digests. Content goes with: archimage cache prune. Of a
registry (docker://, --remote) or a layout (oci:) the tag alone is removed, other tags of the same image stay; by digest the manifest
is, with all its tags.`

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, '[options] IMAGE…', ABOUT)
    .option('-f, --force', 'names that are not there are no error')
    .option('--remote', 'remove tags in their registries')
    .addOption(insecureOption())
  addCredentialFlags(addTlsFlags(program))
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  process.chdir(workingDirectory(invocation, options))
  if (args.length === 0)
    throw new ArchimageError('USAGE', 'archimage rm needs the name of an image', { hint: 'archimage ls lists them' })
  const remote = options['remote'] === true
  const tools = await placeTools(options, say, () => args.map(text => named(text, remote)))
  try {
    for (const text of args)
      try {
        const location = named(text, remote)
        if (location.kind !== 'store') {
          await removeRemote(location, tools, invocation.signal)
          print(`removed ${formatLocation(location)}`)
          continue
        }
        for (const ref of tools.store().remove(inStore(text)))
          print(`removed ${familiarReference(parseReference(ref.name))}`)
      } catch (error) {
        if (options['force'] !== true || !isArchimageError(error) || error.code !== 'NOT_FOUND') throw error
      }
    return 0
  } finally {
    tools.close()
  }
}

/** A tag alone; by digest the manifest. Throws NOT_FOUND when it is not there, USAGE when nothing says which. */
export async function removeRemote(location: Location, tools: PlaceTools, signal: AbortSignal): Promise<void> {
  const what = formatLocation(location)
  const { tag, digest } = 'reference' in location ? location.reference : { tag: location.name, digest: location.digest }
  // "latest" is not filled in: what is removed has to be said
  if ((tag === undefined) === (digest === undefined))
    throw new ArchimageError(
      'USAGE',
      `${what} names ${tag === undefined ? 'neither tag nor digest' : 'a tag and a digest'}`,
      {
        hint: 'a tag goes alone, a digest with all its tags: say which',
      },
    )
  const transport = await openTransport(location, tools, 'read')
  try {
    const remove = tag === undefined ? transport.deleteManifest : transport.deleteTag
    if (remove === undefined) throw new ArchimageError('UNSUPPORTED', `${what}: nothing can be removed there`)
    if (!(await remove.call(transport, (tag ?? digest)!, { signal }))) throw await notThere(location, tools)
  } finally {
    await transport.close?.()
  }
}
