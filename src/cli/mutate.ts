import { Places } from '../copy/places.ts'
import { ArchimageError } from '../errors/error.ts'
import { readImage } from '../inspect/read.ts'
import { deliver } from '../mutate/deliver.ts'
import { type Base, type Mutated, type Mutation, mutate } from '../mutate/mutate.ts'
import { type Digest, isDigest } from '../oci/digest.ts'
import { formatReference, isTag, parseReference, type Reference } from '../oci/reference.ts'
import { stringify } from '../report/json.ts'
import { formatLocation, type Location, parseLocation } from '../transports/location.ts'
import { command, type Invocation, insecureOption, list, parse, print, say, workingDirectory } from './command.ts'
import { look } from './copy/sides.ts'
import { addMutateFlags, basesOf, mutationOf, refuseMutateFlags } from './mutate-flags.ts'
import { findLocation, notThere, type PlaceTools, placeInWords, placeTools, type Where, whereOption } from './places.ts'
import { addCredentialFlags, addTlsFlags } from './registry-flags.ts'
import { type Options, strings } from './request.ts'

const ABOUT = `Edits an image without building it, all its platforms in one pass: configuration, annotations, times, layers, base. What does
not change keeps its bytes, and layers stay where they are.`

export async function run(invocation: Invocation): Promise<number> {
  const program = addMutateFlags(command(invocation, '[options] IMAGE', ABOUT))
    .addOption(
      list('-t, --tag <image>', 'what the result is called; a word without a prefix is where the image was found'),
    )
    .option('--create <image>', 'as --tag; a tag alone is one of the same repository')
    .option('--replace', 'move the tag of the image itself')
    .option('--repo <repository>', 'put it into this repository, by digest')
    .option('-o, --output <file>', 'write an OCI archive; docker-archive:FILE, oci:FOLDER for others')
    .option('--dry-run', 'say what would come of it')
    .option('--json', 'print the result as JSON')
    .option('--local', 'look in the store of this machine only')
    .option('--remote', 'look in the registry only')
    .addOption(insecureOption())
  addCredentialFlags(addTlsFlags(program))
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  process.chdir(workingDirectory(invocation, options))
  const [text] = args
  if (text === undefined || args.length > 1)
    throw new ArchimageError('USAGE', 'archimage mutate needs one image', {
      hint: 'archimage mutate app:1.0 --label version=1.0 -t app:1.0-labelled',
    })
  refuseMutateFlags(program, options)
  const mutation = mutationOf(options)
  const where = whereOption(options)
  const { signal } = invocation
  const tools = await placeTools(options, say, stores => {
    const source = findLocation(text, where, stores)
    const bases = Object.values(basesOf(options) ?? {}).map(base => findLocation(base, where, stores))
    return [source, ...bases, ...targetsOf(source, options).map(target => target.location)]
  })
  const places = new Places(tools)
  try {
    const location = findLocation(text, where, tools)
    const source = await places.image(location)
    const top = await readImage(source.place.transport, source.name, { signal })
    if (top === undefined) throw await notThere(location, tools)
    const targets = targetsOf(location, options)
    const name = formatLocation(location)
    const bases = baseReader(options, where, tools, places, signal)
    const work = { store: tools.store(), transport: source.place.transport, signal }
    const mutated = await mutate(top, name, { ...mutation, ...bases }, work)
    tell(mutated, placeInWords(location), options)
    const written: Written[] = []
    if (options['dryRun'] !== true) {
      for (const { location: to, tags } of targets) {
        // what holds one platform only gets the one that was edited
        const only = SINGLE.includes(to.kind) ? mutation.platforms : undefined
        const delivery = {
          source: source.place,
          target: await places.open(to, 'write'),
          tags,
          inPlace: location.kind === 'store' && to.kind === 'store',
          ...(only === undefined ? {} : { platforms: only }),
        }
        written.push({ place: delivery.target.label, tags, digest: await deliver(mutated, delivery, work) })
      }
      await places.commit(true, signal)
    }
    if (options['json'] === true) print(stringify(report(mutated, written), 2))
    else if (options['dryRun'] === true) print(mutated.top.digest)
    else for (const { place, digest } of written) print(`${place}@${digest}`)
    return 0
  } finally {
    await places.close()
    tools.close()
  }
}

interface Target {
  readonly location: Location
  /** None: by digest. */
  readonly tags: readonly string[]
}

interface Written {
  readonly place: string
  readonly tags: readonly string[]
  readonly digest: Digest
}

const SINGLE: readonly Location['kind'][] = ['docker-archive', 'docker', 'podman']

