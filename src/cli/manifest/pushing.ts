import { writeFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { ArchimageError, systemError } from '../../errors/error.ts'
import { type IndexPush, pushIndex } from '../../manifests/push.ts'
import { list, print } from '../command.ts'
import { look } from '../copy/sides.ts'
import { refuse } from '../places.ts'
import type { Options } from '../request.ts'
import type { ManifestTools } from './tools.ts'

const REFUSED: readonly (readonly [Option, string])[] = [
  [new Option('--sign-by <fingerprint>'), 'images are not signed; cosign signs what is in a registry'],
  [new Option('--sign-by-sigstore <file>'), 'images are not signed; cosign signs what is in a registry'],
  [new Option('--sign-by-sigstore-private-key <file>'), 'images are not signed; cosign signs what is in a registry'],
  [new Option('--sign-passphrase-file <file>'), 'images are not signed; cosign signs what is in a registry'],
  [new Option('--add-compression <format>'), 'archimage copy --add-compression does it, of what was pushed'],
  [new Option('--compression-format <format>'), 'archimage copy --compression does it, of what was pushed'],
  [new Option('--compression-level <n>'), 'archimage copy --compression-level does it, of what was pushed'],
  [new Option('--force-compression'), 'archimage copy --force-compression does it, of what was pushed'],
]

/** Flags of docker's, podman's and buildah's pushes. */
export function addPushFlags(program: Command): Command {
  program
    .addOption(list('-t, --tag <tag>', 'a further tag'))
    .addOption(
      new Option('-f, --format <format>', "all of it in OCI's or Docker's form (v2s2)").choices([
        'oci',
        'docker',
        'v2s2',
      ]),
    )
    .option('--digestfile <file>', 'write the digest to a file')
    .option('-q, --quiet', 'print the digest only')
    .addOption(new Option('--remove-signatures').hideHelp())
    .addOption(new Option('--retry <n>').hideHelp())
    .addOption(new Option('--retry-delay <time>').hideHelp())
  for (const [option] of REFUSED) program.addOption(option.hideHelp())
  return program
}

/** Pushes, and prints what docker prints: each image that was brought there, then the digest. */
export async function pushAndReport(
  push: Omit<IndexPush, 'destination' | 'format' | 'tags'>,
  destination: string,
  options: Options,
  tools: ManifestTools,
): Promise<void> {
  refuse(REFUSED, options)
  if (push.index.manifests.length === 0)
    throw new ArchimageError('INCOMPLETE', `${push.place.label} has no images`, {
      hint: 'archimage manifest add LIST IMAGE adds one',
    })
  const format = options['format'] as string | undefined
  const tags = (options['tag'] as string[] | undefined) ?? []
  const pushed = await pushIndex(
    { ...push, destination, tags, ...(format === undefined ? {} : { format: format === 'oci' ? 'oci' : 'docker' }) },
    tools.places,
    look,
    tools.copy,
  )
  if (options['quiet'] !== true)
    for (const digest of pushed.brought) print(`Pushed ref ${pushed.target.label}@${digest} with digest: ${digest}`)
  const file = options['digestfile'] as string | undefined
  if (file !== undefined)
    try {
      writeFileSync(file, pushed.digest)
    } catch (error) {
      throw systemError(error, `writing ${file}`)
    }
  print(pushed.digest)
}
