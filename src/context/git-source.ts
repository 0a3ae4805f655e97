import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { clean } from './clean.ts'

/** What a git reference names (BuildKit's dfgitutil): a repository, a commit of it, a folder in it. */
export interface GitSource {
  /** What git itself is given: the URL without fragment and query. */
  readonly remote: string
  /** A branch, a tag, a full commit; absent: the default branch. */
  readonly ref?: string
  /** Folder in the repository, clean, without leading slash. */
  readonly subdir?: string
  /** The commit that must come out, or the beginning of it, in hexadecimal. */
  readonly checksum?: string
  readonly keepGitDir?: boolean
  /** False leaves submodules out. */
  readonly submodules?: boolean
  /** Whose time files have when times are kept. */
  readonly mtime?: 'checkout' | 'commit'
  /** `checksum` is taken for the commit, without asking what `ref` is now. */
  readonly fetchByCommit?: boolean
}

const PROTOCOLS = ['http', 'https', 'ssh', 'git']
/** `user@host:path`, as scp and ssh have it. */
const SCP = /^([a-zA-Z0-9\-_]+)@([a-zA-Z0-9\-.]+):([^\n]*?)(?:\?([^\n]*?))?(?:#([^\n]*))?$/
const URL_PARTS = /^([a-zA-Z0-9]+):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/s
const HEX = /^[0-9a-fA-F]+$/

/** Whether the text is a whole commit: 40 or 64 lower-case hexadecimal digits. */
export function isCommit(text: string): boolean {
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text)
}

/**
 * Reads a git reference: `https://….git#ref:folder`, `git://`, `ssh://`, `user@host:path`, each also with a query
 * (`?tag=v1&subdir=x`). An http(s) URL is one only when its path ends in `.git`. With `legacy`, `github.com/…` is one too.
 * Undefined for anything else; throws USAGE for a git reference that cannot be meant.
 */
export function parseGitSource(text: string, options: { readonly legacy?: boolean } = {}): GitSource | undefined {
  if (text.startsWith('./') || text.startsWith('../')) return undefined
  const legacy = text.startsWith('github.com/')
  if (legacy && options.legacy !== true) return undefined
  const whole = legacy ? `https://${text}` : text
  const parts = splitUrl(whole) ?? splitScp(whole)
  if (parts === undefined) return undefined
  if (/^https?$/.test(parts.protocol) && !legacy && !decoded(parts.path).endsWith('.git')) return undefined
  const fail = (why: string, hint?: string): ArchimageError =>
    new ArchimageError('USAGE', `${text}: ${why}`, hint === undefined ? {} : { hint })
  if (/\p{Cc}/u.test(text)) throw fail('a git reference has no control characters')
  if (parts.host.startsWith('-') || parts.user.startsWith('-'))
    throw fail('it begins like an option of a program, not like a host')
  const [ref, ...folder] = parts.fragment.split(':')
  const fromFragment: GitSource = {
    remote: parts.remote,
    ...(ref ? { ref } : {}),
    ...subdirOf(folder.join(':')),
  }
  const source = withQuery(fromFragment, parts.query, fail)
  if (source.ref?.startsWith('-')) throw fail(`"${source.ref}" is no branch, tag or commit`)
  if (source.checksum !== undefined && !HEX.test(source.checksum))
    throw fail(`the checksum "${source.checksum}" is no commit`, 'write the commit in hexadecimal, or its beginning')
  return source
}

/** The same source, named in one way however it was written: for messages. */
export function formatGitSource({ remote, ref, subdir }: GitSource): string {
  return ref === undefined && subdir === undefined ? remote : `${remote}#${ref ?? ''}${subdir ? `:${subdir}` : ''}`
}

interface Parts {
  readonly protocol: string
  readonly user: string
  readonly host: string
  readonly path: string
  readonly query: string
  readonly fragment: string
  readonly remote: string
}

function splitUrl(text: string): Parts | undefined {
  const [, protocol, authority = '', path = '', query = '', fragment = ''] = URL_PARTS.exec(text) ?? []
  if (protocol === undefined || !PROTOCOLS.includes(protocol.toLowerCase())) return undefined
  const at = authority.lastIndexOf('@')
  return {
    protocol: protocol.toLowerCase(),
    user: authority.slice(0, Math.max(0, at)),
    host: authority.slice(at + 1),
    path,
    query,
    fragment: decoded(fragment),
    remote: `${protocol.toLowerCase()}://${authority}${path}`,
  }
}

