import { statSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { ArchimageError, isArchimageError, systemError } from '../../errors/error.ts'
import { indexPlace, type Member, type MemberChoice } from '../../manifests/members.ts'
import { pushIndex } from '../../manifests/push.ts'
import { type ListSpec, listFromSpec, parseListSpec, specFromArguments } from '../../manifests/spec.ts'
import { formatReference, parseReference, type Reference, withDefaultTag } from '../../oci/reference.ts'
import { readUpTo } from '../../sys/files.ts'
import { command, type Invocation, list, parse, print, say } from '../command.ts'
import { look } from '../copy/sides.ts'
import type { Options } from '../request.ts'
import { addRegistryFlags, type ManifestTools, manifestTools, membersOf, needsArguments } from './tools.ts'

const ABOUT: Readonly<Record<string, string>> = {
  'from-spec':
    "Pushes the lists that files of manifest-tool's form say. Several files are several lists, made at once.",
  'from-args':
    'Pushes the list of images whose names follow a template: registry/app-ARCH:1 with OS, ARCH and VARIANT.',
}

export async function run(invocation: Invocation, verb: string): Promise<number> {
  const program = addRegistryFlags(
    command(invocation, verb === 'from-spec' ? '[options] FILE…' : '[options]', ABOUT[verb]!),
  )
  program
    .addOption(
      new Option('--type <type>', "docker: Docker's manifest list; oci: an OCI index")
        .choices(['docker', 'oci'])
        .default('docker'),
    )
    .option('--ignore-missing', 'leave images out that are not there')
    .option('--plain-http', 'speak plain HTTP, or do not check certificates')
    .option('--docker-cfg <path>', "docker's configuration file, or its folder")
    .addOption(new Option('--debug').hideHelp())
  if (verb === 'from-args') addArguments(program)
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args } = parsed
  const options = withToolFlags(parsed.options)
  if (verb === 'from-spec') needsArguments(invocation.name, args, 1, Number.POSITIVE_INFINITY, 'FILE…')
  else needsArguments(invocation.name, args, 0, 0, 'no arguments beside its options')
  const warn = (message: string): void => say(`warning: ${message}`)
  const specs = verb === 'from-spec' ? args.map(file => parseListSpec(read(file), file, warn)) : [fromOptions(options)]
  const named = specs.flatMap(({ image, manifests }) => [image, ...manifests.map(entry => entry.image)])
  const tools = await manifestTools(options, named, invocation.signal, false)
  try {
    const read = reader(tools)
    const pushed = await Promise.allSettled(specs.map(spec => push(spec, options, tools, read, warn)))
    const failures: unknown[] = []
    for (const one of pushed)
      if (one.status === 'rejected') failures.push(one.reason)
      else print(`Digest: ${one.value.digest} ${one.value.size}`)
    for (const [i, failure] of failures.entries())
      if (i < failures.length - 1) say(`error: ${failure instanceof Error ? failure.message : String(failure)}`)
      else throw failure
    return 0
  } finally {
    await tools.close()
  }
}

function addArguments(program: Command): void {
  program
    .addOption(list('--platforms <platforms>', 'OS/ARCH[/VARIANT] of each image, with commas').makeOptionMandatory())
    .addOption(new Option('--template <template>', 'name of each image').makeOptionMandatory())
    .addOption(new Option('--target <name>', 'name of the list').makeOptionMandatory())
    .addOption(list('--tags <tags>', 'further tags of the list, with commas'))
    .addOption(list('--annotations <key=value>', 'of the list, with commas; with --type oci'))
}

function fromOptions(options: Options): ListSpec {
  const words = (name: string): string[] =>
    ((options[name] as string[] | undefined) ?? []).flatMap(part => part.split(',')).filter(Boolean)
  return specFromArguments({
    platforms: words('platforms'),
    template: String(options['template']),
    target: String(options['target']),
    tags: words('tags'),
    annotations: words('annotations'),
  })
}

/** manifest-tool's names for what other commands call differently. */
function withToolFlags(options: Options): Options {
  const config = options['dockerCfg'] as string | undefined
  const file =
    config !== undefined && statSync(config, { throwIfNoEntry: false })?.isDirectory()
      ? join(config, 'config.json')
      : config
  return {
    ...options,
    ...(options['plainHttp'] === true ? { insecure: true } : {}),
    ...(file === undefined ? {} : { authfile: file }),
  }
}

/** Bytes of a file from-spec. */
const MOST = 1 << 20

function read(file: string): string {
  try {
    const bytes = readUpTo(file, MOST)
    if (bytes.length > MOST)
      throw new ArchimageError('USAGE', `${file} has more than ${MOST} bytes`, {
        hint: 'is it the file that was meant?',
      })
    return bytes.toString('utf8')
  } catch (error) {
    if (isArchimageError(error)) throw error
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new ArchimageError('NOT_FOUND', `there is no file ${file}`, {
        hint: 'name a file with the images of a list',
      })
    throw systemError(error, `reading ${file}`)
  }
}

const TRUST: MemberChoice = { trust: true }

type ReadMembers = (image: string, target: Reference) => Promise<readonly Member[]>

/** Reads each image once, however many lists it is in. */
function reader(tools: ManifestTools): ReadMembers {
  const reading = new Map<string, Promise<readonly Member[]>>()
  return (image, target) => {
    const key = `${image} ${target.registry}/${target.repository}`
    const members = reading.get(key) ?? membersOf(`docker://${image}`, TRUST, tools, target)
    reading.set(key, members)
    return members
  }
}

async function push(
  spec: ListSpec,
  options: Options,
  tools: ManifestTools,
  read: ReadMembers,
  warn: (message: string) => void,
): Promise<{ readonly digest: string; readonly size: number }> {
  const reference = withDefaultTag(parseReference(spec.image))
  const { index, members } = await listFromSpec(
    spec,
    { docker: options['type'] !== 'oci', ignoreMissing: options['ignoreMissing'] === true },
    image => read(image, reference),
    warn,
  )
  const site = { registry: reference.registry, repository: reference.repository }
  const near = members.every(
    ({ place }) => place.site?.registry === site.registry && place.site.repository === site.repository,
  )
  const place = indexPlace(index, members, spec.image)
  const { digest } = await pushIndex(
    {
      ...{ index, place, reference, destination: formatReference(reference), tags: spec.tags },
      ...(near ? { at: site } : {}),
    },
    tools.places,
    look,
    tools.copy,
  )
  return { digest, size: index.raw.byteLength }
}
