import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import type { Compression } from '../oci/media-types.ts'
import { parseReference } from '../oci/reference.ts'
import { ACCEPTED, HONOURED, KEYS, type OutputType, REFUSED, TYPES } from './options.ts'

/** One `-o`. */
export interface Output {
  readonly type: OutputType
  /** File or folder; "-" is standard output. Undefined for type=docker: load into the daemon. */
  readonly dest?: string
  readonly names?: readonly string[]
  readonly push: boolean
  readonly pushByDigest: boolean
  /** False: a folder instead of an archive (oci, docker). */
  readonly tar: boolean
  readonly compression?: Compression
  readonly compressionLevel?: number
  /** A folder per platform; undefined: when there are several. */
  readonly platformSplit?: boolean
  readonly mode: 'copy' | 'delete'
  readonly annotations: {
    readonly manifest: Readonly<Record<string, string>>
    readonly index: Readonly<Record<string, string>>
  }
}

const COMPRESSIONS: Readonly<Record<string, Compression>> = { uncompressed: 'none', gzip: 'gzip', zstd: 'zstd' }
const MAX_LEVEL = { none: 0, gzip: 12, zstd: 22 } as const
/** As BuildKit reads them (exporter/containerimage/exptypes/annotations.go). */
const ANNOTATION = /^annotation(?:-([a-z-]+))?(?:\[([^\]]*)\])?\.(\S+)$/

/**
 * Reads a value of `-o` with buildx's grammar: comma-separated options, a bare path for type=local, "-" for a tar to standard
 * output. Throws USAGE for what is wrong, UNSUPPORTED for an option of BuildKit that is not supported, with the reason.
 */
export function parseOutput(text: string): Output {
  const fields = csvFields(text)
  if (fields === undefined) throw usage(text, text === '' ? 'it is empty' : 'its quotes do not match', GRAMMAR)
  const bare = fields.length === 1 && fields[0] === text && !text.startsWith('type=')
  if (bare && text === '-') return finish(text, new Map([['type', 'tar']]))
  if (bare && !isOption(text))
    return finish(
      text,
      new Map([
        ['type', 'local'],
        ['dest', text],
      ]),
    )
  const options = new Map<string, string>()
  for (const field of fields) {
    const equals = field.indexOf('=')
    if (equals < 0) throw usage(text, `"${field}" has no value`, GRAMMAR)
    const key = field.slice(0, equals).trim().toLowerCase()
    if (options.has(key)) throw usage(text, `"${key}" is given twice`)
    options.set(key, field.slice(equals + 1))
  }
  return finish(text, options)
}

const GRAMMAR = 'write it as type=oci,dest=image.tar; a path alone is a folder for the files of the image'

function finish(text: string, options: ReadonlyMap<string, string>): Output {
  const type = TYPES.find(known => known === options.get('type'))
  if (type === undefined) {
    const given = options.get('type')
    if (given === undefined) throw usage(text, 'the type is missing', `the types are ${TYPES.join(', ')}`)
    throw usage(text, `there is no type "${given}"`, didYouMean(given, TYPES) ?? `the types are ${TYPES.join(', ')}`)
  }
  const annotations: { manifest: Record<string, string>; index: Record<string, string> } = { manifest: {}, index: {} }
  for (const [key, value] of options)
    if (key.startsWith('annotation')) annotate(annotations, text, key, value, type)
    else checkOption(text, key, value, type)
  const value = (key: string): string | undefined => options.get(key)
  const flag = (key: string, otherwise: boolean): boolean => flagOf(text, key, value(key)) ?? otherwise
  const compression = compressionOf(text, value('compression'))
  const level = levelOf(text, value('compression-level'), compression ?? 'gzip')
  const names = namesOf(text, value('name'))
  const split = flagOf(text, 'platform-split', value('platform-split'))
  const tar = flag('tar', true)
  const dest = destOf(text, type, tar, value('dest'))
  const mode = value('mode') ?? 'copy'
  if (mode !== 'copy' && mode !== 'delete') throw usage(text, `mode=${mode}: the modes are copy and delete`)
  return {
    type,
    push: flag('push', type === 'registry'),
    pushByDigest: flag('push-by-digest', false),
    tar,
    mode,
    annotations,
    ...(dest === undefined ? {} : { dest }),
    ...(names === undefined ? {} : { names }),
    ...(compression === undefined ? {} : { compression }),
    ...(level === undefined ? {} : { compressionLevel: level }),
    ...(split === undefined ? {} : { platformSplit: split }),
  }
}

/** `dest=x` alone is somebody who forgot the type, not a folder of that name. */
function isOption(text: string): boolean {
  const key = text.slice(0, Math.max(0, text.indexOf('='))).toLowerCase()
  return KEYS.includes(key)
}

function checkOption(text: string, key: string, value: string, type: OutputType): void {
  if (key === 'type') return
  const own = <T>(table: Readonly<Record<string, T>>): T | undefined =>
    Object.hasOwn(table, key) ? table[key] : undefined
  const refused = own(REFUSED)
  const types = own(HONOURED)?.types ?? own(ACCEPTED) ?? refused?.types
  if (types === undefined)
    throw usage(
      text,
      `there is no option "${key}"`,
      didYouMean(key, KEYS) ?? `type=${type} has ${optionsOf(type).join(', ')}`,
    )
  if (!types.includes(type))
    throw usage(text, `"${key}" means nothing for type=${type}`, `it is an option of ${types.join(', ')}`)
  if (refused === undefined) return
  const said = flagOrText(value)
  if (!refused.harmless?.includes(said))
    throw new ArchimageError('UNSUPPORTED', `-o ${text}: ${key}=${value} is not supported: ${refused.reason}`, {
      hint: `leave ${key} out`,
    })
}

