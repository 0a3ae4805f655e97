import { ArchimageError } from '../errors/error.ts'
import { formatReference, parseReference, withDefaultTag } from '../oci/reference.ts'
import { openRegistry } from '../registry/registry.ts'
import { BlobFetcher } from '../run/blobs.ts'
import { publish } from '../run/publish.ts'
import { openStore } from '../store/store.ts'
import { command, type Invocation, insecureOption, parse, print, say } from './command.ts'
import { addCredentialFlags, addTlsFlags, registryOptions } from './registry-flags.ts'
import { findImage } from './tag.ts'

const ABOUT = 'Pushes images of the store, with all their platforms, and reads them back.'

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, 'IMAGE [NAME]', ABOUT)
    .option('--no-clobber', 'a tag that names something else is an error, before anything is uploaded')
    .addOption(insecureOption())
  addCredentialFlags(addTlsFlags(program))
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const [source, name] = parsed.args
  if (source === undefined || parsed.args.length > 2)
    throw new ArchimageError('USAGE', 'archimage push needs an image, and may have the name to push it under', {
      hint: 'archimage push app:1.0 registry.example.com/team/app:1.0',
    })
  const { signal } = invocation
  const store = openStore({ warn: say })
  try {
    const ref = findImage(store, source)
    const reference = withDefaultTag(parseReference(name ?? ref.name))
    const registry = openRegistry({ warn: say, ...(await registryOptions(parsed.options, [reference.registry])) })
    const index = store.manifest(ref.descriptor.digest, ref.descriptor.mediaType)
    const entries = index.kind === 'index' ? index.manifests : []
    const children =
      index.kind === 'index' ? entries.map(entry => store.manifest(entry.digest, entry.mediaType)) : [index]
    const images = children.filter(child => child.kind === 'image')
    if (images.length !== children.length)
      throw new ArchimageError('UNSUPPORTED', `${source} holds an index inside an index`)
    const { tags, failures, problems } = await publish(
      [{ service: source, children: images, tags: [{ reference, manifest: index }] }],
      false,
      {
        store,
        registry,
        blobs: new BlobFetcher(store, registry, () => {}),
        emit: () => {},
        signal,
        noClobber: parsed.options['clobber'] === false,
      },
    )
    for (const error of failures.values()) throw error
    const wrong = [...problems.values()].flat()
    if (wrong.length > 0)
      throw new ArchimageError(
        'VERIFY_FAILED',
        `${formatReference(reference)} is not right after the push:\n${wrong.join('\n')}`,
        { hint: 'push again: what is missing is sent anew' },
      )
    say(`${formatReference(reference)} ${tags[0]?.state === 'already' ? 'was there already' : 'pushed'}`)
    print(`${reference.registry}/${reference.repository}@${index.digest}`)
    return 0
  } finally {
    store.close()
  }
}
