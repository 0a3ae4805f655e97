import { Option } from 'commander'
import { ArchimageError } from '../errors/error.ts'
import { sanitizeText } from '../errors/render-text.ts'
import { describeImage, type Inspection, platformOf } from '../inspect/describe.ts'
import { differenceOf } from '../inspect/difference.ts'
import { templateFields } from '../inspect/fields.ts'
import { changedFiles, type FileChange, rootOfImage } from '../inspect/files.ts'
import { imageFor, imagesOf, narrow } from '../inspect/narrow.ts'
import { type ImageNode, readImage } from '../inspect/read.ts'
import { readReferrers } from '../inspect/referrers.ts'
import { readStatements } from '../inspect/statements.ts'
import { buildPlatform, formatPlatform, type Platform, selectPlatform } from '../oci/platform.ts'
import { stringify } from '../report/json.ts'
import { terminal } from '../sys/terminal.ts'
import { parseTemplate } from '../template/parse.ts'
import { renderTemplate } from '../template/render.ts'
import type { Template } from '../template/syntax.ts'
import { formatLocation } from '../transports/location.ts'
import type { OpenPlace } from '../transports/open.ts'
import { command, type Invocation, insecureOption, list, parse, print, say, workingDirectory } from './command.ts'
import { differenceLines, inspectionLines } from './inspect-text.ts'
import {
  findLocation,
  notThere,
  openSource,
  type PlaceTools,
  placeInWords,
  placeTools,
  refuse,
  whereOption,
} from './places.ts'
import { addCredentialFlags, addTlsFlags } from './registry-flags.ts'
import { askedPlatforms, type Options } from './request.ts'

const ABOUT = `Shows an image: platforms, sizes, layers and what made them, configuration, annotations, attestations. Of two images it
shows the difference; exit code 0: none, 1: there is one.`

/** Flags of skopeo inspect, docker buildx imagetools inspect and regctl that have no meaning here, with the reason. */
const REFUSED: readonly (readonly [Option, string])[] = [
  [new Option('--builder <name>'), 'archimage asks registries itself'],
  [new Option('--expand-config'), 'the configuration is part of the output anyway; --config prints it alone'],
  [new Option('--shared-blob-dir <dir>'), 'a layout has its blobs in its own folder'],
]

interface Opened {
  readonly place: OpenPlace & { readonly name: string }
  readonly top: ImageNode
  readonly inspection: Inspection
}

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, '[options] IMAGE [IMAGE]', ABOUT)
    .addOption(list('--platform <platforms>', 'only these platforms'))
    .option('--json', 'print as JSON')
    .option('--raw', 'print the manifest, byte for byte; with --config the config')
    .option('--config', 'print the configuration of the image (of one platform: --platform)')
    .option('-f, --format <template>', "print what a template in Go's syntax says: {{.Digest}}")
    .option('--files', 'of two images also the files that differ')
    .option('--referrers', 'list signatures and whatever else refers to the image')
    .option('--local', 'look in the store of this machine only')
    .option('--remote', 'look in the registry only')
    .addOption(insecureOption())
    .option('--offline', 'use no network')
    .addOption(new Option('-n, --no-tags', 'tags are listed only when --format asks for them').hideHelp())
  addCredentialFlags(addTlsFlags(program))
  for (const [option] of REFUSED) program.addOption(option.hideHelp())
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  process.chdir(workingDirectory(invocation, options))
  refuse(REFUSED, options)
  check(args, options)
  const template = options['format'] === undefined ? undefined : parseTemplate(String(options['format']))
  const where = whereOption(options)
  const tools = await placeTools(options, say, stores => args.map(text => findLocation(text, where, stores)))
  const opened: Opened[] = []
  try {
    for (const text of args) opened.push(await openImage(text, options, tools, invocation.signal))
    const [one, two] = opened as [Opened, Opened | undefined]
    if (two !== undefined) return await showDifference(one, two, options, tools, invocation.signal)
    if (options['raw'] === true || options['config'] === true)
      terminal(1).write(Buffer.from(bytesOf(one, options)).toString())
    else if (template !== undefined) {
      const text = renderTemplate(template, await fieldsFor(template, one, options, invocation.signal))
      print(terminal(1).isTTY ? sanitizeText(text) : text)
    } else if (options['json'] === true) print(stringify(one.inspection, 2))
    else for (const line of inspectionLines(one.inspection, placeInWords(one.place.location))) print(line)
    return 0
  } finally {
    for (const { place } of opened) await place.close()
    tools.close()
  }
}

