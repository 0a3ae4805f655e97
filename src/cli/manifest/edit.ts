import type { Command } from 'commander'
import { ArchimageError } from '../../errors/error.ts'
import { dropAttestations, entryKey, filterIndex, makeIndex, removeEntries } from '../../manifests/edit.ts'
import {
  addMembers,
  applyAnnotations,
  chooseEntries,
  findList,
  keepMembers,
  type List,
  listName,
  memberName,
  mustFindList,
  saveList,
} from '../../manifests/lists.ts'
import { indexPlace, type Member, type MemberChoice } from '../../manifests/members.ts'
import type { Descriptor, ImageManifest, Manifest } from '../../oci/manifest.ts'
import { parsePlatform, parsePlatforms } from '../../oci/platform.ts'
import { formatReference, parseReference } from '../../oci/reference.ts'
import { command, type Invocation, list as listOption, parse, print, say } from '../command.ts'
import type { Options } from '../request.ts'
import { addLabelFlags, addMemberFlags, annotationOption, annotationsOf, existingOf, memberChoice } from './flags.ts'
import { addPushFlags, pushAndReport } from './pushing.ts'
import { addRegistryFlags, type ManifestTools, manifestTools, membersOf, needsArguments } from './tools.ts'

interface Edit {
  readonly usage: string
  readonly about: string
  readonly least: number
  readonly most?: number
  readonly flags: (program: Command) => void
  readonly run: (args: readonly string[], options: Options, tools: ManifestTools) => Promise<void>
}

const EDITS: Readonly<Record<string, Edit>> = {
  create: {
    usage: '[options] LIST [IMAGE…]',
    about:
      'Puts images under one name: of registries, of the store, of files (oci:FOLDER:TAG, oci-archive:FILE, docker-archive:FILE), of docker-daemon:NAME or podman:NAME; of an index all its images. With --push it goes to the registry at once, and is not kept here.',
    least: 1,
    flags: program => {
      addMemberFlags(program)
        .option('-a, --amend', 'add to a list that is there; what was added before is looked at anew')
        .addOption(annotationOption())
        .option('--artifact-type <type>', 'what the index is, where it is no image')
        .option('--push', 'push it at once')
      addPushFlags(program)
    },
    run: create,
  },
  add: {
    usage: '[options] LIST IMAGE…',
    about:
      'Adds images to a list; of an index all its images, or those that --os, --arch and --variant choose. A single image is added as what these say.',
    least: 2,
    flags: program => {
      addLabelFlags(addMemberFlags(program), 'of the image').addOption(annotationOption())
      addArtifactFlags(program)
    },
    run: add,
  },
  replace: {
    usage: '[options] LIST PLATFORM IMAGE',
    about: 'Puts another image in the place of the one for a platform, or adds it.',
    least: 3,
    most: 3,
    flags: program => void addMemberFlags(program),
    run: async ([name, platform, image], options, tools) => {
      const wanted = parsePlatform(platform!)
      const choice = { ...memberChoice(options), platforms: [wanted] }
      await addTo(name!, [image!], choice, { ...options, replace: true }, tools)
    },
  },
  merge: {
    usage: '[options] LIST LIST…',
    about: 'Adds all images of other lists or indexes.',
    least: 2,
    flags: program => void addMemberFlags(program),
    run: ([name, ...others], options, tools) => addTo(name!, others, memberChoice(options), options, tools),
  },
  remove: {
    usage: '[options] LIST MEMBER…',
    about:
      'Takes images out of a list: by digest or its beginning, by the name that they were added by, or by platform.',
    least: 2,
    flags: () => {},
    run: async ([name, ...members], _options, tools) => {
      const before = mustFindList(tools.store(), name!)
      const gone = new Set(members.flatMap(word => chooseEntries(before, word).entries.map(entryKey)))
      save({ ...before, index: removeEntries(before.index, entry => gone.has(entryKey(entry))) }, tools)
    },
  },
  filter: {
    usage: '[options] LIST --platform PLATFORMS',
    about: 'Keeps the images of these platforms, with their attestations.',
    least: 1,
    most: 1,
    flags: program => {
      program
        .addOption(listOption('--platform <platforms>', 'what is kept'))
        .option('--no-attestations', 'take all attestations out')
    },
    run: async ([name], options, tools) => {
      const before = mustFindList(tools.store(), name!)
      const platforms = options['platform'] as string[] | undefined
      const drop = options['attestations'] === false
      if (platforms === undefined && !drop)
        throw new ArchimageError('USAGE', 'archimage manifest filter needs --platform or --no-attestations')
      const part = platforms === undefined ? before.index : filterIndex(before.index, parsePlatforms(platforms), name)
      save({ ...before, index: drop ? dropAttestations(part) : part }, tools)
    },
  },
}

export async function run(invocation: Invocation, verb: string): Promise<number> {
  const { usage, about, least, most = Number.POSITIVE_INFINITY, flags, run } = EDITS[verb]!
  const program = command(invocation, usage, about)
  flags(program)
  addRegistryFlags(program)
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  needsArguments(invocation.name, args, least, most, usage.replace('[options] ', ''))
  const keeping = verb !== 'create' || options['push'] !== true || options['amend'] === true
  const tools = await manifestTools(options, args, invocation.signal, keeping)
  try {
    await run(args, options, tools)
    return 0
  } finally {
    await tools.close()
  }
}

