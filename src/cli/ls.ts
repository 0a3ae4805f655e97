import { globPattern, isChosen, type TagChoice } from '../copy/places.ts'
import { ArchimageError } from '../errors/error.ts'
import { sanitize } from '../errors/render-text.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { isIndexType } from '../oci/media-types.ts'
import { formatPlatform } from '../oci/platform.ts'
import { stringify } from '../report/json.ts'
import { formatLocation, type Location } from '../transports/location.ts'
import { openTransport } from '../transports/open.ts'
import type { Transport } from '../transports/transport.ts'
import { command, type Invocation, insecureOption, list, parse, print, say, workingDirectory } from './command.ts'
import { type PlaceTools, placeTools, whereOption, whereRepository } from './places.ts'
import { addCredentialFlags, addTlsFlags } from './registry-flags.ts'
import { type Options, strings } from './request.ts'
import { bytes, table } from './table.ts'

const ABOUT = `Lists the images in the store of this machine; of a repository (registry.example.com/team/app), a layout (oci:FOLDER) or an
archive the tags, with patterns those that fit: registry.example.com/team/app:v1.*`

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, '[options] [REPOSITORY…]', ABOUT)
    .option('--json', 'print as JSON')
    .option('-q, --quiet', 'print names only')
    .option('--digests', 'whole digests; of a repository the digest of each tag')
    .option('--local', 'look in the store of this machine only')
    .option('--remote', 'look in the registry only')
    .addOption(list('--include <regexp>', 'of a repository only tags in which this is found'))
    .addOption(list('--exclude <regexp>', 'of a repository only tags in which this is not found'))
    .option('--full-ref', 'whole references instead of tags')
    .option('-O, --omit-digest-tags', 'without tags of signatures and the like: sha256-…')
    .addOption(insecureOption())
  addCredentialFlags(addTlsFlags(program))
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  process.chdir(workingDirectory(invocation, options))
  const where = whereOption(options)
  const tools = await placeTools(options, say, stores =>
    args.map(text => whereRepository(withoutPattern(text).body, where, stores)),
  )
  try {
    if (args.length === 0) listStore(tools, options)
    else for (const text of args) await listTags(text, options, tools, invocation.signal)
    return 0
  } finally {
    tools.close()
  }
}

function listStore(tools: PlaceTools, options: Options): void {
  const images = tools.store().list()
  if (options['json'] === true) print(JSON.stringify(images, null, 2))
  else if (options['quiet'] === true) for (const image of images) print(image.familiar)
  else if (images.length === 0) say('the store is empty; archimage build fills it')
  else
    for (const line of table([
      ['NAME', 'DIGEST', 'PLATFORMS', 'SIZE', 'ORIGIN', 'SINCE'],
      ...images.map(image => [
        image.familiar,
        options['digests'] === true ? image.descriptor.digest : image.descriptor.digest.slice(7, 19),
        image.platforms.map(formatPlatform).join(', ') +
          (image.complete || image.origin === 'list' ? '' : ' (not all here)'),
        bytes(image.size),
        image.origin,
        image.stored?.slice(0, 16).replace('T', ' ') ?? '',
      ]),
    ]))
      print(line)
}

async function listTags(text: string, options: Options, tools: PlaceTools, signal: AbortSignal): Promise<void> {
  const { body, glob } = withoutPattern(text)
  const location = whereRepository(body, whereOption(options), tools)
  const transport = await openTransport(location, tools, 'read')
  try {
    if (transport.tags === undefined)
      throw new ArchimageError('UNSUPPORTED', `${formatLocation(location)}: this kind of place does not list its tags`)
    const all = await Array.fromAsync(transport.tags({ signal }))
    const tags = all.filter(chosenBy(glob, options))
    const name = labelOf(location)
    const called = (tag: string): string => (options['fullRef'] === true ? `${name}:${tag}` : tag)
    if (options['digests'] !== true) {
      if (options['json'] === true) print(stringify({ repository: name, tags }, 2))
      else for (const tag of tags) print(sanitize(called(tag)))
      return
    }
    const found = await heads(transport, tags, signal)
    if (options['json'] === true) print(stringify({ repository: name, tags: found }, 2))
    else
      for (const line of table([
        ['TAG', 'DIGEST', 'KIND'],
        ...found.map(({ tag, digest, mediaType }) => [
          sanitize(called(tag)),
          digest ?? 'gone meanwhile',
          mediaType === undefined ? '' : isIndexType(mediaType) ? 'index' : 'image',
        ]),
      ]))
        print(line)
  } finally {
    await transport.close?.()
  }
}

/** `REPOSITORY:PATTERN`, and patterns are told from tags by what tags cannot hold. */
function withoutPattern(text: string): { readonly body: string; readonly glob: string | undefined } {
  const [, body = text, glob] = /^(.*):([^:/@]*[*?[][^:/@]*)$/s.exec(text) ?? []
  return { body, glob }
}

type Head = { readonly tag: string } & Partial<Pick<Descriptor, 'digest' | 'mediaType' | 'size'>>

const AT_ONCE = 8

/** What each tag leads to, a few at a time. */
async function heads(transport: Transport, tags: readonly string[], signal: AbortSignal): Promise<Head[]> {
  const out: Head[] = []
  let next = 0
  const work = async (): Promise<void> => {
    for (let i = next++; i < tags.length; i = next++) {
      const { digest, mediaType, size } = (await transport.head(tags[i]!, { signal })) ?? {}
      out[i] = { tag: tags[i]!, ...(digest && { digest }), ...(mediaType && { mediaType }), ...(size && { size }) }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return out
}

function chosenBy(glob: string | undefined, options: Options): (tag: string) => boolean {
  const patterns = (name: string): RegExp[] | undefined => {
    const values = strings(options[name])
    return values.length === 0 ? undefined : values.map(value => regexp(value, name))
  }
  const [include, exclude] = [patterns('include'), patterns('exclude')]
  const choice: TagChoice = { ...(include && { include }), ...(exclude && { exclude }) }
  const pattern = glob === undefined ? undefined : globPattern(glob)
  const digestTags = options['omitDigestTags'] === true ? /^sha(?:256-[0-9a-f]{64}|512-[0-9a-f]{64,})/ : undefined
  return tag => isChosen(tag, choice) && (pattern?.test(tag) ?? true) && !digestTags?.test(tag)
}

function regexp(value: string, flag: string): RegExp {
  try {
    return new RegExp(value)
  } catch (error) {
    throw new ArchimageError('USAGE', `--${flag} ${value}: ${(error as Error).message}`)
  }
}

function labelOf(location: Location): string {
  if (!('reference' in location)) return `${location.kind}:${location.path}`
  const { registry, repository } = location.reference
  return location.kind === 'registry' ? `${registry}/${repository}` : `${location.kind}:${registry}/${repository}`
}
