import { didYouMean } from '../errors/suggest.ts'
import type { Flag } from './ast.ts'
import { type Fail, quoted } from './fault.ts'

type Kind = 'bool' | 'string' | 'strings'

const COPY_FLAGS = { chown: 'string', chmod: 'string', link: 'bool', exclude: 'strings' } as const

/** The flags that each instruction takes; those not listed take none. */
export const FLAGS: Readonly<Record<string, Readonly<Record<string, Kind>>>> = {
  add: { ...COPY_FLAGS, checksum: 'string', 'keep-git-dir': 'bool', unpack: 'bool' },
  copy: { ...COPY_FLAGS, from: 'string', parents: 'bool' },
  from: { platform: 'string' },
  healthcheck: {
    interval: 'string',
    timeout: 'string',
    'start-period': 'string',
    'start-interval': 'string',
    retries: 'string',
  },
  run: { mount: 'strings', network: 'string', security: 'string', device: 'strings' },
}

export interface FlagValues {
  readonly bools: Readonly<Record<string, boolean>>
  readonly strings: Readonly<Record<string, string>>
  readonly lists: Readonly<Record<string, readonly string[]>>
}

const EMPTY: FlagValues = { bools: {}, strings: {}, lists: {} }

/** Checks flags against what instruction `name` (lower case) takes, and sorts their values. `failAt` is for the flag's place. */
export function readFlagValues(name: string, flags: readonly Flag[], failAt: (flag: Flag) => Fail): FlagValues {
  if (flags.length === 0) return EMPTY
  const known: Readonly<Record<string, Kind>> = FLAGS[name] ?? {}
  const bools: Record<string, boolean> = {}
  const strings: Record<string, string> = {}
  const lists: Record<string, string[]> = {}
  const seen = new Set<string>()
  for (const flag of flags) {
    const kind = Object.hasOwn(known, flag.name) ? known[flag.name] : undefined
    if (kind === undefined)
      throw failAt(flag)(`${name.toUpperCase()} has no flag ${quoted(`--${flag.name}`)}`, meant(name, flag))
    if (seen.has(flag.name) && kind !== 'strings')
      throw failAt(flag)(`the flag --${flag.name} stands here twice`, 'remove one of them')
    seen.add(flag.name)
    if (kind === 'bool') {
      const value = flag.value?.toLowerCase() ?? 'true'
      if (value === '')
        throw failAt(flag)(`the flag --${flag.name}= has no value`, `write --${flag.name} or --${flag.name}=true`)
      if (value !== 'true' && value !== 'false')
        throw failAt(flag)(`the flag --${flag.name} takes true or false, not ${quoted(flag.value!)}`)
      bools[flag.name] = value === 'true'
    } else if (flag.value === undefined)
      throw failAt(flag)(`the flag --${flag.name} has no value`, `write --${flag.name}=…`)
    else if (kind === 'string') strings[flag.name] = flag.value
    else {
      lists[flag.name] ??= []
      lists[flag.name]!.push(flag.value)
    }
  }
  return { bools, strings, lists }
}

function meant(name: string, flag: Flag): string {
  const own = Object.keys(FLAGS[name] ?? {}).map(known => `--${known}`)
  const near = didYouMean(`--${flag.name}`, own)
  if (near !== undefined) return near
  const others = Object.keys(FLAGS).filter(other => Object.hasOwn(FLAGS[other]!, flag.name))
  if (others.length > 0) return `${others.map(other => other.toUpperCase()).join(' and ')} has it`
  return own.length > 0 ? `known are ${own.join(', ')}` : `${name.toUpperCase()} takes no flags`
}
