import { type Command, Option } from 'commander'
import { ArchimageError } from '../../errors/error.ts'
import { type Annotation, type Level, parseAnnotation } from '../../manifests/annotations.ts'
import type { EntryChange, Existing } from '../../manifests/edit.ts'
import type { MemberChoice } from '../../manifests/members.ts'
import { buildPlatform, normalizePlatform, parsePlatform, parsePlatforms } from '../../oci/platform.ts'
import { list, switchOrValue } from '../command.ts'
import { refuse } from '../places.ts'
import type { Options } from '../request.ts'

const FEATURES: readonly (readonly [Option, string])[] = [
  [
    new Option('--features <features>'),
    'the field was only ever reserved, and no client reads it; --os-features is another',
  ],
]

/** What an image is said to be: docker's and podman's names. */
export function addLabelFlags(program: Command, about: string): Command {
  program
    .option('--os <os>', `operating system ${about}`)
    .option('--arch <architecture>', `architecture ${about}`)
    .option('--variant <variant>', `variant of the architecture ${about}`)
    .option('--os-version <version>', 'version of the operating system')
    .addOption(list('--os-features <features>', 'features of the operating system, with commas'))
  for (const [option] of FEATURES) program.addOption(option.hideHelp())
  return program
}

/** Which images of a source are added, and how. */
export function addMemberFlags(program: Command): Command {
  return program
    .addOption(
      switchOrValue(
        '--all [bool]',
        'add all images of an index: that is so anyway; =false adds the one for this machine',
      ),
    )
    .addOption(list('--platform <platforms>', 'of an index only these'))
    .option('--set-platform <platform>', 'what the image is added as, whatever it says itself')
    .addOption(
      new Option('--attestations <what>', 'those of BuildKit: keep (the default) or drop').choices(['keep', 'drop']),
    )
    .option('--replace', 'put an image in the place of the one for its platform')
    .option('--allow-duplicates', 'allow two images for one platform')
}

/** Throws UNSUPPORTED, PLATFORM_INVALID. */
export function labelOf(options: Options): EntryChange | undefined {
  refuse(FEATURES, options)
  const text = (name: string): string | undefined => options[name] as string | undefined
  const [os, arch, variant, osVersion] = [text('os'), text('arch'), text('variant'), text('osVersion')]
  const features = (options['osFeatures'] as string[] | undefined)?.flatMap(part => part.split(',')).filter(Boolean)
  // Reading it finds typos; what is written stays as it was said.
  if (os !== undefined || arch !== undefined) parsePlatform(`${os ?? 'linux'}/${arch ?? 'amd64'}`)
  const said = {
    ...(os === undefined ? {} : { os: os.toLowerCase() }),
    ...(arch === undefined
      ? {}
      : { architecture: normalizePlatform({ os: 'linux', architecture: arch }).architecture }),
    ...(variant === undefined ? {} : { variant }),
    ...(osVersion === undefined ? {} : { osVersion }),
    ...(features === undefined ? {} : { osFeatures: features }),
  }
  return Object.keys(said).length === 0 ? undefined : said
}

/** Throws USAGE, PLATFORM_INVALID. */
export function memberChoice(options: Options): MemberChoice {
  const all = options['all']
  const own = typeof all === 'string' && /^(?:0|f|false)$/i.test(all)
  const given = options['platform'] as string[] | undefined
  const set = options['setPlatform'] as string | undefined
  const label = labelOf(options)
  if (set !== undefined && label !== undefined)
    throw new ArchimageError('USAGE', '--set-platform and --os, --arch, --variant exclude each other')
  return {
    ...(given !== undefined ? { platforms: parsePlatforms(given) } : own ? { platforms: [buildPlatform()] } : {}),
    ...(options['attestations'] === undefined ? {} : { attestations: options['attestations'] as 'keep' | 'drop' }),
    ...(label === undefined ? {} : { label }),
    ...(set === undefined ? {} : { set: parsePlatform(set) }),
  }
}

export function existingOf(options: Options): Existing | undefined {
  return options['replace'] === true ? 'replace' : options['allowDuplicates'] === true ? 'keep-both' : undefined
}

export function annotationOption() {
  return list(
    '--annotation <annotation>',
    'KEY=VALUE, before it where it belongs: index:, manifest:, manifest-descriptor:, index-descriptor:, or manifest[linux/amd64]:',
  )
}

export function annotationsOf(options: Options, plain: Level): Annotation[] {
  return ((options['annotation'] as string[] | undefined) ?? []).flatMap(text => parseAnnotation(text, plain))
}
