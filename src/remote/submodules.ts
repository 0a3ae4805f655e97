import { ArchimageError } from '../errors/error.ts'
import { isLinkLocal, isLoopback } from '../registry/proxy.ts'
import { failure, type GitTools, git, tryGit } from './git.ts'

/** A repository inside of another one, at the commit that the outer one names. */
export interface Submodule {
  readonly name: string
  /** Where it stands, relative to the outer one. */
  readonly path: string
  readonly remote: string
  readonly commit: string
}

/**
 * The submodules of a commit, as .gitmodules describes them (gitmodules(5)). Throws SOURCE_FAILED for those that could
 * lead somewhere that nobody meant: other protocols, this machine or its cloud, names and paths with "..".
 */
export async function submodulesOf(
  repository: string,
  commit: string,
  remote: string,
  tools: GitTools,
): Promise<Submodule[]> {
  const inside = ['--git-dir', repository]
  const file = `${commit}:.gitmodules`
  if ((await tryGit([...inside, 'cat-file', '-e', file], tools)).code !== 0) return []
  const blob = await tryGit([...inside, 'config', '-z', '--blob', file, '--get-regexp', '^submodule\\.'], tools)
  if (blob.code > 1) throw failure(remote, blob)
  const modules = new Map<string, Record<string, string>>()
  for (const entry of blob.stdout.toString('utf8').split('\0')) {
    const [variable = '', ...value] = entry.split('\n')
    const [, name, key] = /^submodule\.(.*)\.([^.]+)$/s.exec(variable) ?? []
    if (name === undefined || key === undefined) continue
    modules.set(name, { ...modules.get(name), [key]: value.join('\n') })
  }
  const found: Submodule[] = []
  for (const [name, { path, url, update }] of modules) {
    if (path === undefined || url === undefined || update === 'none') continue
    const fail = (why: string): ArchimageError =>
      new ArchimageError('SOURCE_FAILED', `${remote}: the submodule "${name}" ${why}`, {
        hint: 'leave submodules out with ?submodules=0 if they are not needed',
      })
    if (!isClean(name) || !isClean(path)) throw fail(`has a name or a path that leads elsewhere: "${path}"`)
    const tree = await git([...inside, '--literal-pathspecs', 'ls-tree', '-z', commit, '--', path], tools)
    const link = /^160000 commit ([0-9a-f]+)\t/.exec(tree)?.[1]
    if (link === undefined) continue
    found.push({ name, path, remote: address(url, remote, fail), commit: link })
  }
  return found
}

function isClean(path: string): boolean {
  return path.split('/').every(part => part !== '' && part !== '.' && part !== '..' && part.toLowerCase() !== '.git')
}

/** The URL of a submodule; one that begins with ./ or ../ is relative to the outer repository. */
function address(url: string, outer: string, fail: (why: string) => ArchimageError): string {
  const whole = /^\.\.?\//.test(url) ? relativeTo(outer, url) : url
  const authority = authorityOf(whole)
  if (authority === undefined || /^-|@-/.test(authority)) throw fail(`is at "${url}", which is not taken`)
  const host = hostOf(authority)
  if (host !== hostOf(authorityOf(outer) ?? '') && (isLoopback(host) || isLinkLocal(host)))
    throw fail(`is at "${url}", which is on this machine or in its cloud`)
  return whole
}

/** `user@host:port` of the URLs that git may fetch from. */
function authorityOf(url: string): string | undefined {
  return /^(?:https?|ssh|git):\/\/([^/?#]+)/i.exec(url)?.[1] ?? /^([\w-]+@[\w.-]+):/.exec(url)?.[1]
}

function hostOf(authority: string): string {
  return authority.replace(/^.*@/, '').replace(/:\d*$/, '').toLowerCase()
}

function relativeTo(outer: string, url: string): string {
  let base = `${outer.replace(/\/+$/, '')}/`
  for (let rest = url; ; ) {
    if (rest.startsWith('./')) rest = rest.slice(2)
    else if (rest.startsWith('../')) {
      rest = rest.slice(3)
      base = base.replace(/[^/:]*\/$/, '')
    } else return base + rest
  }
}
