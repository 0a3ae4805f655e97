import { copiesTo, type SourceImage, sourceImages, type TagChoice } from '../../copy/places.ts'
import { ArchimageError, isArchimageError } from '../../errors/error.ts'
import { isDigest } from '../../oci/digest.ts'
import { parseReference } from '../../oci/reference.ts'
import { parseLocation } from '../../transports/location.ts'
import { command, type Invocation, list, parse } from '../command.ts'
import { addCopyFlags, copyOptions, refuseCopyFlags } from './flags.ts'
import { runCopies } from './run.ts'
import { look } from './sides.ts'

const ABOUT = `Copies images between registries, the store, OCI layouts, archives, docker and podman: all platforms unless --platform says
which, all bytes as they are unless an option says otherwise.`

type Options = Readonly<Record<string, unknown>>

export async function run(invocation: Invocation): Promise<number> {
  const program = command(invocation, '[options] SOURCE… DESTINATION', ABOUT)
    .option('-a, --all-tags', 'all tags of each source')
    .addOption(list('--include <regexp>', 'the tags of each source in which this finds something'))
    .addOption(list('--exclude <regexp>', '… without those in which this does'))
    .option('-n, --no-clobber', 'let no tag move: one image is an error, of many those that differ stay')
    .addOption(list('--additional-tag <tag>', 'a further tag at the destination'))
    .option('--keep-going', 'go on after a failure; that is so anyway')
  addCopyFlags(program, invocation.args)
  const parsed = parse(program, invocation)
  if (!parsed) return 0
  const { args, options } = parsed
  refuseCopyFlags(program, options)
  const target = args.at(-1)
  const sources = args.slice(0, -1)
  if (target === undefined || sources.length === 0)
    throw new ArchimageError('USAGE', 'archimage copy needs a source and a destination', {
      hint: 'archimage copy registry.example.com/app:1.0 mirror.example.com/app',
    })
  const choice = tagChoice(options)
  const settings = copyOptions(options)
  const hosts = { src: sources.flatMap(hostOf), dest: hostOf(target) }
  const { signal } = invocation
  return runCopies(invocation, options, hosts, async (sides, fail) => {
    const images: SourceImage[] = []
    for (const text of sources)
      try {
        images.push(...(await sourceImages(text, choice, sides.source, look, signal)))
      } catch (error) {
        if (sources.length === 1 || !isArchimageError(error) || error.exit === 2) throw error
        fail(text, error)
      }
    const many =
      images.length > 1 || choice.all === true || choice.include !== undefined || choice.exclude !== undefined
    const existing = options['clobber'] === false ? (many ? 'keep' : 'refuse') : undefined
    const more = ((options['additionalTag'] as string[] | undefined) ?? []).map(tagOf)
    return copiesTo(target, images, { ...settings, ...(existing && { existing }) }, more, sides.target, look)
  })
}

function tagChoice(options: Options): TagChoice {
  const patterns = (name: string): { readonly [key: string]: readonly RegExp[] } => {
    const given = options[name] as string[] | undefined
    return given === undefined ? {} : { [name]: given.map(text => pattern(`--${name}`, text)) }
  }
  return { ...(options['allTags'] === true ? { all: true } : {}), ...patterns('include'), ...patterns('exclude') }
}

export function pattern(flag: string, text: string): RegExp {
  try {
    return new RegExp(text)
  } catch (error) {
    throw new ArchimageError('USAGE', `${flag} ${text}: ${(error as Error).message}`)
  }
}

/** skopeo takes whole names. */
function tagOf(text: string): string {
  return /[/:]/.test(text) && !isDigest(text) ? (parseReference(text).tag ?? 'latest') : text
}

/** The registry that a word of the command line names. */
function hostOf(text: string): string[] {
  if (/^(?:store|docker-daemon|podman|containers-storage):$/.test(text)) return []
  const plain = text.replace(/:[^:/@]*[*?[][^:/@]*$/, '').replace(/\/$/, '')
  try {
    const location = parseLocation(/[/]/.test(plain) ? plain : text.replace(/\/$/, '/x'), look)
    return location.kind === 'registry' ? [location.reference.registry] : []
  } catch {
    return []
  }
}
