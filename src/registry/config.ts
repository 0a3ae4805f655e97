import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { ArchimageError, systemError } from '../errors/error.ts'
import type { Reference } from '../oci/reference.ts'
import { isTable, parseToml, type TomlItem, type TomlTable } from './toml.ts'

export type Environment = Readonly<Record<string, string | undefined>>

interface Mirror {
  readonly location: string
  readonly insecure: boolean
  readonly pull: 'all' | 'digest-only' | 'tag-only'
}

interface Rule {
  readonly prefix: string
  readonly location: string
  readonly insecure: boolean
  readonly blocked: boolean
  readonly mirrors: readonly Mirror[]
  /** For messages: file:line. */
  readonly where: string
}

/** Where requests for a repository go: a host as it stands in references (`docker.io`, `10.0.0.1:5000`) and a name there. */
export interface Endpoint {
  readonly registry: string
  readonly repository: string
  readonly insecure: boolean
}

export interface Resolution {
  readonly upstream: Endpoint
  /** To be tried before upstream, for reading a tag or a digest. */
  readonly byTag: readonly Endpoint[]
  readonly byDigest: readonly Endpoint[]
}

/** What registries.conf says. Everything is read at the first question, once. */
export interface RegistryConfig {
  /** Throws CONFIG_INVALID for a broken file, REGISTRY_BLOCKED. */
  resolve(reference: Pick<Reference, 'registry' | 'repository' | 'tag' | 'digest'>): Resolution
  /** True when a rule for the host, for a name on it, or for a mirror there declares it insecure. */
  insecure(registry: string): boolean
}

/**
 * `CONTAINERS_REGISTRIES_CONF` alone, else `~/.config/containers/registries.conf` or `/etc/containers/registries.conf`,
 * each with the drop-ins of both `registries.conf.d` (containers-registries.conf(5)). Without a file nothing is configured.
 */
export function loadRegistryConfig(env: Environment = process.env): RegistryConfig {
  let rules: readonly Rule[] | undefined
  const get = () => (rules ??= readRules(configFiles(env), env['CONTAINERS_REGISTRIES_CONF']))
  return { resolve: reference => resolve(get(), reference), insecure: registry => isInsecure(get(), registry) }
}

/** A configuration from text, for tests and embedding. */
export function parseRegistryConfig(text: string, file = 'registries.conf'): RegistryConfig {
  const rules = parseRules(text, file)
  return { resolve: reference => resolve(rules, reference), insecure: registry => isInsecure(rules, registry) }
}

function configFiles(env: Environment): readonly string[] {
  const only = env['CONTAINERS_REGISTRIES_CONF']
  if (only) return [only]
  const user = join(env['XDG_CONFIG_HOME'] || join(env['HOME'] || homedir(), '.config'), 'containers')
  const [userFile, systemFile] = [join(user, 'registries.conf'), '/etc/containers/registries.conf']
  const dropIns = ['/etc/containers/registries.conf.d', join(user, 'registries.conf.d')].flatMap(folder => {
    try {
      return readdirSync(folder)
        .filter(name => name.endsWith('.conf'))
        .sort()
        .map(name => join(folder, name))
    } catch {
      return []
    }
  })
  return [existsSync(userFile) ? userFile : systemFile, ...dropIns]
}