function optionsOf(type: OutputType): string[] {
  return Object.entries(HONOURED).flatMap(([key, { types }]) => (types.includes(type) ? [key] : []))
}

function annotate(
  annotations: { manifest: Record<string, string>; index: Record<string, string> },
  text: string,
  key: string,
  value: string,
  type: OutputType,
): void {
  const match = ANNOTATION.exec(key)
  if (match === null)
    throw usage(text, `"${key}" is not an annotation`, 'write annotation.KEY=VALUE or annotation-index.KEY=VALUE')
  const [, level = 'manifest', platform, name] = match
  if (type === 'tar' || type === 'local' || type === 'cacheonly')
    throw usage(text, `"${key}" means nothing for type=${type}`, 'annotations are for images')
  if (platform !== undefined)
    throw new ArchimageError('UNSUPPORTED', `-o ${text}: annotations for one platform are not supported yet`)
  if (level === 'manifest' || level === 'index') annotations[level][name!] = value
  else if (level === 'manifest-descriptor' || level === 'index-descriptor')
    throw new ArchimageError('UNSUPPORTED', `-o ${text}: the annotation level "${level}" is not supported yet`, {
      hint: 'annotation. and annotation-index. are',
    })
  else throw usage(text, `there is no annotation level "${level}"`, 'the levels are manifest and index')
}

function destOf(text: string, type: OutputType, tar: boolean, dest: string | undefined): string | undefined {
  if (type === 'image' || type === 'registry' || type === 'cacheonly') return undefined
  const folder = type === 'local' || !tar
  if (dest === '') throw usage(text, 'dest is empty')
  if (folder && dest === undefined)
    throw usage(text, 'dest is missing', `type=${type}${tar ? '' : ',tar=false'} writes a folder: name it with dest=`)
  if (folder && dest === '-') throw usage(text, 'a folder cannot go to standard output')
  return dest ?? (type === 'docker' ? undefined : '-')
}

function namesOf(text: string, value: string | undefined): string[] | undefined {
  if (value === undefined || value === '') return undefined
  if (value === '*') throw usage(text, 'name=* is not supported', 'give the name here or with -t')
  const names = value.split(',')
  for (const name of names) parseReference(name)
  return names
}

function compressionOf(text: string, value: string | undefined): Compression | undefined {
  if (value === undefined) return undefined
  if (value === 'estargz')
    throw new ArchimageError('UNSUPPORTED', `-o ${text}: compression=estargz is not supported`, {
      hint: 'gzip, zstd and uncompressed are',
    })
  const compression = COMPRESSIONS[value]
  if (compression === undefined)
    throw usage(
      text,
      `there is no compression "${value}"`,
      didYouMean(value, Object.keys(COMPRESSIONS)) ?? 'gzip, zstd or uncompressed',
    )
  return compression
}

function levelOf(text: string, value: string | undefined, compression: Compression): number | undefined {
  if (value === undefined) return undefined
  const level = Number(value)
  if (!/^\d{1,2}$/.test(value) || level > MAX_LEVEL[compression])
    throw usage(
      text,
      `compression-level=${value}`,
      compression === 'none'
        ? 'without compression there is no level'
        : `${compression} has the levels 1 to ${MAX_LEVEL[compression]}`,
    )
  // BuildKit's 0 is "none" for gzip and "default" for zstd; here it is the default of both
  return level === 0 ? undefined : level
}

const FLAGS: Readonly<Record<string, boolean>> = {
  '': true,
  1: true,
  t: true,
  true: true,
  0: false,
  f: false,
  false: false,
}

/** As Go's ParseBool, in any case of letters; an empty value is true, as in BuildKit's `tar=`. */
function flagOf(text: string, key: string, value: string | undefined): boolean | undefined {
  if (value === undefined) return undefined
  const flag = FLAGS[value.toLowerCase()]
  if (flag === undefined) throw usage(text, `${key}=${value}: it is true or false`)
  return flag
}

function flagOrText(value: string): string {
  const flag = FLAGS[value.toLowerCase()]
  return flag === undefined ? value : String(flag)
}

function usage(text: string, why: string, hint?: string): ArchimageError {
  return new ArchimageError('USAGE', `-o ${text}: ${why}`, hint === undefined ? {} : { hint })
}

/** The fields of a line of comma-separated values (RFC 4180); undefined for an empty line and for misplaced quotes. */
function csvFields(line: string): string[] | undefined {
  const fields: string[] = []
  const field = /"((?:[^"]|"")*)"(?=,|$)|([^",]*)(?=,|$)/y
  if (line === '') return undefined
  for (let at = 0; ; at = field.lastIndex + 1) {
    field.lastIndex = at
    const match = field.exec(line)
    if (match === null) return undefined
    fields.push(match[1]?.replaceAll('""', '"') ?? match[2]!)
    if (field.lastIndex >= line.length) return fields
  }
}
