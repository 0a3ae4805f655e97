import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { ArchimageError, type ErrorOptions, isArchimageError, type Place, systemError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import type { ProjectConfig } from './schema.ts'
import { readYaml } from './yaml.ts'

const MAX_BYTES = 1024 * 1024

export interface ConfigFile {
  readonly file: string
  readonly config: ProjectConfig
  place(path: readonly PropertyKey[], onKey?: boolean): Place
  /** Throws PROJECT_INVALID at the place of `path`. */
  fail(path: readonly PropertyKey[], why: string, hint?: string): never
}

/**
 * A regular file's bytes, at most `limit`; undefined when there is none. Throws PROJECT_INVALID for anything else, with
 * `shown` as its name.
 */
export function readSmallFile(file: string, limit = MAX_BYTES, shown = file): Buffer | undefined {
  let fd: number
  try {
    // Not blocking: a fifo under this name must not hold us.
    fd = openSync(file, 0o4000)
  } catch (error) {
    const code = (error as { code?: string }).code
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw systemError(error, `reading ${file}`)
  }
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile()) throw new ArchimageError('PROJECT_INVALID', `${shown} is not a file`)
    if (stat.size > limit)
      throw new ArchimageError('PROJECT_INVALID', `${shown} has ${stat.size} bytes; at most ${limit} are read`)
    const buffer = Buffer.alloc(stat.size)
    return buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, 0))
  } finally {
    closeSync(fd)
  }
}

const KINDS: Readonly<Record<string, string>> = {
  array: 'a list',
  object: 'a map of keys and values',
  record: 'a map of keys and values',
  string: 'a text',
}

function kindOf(value: unknown): string {
  return Array.isArray(value)
    ? 'a list'
    : typeof value === 'object'
      ? 'a map'
      : value === undefined
        ? 'empty'
        : 'a text'
}

/** Empty values mean "not given"; a service without a body is a service, an argument without a value is empty. */
function withoutEmpty(value: unknown, path: readonly string[] = []): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const out: Record<string, unknown> = Object.create(null)
  for (const [key, inner] of Object.entries(value)) {
    const filled =
      inner !== undefined
        ? withoutEmpty(inner, [...path, key])
        : path.length === 1
          ? {}
          : path.length > 2
            ? ''
            : undefined
    if (filled !== undefined) out[key] = filled
  }
  return out
}

/** Reads and checks archimage.yaml. Throws PROJECT_INVALID with file, line and column, and a suggestion for misspelt keys. */
export async function readConfig(file: string): Promise<ConfigFile> {
  const bytes = readSmallFile(file)
  if (bytes === undefined)
    throw new ArchimageError('PROJECT_INVALID', `there is no file ${file}`, { hint: 'archimage init writes one' })
  const [{ value, place }, { projectSchema, serviceSchema }] = await Promise.all([
    readYaml(bytes, file),
    import('./schema.ts'),
  ])
  const fail = (path: readonly PropertyKey[], why: string, hint?: string, onKey = false): never => {
    const options: ErrorOptions = { place: place(path, onKey), ...(hint === undefined ? {} : { hint }) }
    throw new ArchimageError('PROJECT_INVALID', why, options)
  }
  const config = withoutEmpty(value ?? {})
  const checked = projectSchema.safeParse(config)
  if (checked.success) return { file, config: checked.data, place, fail }

  // Misspelt keys first: what else is wrong often follows from them.
  const issues = [...checked.error.issues].sort(
    (a, b) => Number(b.code === 'unrecognized_keys') - Number(a.code === 'unrecognized_keys'),
  )
  const issue = issues[0]!
  const { path } = issue
  const name = path.length === 0 ? 'the file' : `"${path.map(String).join('.')}"`
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0]!
    const known = Object.keys((path.length === 0 ? projectSchema : serviceSchema).shape)
    const meant = didYouMean(key, known)
    return fail([...path, key], `unknown key "${key}"`, meant ?? `known keys: ${known.join(', ')}`, true)
  }
  const given = path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], config)
  if (issue.code === 'invalid_type') {
    const want = KINDS[issue.expected] ?? issue.expected
    const example = issue.expected === 'array' && typeof given === 'string' ? `write it as [${given}]` : undefined
    return fail(path, `${name} must be ${want}; it is ${kindOf(given)}`, example)
  }
  if (issue.code === 'invalid_union')
    return fail(path, `${name} must be a text or a list of texts; it is ${kindOf(given)}`)
  if (issue.code === 'invalid_value') {
    const values = issue.values.map(String)
    const meant = didYouMean(String(given), values)
    return fail(path, `${name} is "${String(given)}"; it must be one of ${values.join(', ')}`, meant)
  }
  return fail(path, `${name} ${issue.code === 'too_small' ? 'is empty' : issue.message}`)
}

/** Says an error of a value in the project file with the value's place. */
export function placed<T>(config: ConfigFile | undefined, path: readonly PropertyKey[], work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (config === undefined || !isArchimageError(error)) throw error
    throw new ArchimageError('PROJECT_INVALID', error.message, {
      place: config.place(path),
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    })
  }
}