function splitScp(text: string): Parts | undefined {
  const [, user, host = '', path = '', query = '', fragment = ''] = SCP.exec(text) ?? []
  if (user === undefined) return undefined
  return { protocol: 'ssh', user, host, path, query, fragment, remote: `${user}@${host}:${path}` }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function subdirOf(folder: string): { readonly subdir?: string } {
  const subdir = clean(`/${folder}`).slice(1)
  return subdir === '' ? {} : { subdir }
}

type Fail = (why: string, hint?: string) => ArchimageError

const KEYS = [
  ...['ref', 'tag', 'branch', 'subdir', 'checksum', 'commit'],
  ...['keep-git-dir', 'submodules', 'mtime', 'fetch-by-commit'],
]
/** Keys that are true when they stand alone. */
const SWITCHES = ['keep-git-dir', 'submodules', 'fetch-by-commit']

function withQuery(source: GitSource, query: string, fail: Fail): GitSource {
  const values = queryValues(query, fail)
  if (values.size === 0) return source
  const conflict = (what: string, one: string, other: string): ArchimageError =>
    fail(`it names two different ${what}: "${one}" and "${other}"`)
  const flag = (key: string): boolean | undefined => {
    const value = values.get(key)
    if (value === undefined) return undefined
    if (value === '' || /^(?:1|t|true)$/i.test(value)) return true
    if (/^(?:0|f|false)$/i.test(value)) return false
    throw fail(`${key}=${value}: it is true or false`)
  }
  let ref = source.ref
  const name = (wanted: string | undefined): void => {
    if (wanted === undefined) return
    if (ref !== undefined && ref !== wanted) throw conflict('refs', ref, wanted)
    ref = wanted
  }
  const qualified = (key: string, prefix: string): string | undefined => {
    const value = values.get(key)
    return value === undefined || value.startsWith(prefix) ? value : prefix + value
  }
  name(values.get('ref'))
  const [tag, branch] = [qualified('tag', 'refs/tags/'), qualified('branch', 'refs/heads/')]
  if (tag !== undefined && branch !== undefined) throw fail('it names a tag and a branch')
  name(tag)
  name(branch)
  const subdir = values.get('subdir')
  if (subdir !== undefined && source.subdir !== undefined && subdir !== source.subdir)
    throw conflict('folders', source.subdir, subdir)
  const mtime = values.get('mtime')
  if (mtime !== undefined && mtime !== 'checkout' && mtime !== 'commit')
    throw fail(`mtime=${mtime}: it is "checkout" or "commit"`)
  const checksum = values.get('checksum') ?? values.get('commit')
  const [keepGitDir, submodules, fetchByCommit] = [flag('keep-git-dir'), flag('submodules'), flag('fetch-by-commit')]
  return {
    remote: source.remote,
    ...(ref === undefined ? {} : { ref }),
    ...(subdir === undefined ? subdirOf(source.subdir ?? '') : subdirOf(subdir)),
    ...(checksum === undefined ? {} : { checksum }),
    ...(keepGitDir === undefined ? {} : { keepGitDir }),
    ...(submodules === undefined ? {} : { submodules }),
    ...(mtime === undefined ? {} : { mtime }),
    ...(fetchByCommit === undefined ? {} : { fetchByCommit }),
  }
}

function queryValues(query: string, fail: Fail): ReadonlyMap<string, string> {
  const values = new Map<string, string>()
  for (const [key, value] of new URLSearchParams(query)) {
    if (!KEYS.includes(key))
      throw fail(`a git reference has no "${key}"`, didYouMean(key, KEYS) ?? `it has ${KEYS.join(', ')}`)
    if (values.has(key)) throw fail(`"${key}" stands there twice`)
    if (value === '' && !SWITCHES.includes(key)) throw fail(`"${key}" has no value`)
    values.set(key, value)
  }
  if (values.has('checksum') && values.has('commit')) throw fail('"checksum" and "commit" are the same, one is enough')
  return values
}
