import { resolve } from 'node:path'
import { parseCsvLine } from '../dockerfile/csv.ts'
import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { parseReference, type Reference } from '../oci/reference.ts'

/** Where a cache lies: a repository, with a tag that its tags begin with; or a folder that is an OCI layout. */
export type CachePlace =
  | { readonly kind: 'registry'; readonly reference: Reference }
  | { readonly kind: 'local'; readonly folder: string }

/** One `--cache-to`. */
export interface CacheTarget {
  readonly place: CachePlace
  /** `max`: steps of all stages, not only those of the image itself. */
  readonly mode: 'min' | 'max'
  /** What goes wrong with it is told and nothing else. */
  readonly ignoreError: boolean
}

type Flag = '--cache-to' | '--cache-from'

const TYPES = ['registry', 'local']
const FOREIGN: Readonly<Record<string, string>> = {
  inline: 'an image holds no cache',
  gha: "GitHub's cache service is not spoken to; cache the folder of type=local with its own action",
  s3: 'buckets are not spoken to',
  azblob: 'buckets are not spoken to',
}
/** Options by type and flag, and those of BuildKit that are not taken, each with the reason. */
const OPTIONS: Readonly<Record<string, readonly string[]>> = {
  '--cache-to registry': ['type', 'ref', 'mode', 'ignore-error'],
  '--cache-to local': ['type', 'dest', 'mode', 'ignore-error'],
  '--cache-from registry': ['type', 'ref'],
  '--cache-from local': ['type', 'src'],
}
const REFUSED: Readonly<Record<string, string>> = {
  compression: 'layers are those of the image: -o type=image,compression=…',
  'compression-level': 'layers are those of the image: -o type=image,compression-level=…',
  'force-compression': 'layers are those of the image',
  'image-manifest': 'a cache is always an image manifest',
  'oci-mediatypes': 'a cache always has OCI media types',
  'registry.insecure': 'use --insecure=HOST',
  tag: 'the names in the folder are those of service and platform',
  digest: 'the names in the folder are those of service and platform',
  reset: 'remove the folder before the build',
}

/** Reads a value of `--cache-to`; folders are relative to `directory`. Throws USAGE, UNSUPPORTED, REFERENCE_INVALID. */
export function parseCacheTo(text: string, directory: string): CacheTarget {
  const options = optionsOf('--cache-to', text)
  const mode = options.get('mode') ?? 'min'
  if (mode !== 'min' && mode !== 'max')
    throw usage('--cache-to', text, `mode=${mode}: the modes are min and max`, didYouMean(mode, ['min', 'max']))
  const ignore = options.get('ignore-error') ?? 'false'
  if (ignore !== 'true' && ignore !== 'false')
    throw usage('--cache-to', text, `ignore-error=${ignore}: it is true or false`)
  return { place: placeOf('--cache-to', text, options, 'dest', directory), mode, ignoreError: ignore === 'true' }
}

/** Reads a value of `--cache-from`, as `parseCacheTo`. */
export function parseCacheFrom(text: string, directory: string): CachePlace {
  return placeOf('--cache-from', text, optionsOf('--cache-from', text), 'src', directory)
}

function optionsOf(flag: Flag, text: string): ReadonlyMap<string, string> {
  const fields = parseCsvLine(text)
  if (fields === undefined) throw usage(flag, text, 'it is empty, or its quotes do not match', example(flag))
  // as in buildx: a name alone is a registry's
  if (fields.length === 1 && !fields[0]!.includes('='))
    return new Map([
      ['type', 'registry'],
      ['ref', fields[0]!],
    ])
  const options = new Map<string, string>()
  for (const field of fields) {
    const equals = field.indexOf('=')
    if (equals < 0) throw usage(flag, text, `"${field}" has no value`, example(flag))
    const key = field.slice(0, equals).trim().toLowerCase()
    if (options.has(key)) throw usage(flag, text, `"${key}" is given twice`)
    options.set(key, field.slice(equals + 1))
  }
  const type = options.get('type')
  if (type === undefined) throw usage(flag, text, 'the type is missing', example(flag))
  if (Object.hasOwn(FOREIGN, type))
    throw new ArchimageError('UNSUPPORTED', `${flag} type=${type} is not supported: ${FOREIGN[type]}`, {
      hint: 'the types are registry and local',
    })
  if (!TYPES.includes(type))
    throw usage(flag, text, `there is no type "${type}"`, didYouMean(type, TYPES) ?? 'the types are registry and local')
  const known = OPTIONS[`${flag} ${type}`]!
  for (const key of options.keys()) {
    if (known.includes(key)) continue
    if (Object.hasOwn(REFUSED, key))
      throw new ArchimageError('UNSUPPORTED', `${flag} ${text}: ${key} is not supported: ${REFUSED[key]}`, {
        hint: `leave ${key} out`,
      })
    throw usage(flag, text, `there is no option "${key}"`, didYouMean(key, known) ?? `there are ${known.join(', ')}`)
  }
  return options
}

function placeOf(
  flag: Flag,
  text: string,
  options: ReadonlyMap<string, string>,
  key: 'dest' | 'src',
  directory: string,
): CachePlace {
  if (options.get('type') === 'local') {
    const folder = options.get(key)
    if (!folder) throw usage(flag, text, `${key} is missing`, `name a folder: type=local,${key}=cache`)
    return { kind: 'local', folder: resolve(directory, folder) }
  }
  const ref = options.get('ref')
  if (!ref) throw usage(flag, text, 'ref is missing', example(flag))
  const reference = parseReference(ref)
  if (reference.digest !== undefined) throw usage(flag, text, 'a cache has tags, no digest')
  return { kind: 'registry', reference }
}

function example(flag: Flag): string {
  return `write it as ${flag} type=registry,ref=registry.example.com/team/cache`
}

function usage(flag: Flag, text: string, why: string, hint?: string): ArchimageError {
  return new ArchimageError('USAGE', `${flag} ${text}: ${why}`, hint === undefined ? {} : { hint })
}