/** Where the result goes; one target for each repository, file or folder. */
function targetsOf(source: Location, options: Options): Target[] {
  const output = options['output'] as string | undefined
  const repo = options['repo'] as string | undefined
  const tags = strings(options['tag'])
  const create = options['create'] as string | undefined
  if (repo !== undefined && (tags.length > 0 || output !== undefined || create !== undefined))
    throw new ArchimageError('USAGE', '--repo goes by digest: it excludes --tag and --output')
  if (output !== undefined) {
    const location = parseLocation(/^[a-z-]+:|^\.{0,2}\/|\.tar$/.test(output) ? output : `oci-archive:${output}`, look)
    if ('reference' in location) return [...taggedIn(source, [output])]
    const names = [...tags, ...(create === undefined ? [] : [create])].map(tag => formatReference(parseReference(tag)))
    return [{ location, tags: location.name === undefined ? names : [location.name] }]
  }
  const named = [...tags, ...(create === undefined ? [] : [created(source, create)])]
  if (options['replace'] === true) named.push(formatLocation(source))
  if (named.length > 0) return taggedIn(source, named)
  if (repo !== undefined) return [{ location: { kind: 'registry', reference: parseReference(repo) }, tags: [] }]
  if (source.kind === 'registry') return [{ location: source, tags: [] }]
  if (options['dryRun'] === true) return []
  throw new ArchimageError('USAGE', 'the result needs a name, else nobody would find it', {
    hint: '-t NAME, --replace to move the tag of the image, or -o FILE',
  })
}

/** Words without a prefix are in the store for an image that was found there. */
function taggedIn(source: Location, names: readonly string[]): Target[] {
  const targets = new Map<string, Target>()
  for (const text of names) {
    const parsed = parseLocation(text, look)
    const here = source.kind === 'store' && parsed.kind === 'registry' && !/^(?:docker|registry):\/\//.test(text)
    const location: Location = here ? { ...parsed, kind: 'store' } : parsed
    const tag = 'reference' in location ? tagOf(location.reference, text) : location.name
    const key = labelOf({ location, tags: [] })
    const before = targets.get(key)?.tags ?? []
    targets.set(key, { location, tags: tag === undefined ? before : [...before, tag] })
  }
  return [...targets.values()]
}

function tagOf({ tag, digest }: Reference, text: string): string | undefined {
  if (digest === undefined) return tag ?? 'latest'
  // who edits an image that is named by digest gets one that is, too
  if (tag === undefined) return undefined
  throw new ArchimageError('USAGE', `"${text}": the result has another digest`, { hint: 'leave the digest out' })
}

function created(source: Location, text: string): string {
  if (!isTag(text)) return text
  if (!('reference' in source)) return `${source.kind}:${source.path}:${text}`
  const { registry, repository } = source.reference
  return `${source.kind === 'registry' ? 'docker' : source.kind}://${registry}/${repository}:${text}`
}

/** Bases are read when an image is put on them, each once. */
function baseReader(
  options: Options,
  where: Where,
  tools: PlaceTools,
  places: Places,
  signal: AbortSignal,
): Pick<Mutation, 'bases'> {
  const asked = basesOf(options)
  if (asked === undefined) return {}
  const read = new Map<string, Promise<Base>>()
  const base = (text: string): Promise<Base> => {
    const known = read.get(text) ?? readBase(text)
    read.set(text, known)
    return known
  }
  const readBase = async (text: string): Promise<Base> => {
    const location = findLocation(text, where, tools)
    const { place, name } = await places.image(location)
    const top = await readImage(place.transport, name, { signal })
    if (top === undefined) throw await notThere(location, tools)
    return {
      name: 'reference' in location ? formatReference(location.reference) : text,
      top,
      transport: place.transport,
    }
  }
  return {
    bases: async annotations => {
      const name = annotations['org.opencontainers.image.base.name']
      const digest = annotations['org.opencontainers.image.base.digest']
      const now = asked.new ?? name
      const old = asked.old ?? (name !== undefined && isDigest(digest) ? withDigest(name, digest) : undefined)
      if (now === undefined || old === undefined)
        throw new ArchimageError('USAGE', 'nothing says which base the image has', {
          hint: '--old-base IMAGE --new-base IMAGE, or annotations org.opencontainers.image.base.name and .digest',
        })
      return { old: await base(old), new: await base(now) }
    },
  }
}

function withDigest(name: string, digest: `sha256:${string}` | `sha512:${string}`): string {
  const { registry, repository } = parseReference(name)
  return formatReference({ registry, repository, digest })
}

/** For people, on stderr. */
function tell({ images, dropped }: Mutated, place: string, options: Options): void {
  if (options['json'] === true) return
  say(`found ${place}`)
  for (const { platform, before, after } of images)
    say(before === after ? `${platform}  unchanged` : `${platform}  ${before} → ${after}`)
  if (dropped.length > 0)
    say(`attestations of images that changed are left out (${dropped.length}); --attestations keep keeps them`)
}

function report({ top, images, dropped }: Mutated, written: readonly Written[]) {
  return { digest: top.digest, mediaType: top.mediaType, images, droppedAttestations: dropped, written }
}

function labelOf({ location }: Target): string {
  if (!('reference' in location)) return `${location.kind}:${location.path}`
  const { registry, repository } = location.reference
  return location.kind === 'registry'
    ? `${registry}/${repository}`
    : formatLocation({ ...location, reference: { registry, repository } })
}