async function create([text, ...words]: readonly string[], options: Options, tools: ManifestTools): Promise<void> {
  const name = listName(text!)
  const amend = options['amend'] === true
  const push = options['push'] === true
  const before = push && !amend ? undefined : findExisting(name, tools)
  if (before !== undefined && !amend)
    throw new ArchimageError('TAG_EXISTS', 'refusing to amend an existing manifest list with no --amend flag', {
      hint: `--amend adds to ${text}; archimage manifest rm ${text} forgets it`,
    })
  const kept = !push || amend
  const choice = memberChoice(options)
  const reference = parseReference(name)
  const artifactType = options['artifactType'] as string | undefined
  let list: List = before ?? {
    name,
    index: makeIndex({ manifests: [], ...(artifactType && { artifactType }) }),
    names: {},
    annotations: {},
  }
  const read = await readAll(words, choice, tools, reference)
  for (const { word, members } of read)
    list = addMembers(list, memberName(word), members, { ...existing(options), fresh: true })
  const all = read.flatMap(({ members }) => members)
  const annotated = applyAnnotations(list, annotationsOf(options, 'index'), entry => manifestOf(entry, all, tools))
  list = annotated.list
  if (kept) {
    await keep(list, all, annotated.now, tools)
    saveList(tools.store(), list)
    say(`Created manifest list ${name}`)
  }
  if (!push) return print(name)
  const members = all.map(member => ({
    ...member,
    manifest: annotated.now.get(member.manifest.digest) ?? member.manifest,
  }))
  const site = { registry: reference.registry, repository: reference.repository }
  const near = kept || annotated.now.size > 0 ? undefined : site
  const at = near && members.every(({ place }) => isSite(place.site, near)) ? near : undefined
  const place = kept
    ? (await tools.places.image({ kind: 'store', reference })).place
    : indexPlace(list.index, members, name)
  await pushAndReport(
    { index: list.index, place, reference, ...(at && { at }) },
    formatReference(reference),
    options,
    tools,
  )
}

function isSite(
  a: { readonly registry: string; readonly repository: string } | undefined,
  b: { readonly registry: string; readonly repository: string },
): boolean {
  return a?.registry === b.registry && a.repository === b.repository
}

function existing(options: Options) {
  const how = existingOf(options)
  return how === undefined ? {} : { existing: how }
}

function findExisting(name: string, tools: ManifestTools): List | undefined {
  const store = tools.storeIfThere()
  return store === undefined ? undefined : findList(store, name)
}

async function add([name, ...words]: readonly string[], options: Options, tools: ManifestTools): Promise<void> {
  if (options['artifact'] === true) {
    const { addArtifact } = await import('./artifact.ts')
    return addArtifact(name!, words, options, tools)
  }
  refuseArtifactFlags(options)
  await addTo(name!, words, memberChoice(options), options, tools)
}

async function addTo(
  name: string,
  words: readonly string[],
  choice: MemberChoice,
  options: Options,
  tools: ManifestTools,
): Promise<void> {
  const before = mustFindList(tools.store(), name)
  let list: List = before
  const read = await readAll(words, choice, tools, parseReference(before.name))
  const label = choice.label ?? (choice.set && {})
  for (const { word, members } of read)
    list = addMembers(list, memberName(word), members, { ...existing(options), ...(label && { label }) })
  const all = read.flatMap(({ members }) => members)
  const added = all.map(({ entry }) => entry)
  const annotations = annotationsOf(options, 'manifest-descriptor')
  const annotated = applyAnnotations(list, annotations, entry => manifestOf(entry, all, tools), added)
  await keep(annotated.list, all, annotated.now, tools)
  save(annotated.list, tools)
}

function readAll(
  words: readonly string[],
  choice: MemberChoice,
  tools: ManifestTools,
  target: ReturnType<typeof parseReference>,
): Promise<{ readonly word: string; readonly members: readonly Member[] }[]> {
  return Promise.all(words.map(async word => ({ word, members: await membersOf(word, choice, tools, target) })))
}

function manifestOf(entry: Descriptor, members: readonly Member[], tools: ManifestTools): Manifest {
  const member = members.find(({ manifest }) => manifest.digest === entry.digest)
  return member?.manifest ?? tools.store().manifest(entry.digest, entry.mediaType)
}

async function keep(
  { name }: List,
  members: readonly Member[],
  now: ReadonlyMap<string, ImageManifest>,
  tools: ManifestTools,
): Promise<void> {
  const store = tools.store()
  const here = await tools.places.open({ kind: 'store', reference: parseReference(name) }, 'write')
  await keepMembers(store, members, here, tools.copy)
  for (const manifest of now.values()) store.put(manifest.raw)
}

function save(list: List, tools: ManifestTools): void {
  saveList(tools.store(), list)
  print(list.name)
}

const ARTIFACT = [
  'artifactType',
  'artifactConfig',
  'artifactConfigType',
  'artifactLayerType',
  'artifactSubject',
  'artifactExcludeTitles',
]

function addArtifactFlags(program: Command): void {
  program
    .option('--artifact', 'add files as an artifact, not images')
    .option('--artifact-type <type>', 'what the artifact is')
    .option('--artifact-config <file>', 'its config')
    .option('--artifact-config-type <type>', 'media type of the config')
    .option('--artifact-layer-type <type>', 'media type of the files')
    .option('--artifact-subject <image>', 'the image that it is about')
    .option('--artifact-exclude-titles', 'without the names of the files')
}

function refuseArtifactFlags(options: Options): void {
  const given = ARTIFACT.filter(name => options[name] !== undefined)
  if (given.length > 0)
    throw new ArchimageError(
      'USAGE',
      `${given.map(name => `--${name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`).join(', ')} needs --artifact`,
    )
}
