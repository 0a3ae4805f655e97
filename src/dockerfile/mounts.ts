import { didYouMean } from '../errors/suggest.ts'
import { parseCsvLine } from './csv.ts'
import { type Fail, quoted } from './fault.ts'
import { parseSize } from './size.ts'

export type MountType = 'bind' | 'cache' | 'tmpfs' | 'secret' | 'ssh'
export type MountSharing = 'shared' | 'private' | 'locked'

/** One `RUN --mount`, with its variables expanded; what the user did not give is absent. */
export interface Mount {
  readonly type: MountType
  /** Stage or image; absent is the build context for bind, nothing for cache. */
  readonly from?: string
  readonly source?: string
  readonly target?: string
  /** With its default: true but for cache and tmpfs. */
  readonly readOnly: boolean
  /** tmpfs: bytes. */
  readonly size?: number
  /** cache, secret, ssh. */
  readonly id?: string
  readonly sharing?: MountSharing
  readonly required: boolean
  /** secret: name of the environment variable. */
  readonly env?: string
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
}

const TYPES: readonly string[] = ['bind', 'cache', 'tmpfs', 'secret', 'ssh'] satisfies MountType[]
const SHARING: readonly string[] = ['shared', 'private', 'locked'] satisfies MountSharing[]
const KEYS =
  'type from source src target dst destination readonly ro readwrite rw id sharing required size mode uid gid env'.split(
    ' ',
  )

type Draft = { -readonly [K in keyof Mount]: Mount[K] }

/**
 * The stage or image that the raw value of a `--mount` names, if any. Reads only what needs no variables: throws for
 * broken quotes and for a variable in `from`, which BuildKit refuses while parsing.
 */