function check(args: readonly string[], options: Options): void {
  if (args.length === 0 || args.length > 2)
    throw new ArchimageError('USAGE', 'archimage inspect needs an image, or two to compare', {
      hint: 'archimage inspect registry.example.com/team/app:1.0',
    })
  const given = ['json', 'raw', 'config', 'format'].filter(name => options[name] !== undefined)
  const together = given.filter(name => name !== 'config' || !given.includes('raw'))
  if (together.length > 1) throw new ArchimageError('USAGE', `--${together[0]} and --${together[1]} exclude each other`)
  const alone = given.find(name => name !== 'json')
  if (args.length === 2 && alone !== undefined)
    throw new ArchimageError('USAGE', `--${alone} is for one image`, { hint: 'two are compared as text or as --json' })
  if (options['files'] === true && args.length === 1)
    throw new ArchimageError('USAGE', '--files compares two images', {
      hint: 'archimage inspect --files app:1.0 app:1.1',
    })
}

async function openImage(text: string, options: Options, tools: PlaceTools, signal: AbortSignal): Promise<Opened> {
  const place = await openSource(text, whereOption(options), tools)
  const name = formatLocation(place.location)
  const whole = await readImage(place.transport, place.name, { signal })
  if (whole === undefined) throw await notThere(place.location, tools)
  // bytes are those of what was named; --platform then says which of its images
  const bytes = options['raw'] === true || options['config'] === true
  const top = bytes ? whole : narrow(whole, askedPlatforms(options) ?? [], name)
  const inspection = describeImage(top, name, place.location.kind)
  if (options['referrers'] !== true) return { place, top, inspection }
  const referrers = await readReferrers(inspection, place.transport, { signal })
  return { place, top, inspection: { ...inspection, referrers } }
}

/** The bytes that --raw and --config are about: JSON is UTF-8, so text gives them exactly. */
function bytesOf({ top, inspection: { name } }: Opened, options: Options): Uint8Array {
  const platforms = askedPlatforms(options) ?? []
  if (platforms.length > 1)
    throw new ArchimageError('USAGE', 'one platform at a time', { hint: '--platform linux/amd64' })
  if (options['config'] !== true)
    return (platforms.length === 0 ? top : imageFor(top, platforms[0]!, name)).manifest!.raw
  const image = theImage(top, platforms[0], name)
  if (options['raw'] === true) return image.rawConfig!
  return Buffer.from(`${JSON.stringify(JSON.parse(Buffer.from(image.rawConfig!).toString()), null, 2)}\n`)
}

/** The image that a question about one is about: the one that is asked for, that of this machine, the only one. */
function theImage(top: ImageNode, platform: Platform | undefined, name: string): ImageNode {
  if (platform !== undefined) return imageFor(top, platform, name)
  const found = ofThisMachine(top)
  if (found !== undefined) return found
  const images = imagesOf(top)
  throw new ArchimageError(
    'PLATFORM_MISSING',
    images.length === 0 ? `${name} has no configuration: it is no image` : `${name} is not there for this machine`,
    images.length === 0
      ? { hint: '--raw prints its manifest' }
      : { hint: `choose one with --platform: ${images.map(node => formatPlatform(platformOf(node)!)).join(', ')}` },
  )
}

function ofThisMachine(top: ImageNode): ImageNode | undefined {
  const images = imagesOf(top)
  const found = selectPlatform(buildPlatform(), images.map(platformOf))
  return found === undefined ? (images.length === 1 ? images[0] : undefined) : images[found.index]
}

async function fieldsFor(
  template: Template,
  { place, top, inspection }: Opened,
  options: Options,
  signal: AbortSignal,
): Promise<Readonly<Record<string, unknown>>> {
  const { fields } = template
  const { location, transport } = place
  const tags = fields.has('RepoTags') ? await Array.fromAsync(transport.tags?.({ signal }) ?? []) : []
  const wanted = fields.has('Provenance') || fields.has('SBOM')
  const statements = wanted ? await readStatements(top, transport, { signal }) : {}
  const [platform] = askedPlatforms(options) ?? []
  const chosen = platform === undefined ? (ofThisMachine(top) ?? imagesOf(top)[0]) : imageFor(top, platform, '')
  const reference = 'reference' in location ? location.reference : undefined
  return templateFields(top, inspection, chosen, reference, { tags, ...statements })
}

async function showDifference(
  before: Opened,
  after: Opened,
  options: Options,
  tools: PlaceTools,
  signal: AbortSignal,
): Promise<number> {
  const difference = differenceOf(before.inspection, after.inspection)
  const files: Record<string, readonly FileChange[]> = {}
  if (options['files'] === true)
    for (const { platform, before: old, after: now } of difference.changed) {
      const [a, b] = [root(before, old, tools, signal), root(after, now, tools, signal)]
      files[platform] = changedFiles(await a, await b)
    }
  const shown = options['files'] === true ? { ...difference, files } : difference
  if (options['json'] === true) print(stringify(shown, 2))
  else for (const line of differenceLines(difference, files)) print(line)
  return difference.same ? 0 : 1
}

function root({ top, place, inspection }: Opened, digest: string, tools: PlaceTools, signal: AbortSignal) {
  const node = imagesOf(top).find(image => image.descriptor.digest === digest)!
  return rootOfImage(node, inspection.name, { transport: place.transport, store: tools.store(), signal })
}