/** Most machines have a file of short names and one of comments: start-up time is not spent on them. */
const MAY_HAVE_RULES = /^[ \t]*(?:\[+[ \t]*["']?registr(?:y|ies)\b|["']?registr(?:y|ies)["']?[ \t]*(?:\.|=[ \t]*[[{]))/m

function readRules(files: readonly string[], required: string | undefined): readonly Rule[] {
  const byPrefix = new Map<string, Rule>()
  for (const file of files) {
    let text: string
    try {
      text = readFileSync(file, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw systemError(error, `reading ${file}`)
      if (file !== required) continue
      throw new ArchimageError('CONFIG_INVALID', `CONTAINERS_REGISTRIES_CONF names ${file}, which does not exist`, {
        hint: 'unset the variable or write the file',
        cause: error,
      })
    }
    if (!MAY_HAVE_RULES.test(text)) continue
    for (const rule of parseRules(text, file)) byPrefix.set(rule.prefix, rule)
  }
  return [...byPrefix.values()]
}

function parseRules(text: string, file: string): readonly Rule[] {
  const root = parseToml(text, file)
  const fail = (line: number, why: string, hint?: string): never => {
    throw new ArchimageError('CONFIG_INVALID', `${file}:${line}: ${why}`, {
      place: { file, line },
      hint: hint ?? 'containers-registries.conf(5) describes the file',
    })
  }
  const text_ = (table: TomlTable, key: string): string => {
    const item = table.get(key)
    if (item === undefined) return ''
    return typeof item.value === 'string' ? item.value : fail(item.line, `"${key}" is not a string`)
  }
  const flag = (table: TomlTable, key: string): boolean => {
    const item = table.get(key)
    if (item === undefined) return false
    return typeof item.value === 'boolean' ? item.value : fail(item.line, `"${key}" is not true or false`)
  }
  const tables = (item: TomlItem | undefined, name: string): readonly { table: TomlTable; line: number }[] => {
    if (item === undefined) return []
    if (!Array.isArray(item.value)) return fail(item.line, `"${name}" has to be written as [[${name}]]`)
    return (item.value as readonly TomlItem[]).map(entry => ({
      table: isTable(entry.value) ? entry.value : fail(entry.line, `"${name}" has to be written as [[${name}]]`),
      line: entry.line,
    }))
  }
  const place = (value: string, line: number, what: string): string => {
    const cut = value.replace(/\/+$/, '')
    if (cut.includes('://')) return fail(line, `${what} "${value}" has a scheme`, 'write host[:port][/path] only')
    return /^[^\s/][^\s]*$/.test(cut) || cut === '' ? cut : fail(line, `${what} "${value}" is not a registry`)
  }

  if (root.has('registries'))
    return fail(
      root.get('registries')!.line,
      'this is version 1 of the format',
      'write [[registry]] tables (version 2)',
    )
  return tables(root.get('registry'), 'registry').map(({ table, line }): Rule => {
    const location = place(text_(table, 'location'), line, 'location')
    const prefix = place(text_(table, 'prefix'), line, 'prefix') || location
    if (prefix === '') return fail(line, 'a registry has neither prefix nor location')
    if (prefix.startsWith('*.') && location !== '') return fail(line, `prefix "${prefix}" cannot have a location`)
    if (!prefix.startsWith('*.') && prefix.includes('*'))
      return fail(line, `prefix "${prefix}": "*." stands only at the start`)
    const digestOnly = flag(table, 'mirror-by-digest-only')
    const mirrors = tables(table.get('mirror'), 'registry.mirror').map(({ table: mirror, line: at }): Mirror => {
      const pull = text_(mirror, 'pull-from-mirror')
      if (!['', 'all', 'digest-only', 'tag-only'].includes(pull))
        return fail(at, `pull-from-mirror "${pull}" is not all, digest-only or tag-only`)
      if (pull !== '' && digestOnly) return fail(at, 'pull-from-mirror and mirror-by-digest-only exclude each other')
      const to = place(text_(mirror, 'location'), at, 'location')
      if (to === '') return fail(at, 'a mirror has no location')
      return {
        location: to,
        insecure: flag(mirror, 'insecure'),
        pull: digestOnly ? 'digest-only' : ((pull || 'all') as Mirror['pull']),
      }
    })
    return {
      prefix,
      location,
      insecure: flag(table, 'insecure'),
      blocked: flag(table, 'blocked'),
      mirrors,
      where: `${file}:${line}`,
    }
  })
}

function isInsecure(rules: readonly Rule[], registry: string): boolean {
  return rules.some(
    rule =>
      (rule.insecure && matched(hostOf(rule.location || rule.prefix), registry) >= 0) ||
      rule.mirrors.some(mirror => mirror.insecure && hostOf(mirror.location) === registry),
  )
}

function hostOf(place: string): string {
  return place.split('/', 1)[0]!
}

/** Length of the part of `name` that the prefix stands for, or -1. A prefix ends where a component, tag or digest does. */
function matched(prefix: string, name: string): number {
  if (prefix.startsWith('*.')) {
    const [suffix = '', ...path] = prefix.slice(1).split('/')
    const host = hostOf(name)
    if (!host.endsWith(suffix) || host.length === suffix.length) return -1
    const rest = path.length === 0 ? host : `${host}/${path.join('/')}`
    return matched(rest, name)
  }
  if (!name.startsWith(prefix)) return -1
  const next = name[prefix.length]
  const ends = next === undefined || next === '/' || (prefix.includes('/') && (next === ':' || next === '@'))
  return ends ? prefix.length : -1
}

function resolve(
  rules: readonly Rule[],
  reference: Pick<Reference, 'registry' | 'repository' | 'tag' | 'digest'>,
): Resolution {
  const plain = `${reference.registry}/${reference.repository}`
  const name = `${plain}${reference.tag ? `:${reference.tag}` : ''}${reference.digest ? `@${reference.digest}` : ''}`
  let best: Rule | undefined
  // Of prefixes that match, containers/image takes the longest as written, wildcards included.
  for (const rule of rules)
    if (matched(rule.prefix, name) >= 0 && rule.prefix.length > (best?.prefix.length ?? 0)) best = rule
  const own = { registry: reference.registry, repository: reference.repository }
  if (best === undefined) return { upstream: { ...own, insecure: false }, byTag: [], byDigest: [] }
  if (best.blocked)
    throw new ArchimageError('REGISTRY_BLOCKED', `${plain}: registry ${best.prefix} is blocked by ${best.where}`, {
      hint: `take the image from another registry, or remove "blocked = true" from ${best.where}`,
    })
  const length = Math.min(matched(best.prefix, name), plain.length)
  const at = (location: string, insecure: boolean): Endpoint => {
    const whole = location === '' ? plain : location + plain.slice(length)
    const slash = whole.indexOf('/')
    if (slash < 0)
      throw new ArchimageError('CONFIG_INVALID', `${best.where}: "${location}" leaves no repository for ${plain}`, {
        hint: 'prefix and location have to be of the same kind: both hosts, or both names on a host',
      })
    return { registry: whole.slice(0, slash), repository: whole.slice(slash + 1), insecure }
  }
  const mirrors = (kind: 'tag-only' | 'digest-only') =>
    best.mirrors.filter(m => m.pull === 'all' || m.pull === kind).map(m => at(m.location, m.insecure))
  return {
    upstream: at(best.location, best.insecure),
    byTag: mirrors('tag-only'),
    byDigest: mirrors('digest-only'),
  }
}
