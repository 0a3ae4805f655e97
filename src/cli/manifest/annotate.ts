import { ArchimageError } from '../../errors/error.ts'
import { changeIndex, platformName } from '../../manifests/edit.ts'
import {
  annotateList,
  applyAnnotations,
  chooseEntries,
  contradiction,
  type List,
  mustFindList,
  saveList,
} from '../../manifests/lists.ts'
import type { Descriptor, Manifest } from '../../oci/manifest.ts'
import { formatPlatform } from '../../oci/platform.ts'
import { command, type Invocation, parse, print, say } from '../command.ts'
import type { Options } from '../request.ts'
import { addLabelFlags, annotationOption, annotationsOf, labelOf } from './flags.ts'
import { addRegistryFlags, describeName, type ManifestTools, manifestTools, needsArguments } from './tools.ts'

const ABOUT = `Says what an image of a list is: its platform, annotations. MEMBER is the name that it was added by, its digest or the
beginning of it, or its platform. Without a member, annotations say themselves where they belong.`

export async function run(invocation: Invocation): Promise<number> {
  const program = addLabelFlags(command(invocation, '[options] LIST [MEMBER]', ABOUT), 'of the image')
    .addOption(annotationOption())
    .option('--index', 'annotations are for the list itself')
    .option('--subject <image>', 'what the list is about')
    .option('--artifact-type <type>', 'what the list is, where it is no image')
  addRegistryFlags(program)
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  needsArguments(invocation.name, args, 1, 2, 'LIST [MEMBER]')
  const tools = await manifestTools(options, args, invocation.signal)
  try {
    const list = await annotate(mustFindList(tools.store(), args[0]!), args[1], options, tools)
    saveList(tools.store(), list)
    print(list.name)
    return 0
  } finally {
    await tools.close()
  }
}

async function annotate(
  before: List,
  member: string | undefined,
  options: Options,
  tools: ManifestTools,
): Promise<List> {
  const own = options['index'] === true
  const label = labelOf(options)
  const annotations = annotationsOf(options, own ? 'index' : 'manifest-descriptor')
  if (own && member !== undefined)
    throw new ArchimageError('USAGE', `--index is for the list itself, and "${member}" is an image of it`)
  if (member === undefined && label !== undefined)
    throw new ArchimageError('USAGE', '--os, --arch, --variant and the like are for one image of the list', {
      hint: `archimage manifest annotate LIST MEMBER …: ${before.index.manifests[0]?.digest ?? 'it has none yet'}`,
    })
  const plain = ((options['annotation'] as string[] | undefined) ?? []).some(text => /^[^:[]*=/.test(text))
  if (member === undefined && !own && plain)
    throw new ArchimageError('USAGE', 'an annotation without a level needs an image of the list', {
      hint: 'archimage manifest annotate LIST MEMBER --annotation KEY=VALUE, or index:KEY=VALUE for the list itself',
    })
  let list = before
  let choice = member === undefined ? undefined : chooseEntries(list, member)
  if (choice !== undefined && label !== undefined) {
    const images = choice.entries.length
    if (images > 1)
      throw new ArchimageError('USAGE', `"${member}" is ${images} images of the list, and a platform is said for one`, {
        hint: `name one by platform: ${choice.entries.flatMap(({ platform }) => (platform ? [formatPlatform(platform)] : [])).join(', ')}`,
      })
    const labelled = annotateList(list, choice, label)
    list = labelled.list
    choice = { entries: labelled.entries }
    for (const entry of labelled.entries) warnOfDisagreement(entry, tools)
  }
  const subject = options['subject'] as string | undefined
  const artifactType = options['artifactType'] as string | undefined
  if (subject !== undefined || artifactType !== undefined)
    list = {
      ...list,
      index: changeIndex(list.index, {
        ...(subject === undefined ? {} : { subject: await describeName(subject, tools) }),
        ...(artifactType === undefined ? {} : { artifactType }),
      }),
    }
  const store = tools.store()
  const read = (entry: Descriptor): Manifest => store.manifest(entry.digest, entry.mediaType)
  const { list: annotated, now } = applyAnnotations(list, annotations, read, choice?.entries)
  for (const manifest of now.values()) store.put(manifest.raw)
  return annotated
}

/** What people say is obeyed; that the image says something else is said once more. */
function warnOfDisagreement(entry: Descriptor, tools: ManifestTools): void {
  const has = contradiction(tools.store(), entry)
  if (has !== undefined)
    say(
      `warning: ${entry.digest} is an image for ${formatPlatform(has)}, by its config, and is in the list for ${platformName(entry)} as you say`,
    )
}