export function mountFrom(raw: string, fail: Fail): string | undefined {
  if (raw !== '' && !/["\n]|from/i.test(raw)) return undefined
  let from: string | undefined
  for (const [key, value] of fieldsOf(raw, fail)) {
    if (key !== 'from' || value === undefined) continue
    const dollar = value.indexOf('$')
    if (dollar >= 0 && dollar !== value.length - 1)
      throw fail(
        `--mount: "from" does not take variables (${quoted(value)})`,
        'name a stage for it: FROM image:$TAG AS name before this stage, and from=name here',
      )
    from = value
  }
  return from || undefined
}

/** Reads the raw value of a `--mount`; `expand` makes the value of each option, in order. Rules are BuildKit's. */
export function parseMount(raw: string, expand: (word: string) => string, fail: Fail): Mount {
  const mount: Draft = { type: 'bind', readOnly: true, required: false }
  let readOnlyGiven = false
  for (const [key, written] of fieldsOf(raw, fail)) {
    if (written === undefined && !['readonly', 'ro', 'readwrite', 'rw', 'required'].includes(key))
      throw fail(`--mount: ${quoted(key)} needs a value (${key}=…)`, didYouMean(key, KEYS))
    const value = written === undefined ? 'true' : expand(written)
    const wrong = (): Error => fail(`--mount: invalid value ${quoted(value)} for ${key}`)
    switch (key) {
      case 'type':
        mount.type = oneOf(value.toLowerCase(), TYPES, 'mount type', fail) as MountType
        break
      case 'from':
        set(mount, 'from', value)
        break
      case 'source':
      case 'src':
        set(mount, 'source', value)
        break
      case 'target':
      case 'dst':
      case 'destination':
        set(mount, 'target', value)
        break
      case 'readonly':
      case 'ro':
      case 'readwrite':
      case 'rw': {
        const yes = parseBool(value)
        if (yes === undefined) throw wrong()
        mount.readOnly = key.startsWith('readw') || key === 'rw' ? !yes : yes
        readOnlyGiven = true
        break
      }
      case 'required': {
        if (mount.type !== 'secret' && mount.type !== 'ssh') throw misplaced(key, mount.type, fail)
        const yes = parseBool(value)
        if (yes === undefined) throw wrong()
        mount.required = yes
        break
      }
      case 'size': {
        if (mount.type !== 'tmpfs') throw misplaced(key, mount.type, fail)
        const size = parseSize(value)
        if (size === undefined) throw wrong()
        mount.size = size
        break
      }
      case 'id':
        set(mount, 'id', value)
        break
      case 'sharing':
        mount.sharing = oneOf(value.toLowerCase(), SHARING, 'sharing value', fail) as MountSharing
        break
      case 'mode':
      case 'uid':
      case 'gid': {
        const number = parseUnsigned(value, key === 'mode' ? 8 : 10)
        if (number === undefined) throw wrong()
        mount[key] = number
        break
      }
      case 'env':
        mount.env = value
        break
      default:
        throw fail(`--mount: unknown option ${quoted(key)}`, didYouMean(key, KEYS) ?? `known are ${KEYS.join(', ')}`)
    }
  }
  check(mount, fail)
  return { ...mount, readOnly: readOnlyGiven ? mount.readOnly : mount.type !== 'cache' && mount.type !== 'tmpfs' }
}

function check(mount: Mount, fail: Fail): void {
  if (mount.type === 'bind' || mount.type === 'tmpfs')
    for (const key of ['mode', 'uid', 'gid'] as const)
      if (mount[key] !== undefined) throw fail(`--mount: ${key} is not for type=${mount.type}`)
  if (mount.type === 'secret') {
    if (mount.from !== undefined) throw fail('--mount: a secret has no from')
    if (mount.source === undefined && mount.target === undefined && mount.id === undefined)
      throw fail('--mount: which secret is not said', 'give it an id: --mount=type=secret,id=NAME')
    if (mount.source !== undefined && mount.id !== undefined)
      throw fail('--mount: a secret has either a source or an id', 'they mean the same: drop one')
  }
  if (mount.sharing !== undefined && mount.type !== 'cache')
    throw fail(`--mount: sharing is not for type=${mount.type}`, 'only type=cache is shared between builds')
}

function fieldsOf(raw: string, fail: Fail): readonly (readonly [string, string | undefined])[] {
  const fields = parseCsvLine(raw)
  if (fields === undefined)
    throw fail(
      `--mount: ${raw === '' ? 'the value is empty' : `quotes are out of place in ${quoted(raw)}`}`,
      'write it as --mount=type=cache,target=/path',
    )
  return fields.map(field => {
    const equals = field.indexOf('=')
    return equals < 0
      ? ([field.toLowerCase(), undefined] as const)
      : ([field.slice(0, equals).toLowerCase(), field.slice(equals + 1)] as const)
  })
}

/** An empty value is the same as none. */
function set(mount: Draft, key: 'from' | 'source' | 'target' | 'id', value: string): void {
  if (value === '') delete mount[key]
  else mount[key] = value
}

function misplaced(key: string, type: MountType, fail: Fail): Error {
  return fail(`--mount: ${key} is not for type=${type}`, `if the type is another one, write type=… before ${key}`)
}

function oneOf(value: string, known: readonly string[], what: string, fail: Fail): string {
  if (known.includes(value)) return value
  throw fail(`--mount: unknown ${what} ${quoted(value)}`, didYouMean(value, known) ?? `known are ${known.join(', ')}`)
}

/** Go's strconv.ParseBool. */
export function parseBool(text: string): boolean | undefined {
  if (['1', 't', 'T', 'TRUE', 'true', 'True'].includes(text)) return true
  return ['0', 'f', 'F', 'FALSE', 'false', 'False'].includes(text) ? false : undefined
}

function parseUnsigned(text: string, base: 8 | 10): number | undefined {
  if (!(base === 8 ? /^[0-7]+$/ : /^\d+$/).test(text)) return undefined
  const value = Number.parseInt(text, base)
  return value < 2 ** 32 ? value : undefined
}
