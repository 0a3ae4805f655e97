import { existsSync, lstatSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { formatGitSource, type GitSource, isCommit } from '../context/git-source.ts'
import { ArchimageError, cancelled, systemError } from '../errors/error.ts'
import { sha256 } from '../oci/digest.ts'
import type { Emit } from '../run/events.ts'
import type { Store } from '../store/store.ts'
import { makeDirsInside, sizeOf } from '../sys/files.ts'
import { lockFile } from '../sys/locks.ts'
import { removeTree } from '../sys/remove-tree.ts'
import { failure, type GitTools, git, tryGit, withoutCredentials } from './git.ts'
import { submodulesOf } from './submodules.ts'

/** Record kind: the commit that a ref of a repository was when it was last asked for. */
const REF = 'git-ref'
const DEEPEST = 10
const MOST_SUBMODULES = 1000

/** The files of a commit: a folder of the store that nobody writes to. */
export interface Checkout {
  readonly folder: string
  readonly commit: string
  /** Of the commit, in seconds since 1970. */
  readonly time: number
}

/** What a ref is: the whole name, the object that it names, and the commit where that is an annotated tag. */
interface Resolved {
  readonly name: string
  readonly object: string
  readonly commit?: string
}

export interface CloneTools extends Omit<GitTools, 'knownHosts'> {
  readonly store: Store
  readonly offline: boolean
  readonly emit: Emit
}

/**
 * Files of git repositories. A repository has a bare mirror in the store, into which single commits are fetched; each commit
 * that was wanted is a folder beside it. A ref costs one question while it does not move, a commit none.
 */
export class Clones {
  private readonly tools: CloneTools
  private readonly git: GitTools
  private readonly refs = new Map<string, Promise<Resolved>>()
  private readonly running = new Map<string, Promise<Checkout>>()
  private readonly held = new Map<string, Promise<void>>()

  constructor(tools: CloneTools) {
    this.tools = tools
    this.git = { ...tools, knownHosts: tools.store.knownHosts() }
  }

  /** Throws SOURCE_FAILED, SOURCE_UNREACHABLE, TOOL_MISSING, OFFLINE, DIGEST_MISMATCH when it is not what `checksum` says. */
  get(source: GitSource): Promise<Checkout> {
    const key = JSON.stringify(source)
    let promise = this.running.get(key)
    if (promise === undefined) {
      promise = this.checkout(source)
      this.running.set(key, promise)
    }
    return promise
  }

  private async checkout(source: GitSource): Promise<Checkout> {
    const resolved = await this.resolve(source)
    // As in BuildKit: of a part of the repository there is no .git.
    const keep = source.keepGitDir === true && source.subdir === undefined
    const submodules = source.submodules !== false
    const identity = [source.remote, resolved.object, keep ? resolved.name : '', submodules]
    const key = `git commit ${digest(identity)}`
    const place = this.tools.store.snapshot(key) ?? (await this.make(key, source, resolved, keep, submodules))
    const { commit, time } = JSON.parse(readFileSync(join(place, 'commit.json'), 'utf8')) as Omit<Checkout, 'folder'>
    checkCommit(source, [resolved.object, commit])
    return { folder: folderIn(join(place, 'files'), source), commit, time }
  }

  /** Which commit is meant, by asking the repository unless the commit itself is given (BuildKit, source/git). */
  private resolve(source: GitSource): Promise<Resolved> {
    const { ref, checksum, fetchByCommit } = source
    if (ref !== undefined && isCommit(ref)) {
      checkCommit(source, [ref])
      return Promise.resolve({ name: ref, object: ref })
    }
    if (fetchByCommit) {
      if (checksum === undefined || !isCommit(checksum))
        throw new ArchimageError(
          'USAGE',
          `${formatGitSource(source)}: fetch-by-commit needs the whole commit as checksum`,
        )
      const name = ref === undefined ? checksum : ref.startsWith('refs/') ? ref : `refs/heads/${ref}`
      return Promise.resolve({ name, object: checksum })
    }
    const key = digest([source.remote, ref ?? ''])
    let promise = this.refs.get(key)
    if (promise === undefined) {
      promise = this.ask(source, key)
      this.refs.set(key, promise)
    }
    return promise
  }

  private async ask(source: GitSource, key: string): Promise<Resolved> {
    const { store, offline } = this.tools
    if (offline) {
      const known = store.records.get<Resolved>(REF, key)
      if (known !== undefined) return known
      throw offlineError(source)
    }
    const remote = withoutCredentials(source.remote)
    const options = { remote: source.remote }
    let { ref } = source
    if (ref === undefined) {
      const head = await git(['ls-remote', '--symref', '--', remote, 'HEAD'], this.git, options)
      ref = /^ref: (refs\/heads\/\S+)\tHEAD$/m.exec(head)?.[1]
      if (ref === undefined) throw failed(source, 'the repository has no default branch', 'name a branch: URL#branch')
    }
    const lines = (await git(['ls-remote', '--', remote, ref, `${ref}^{}`], this.git, options)).split('\n')
    const objects = new Map(lines.map(line => line.split('\t').reverse() as [string, string]))
    const names = ['refs/', 'refs/heads/', 'refs/tags/'].map(prefix => (ref.startsWith(prefix) ? ref : prefix + ref))
    const name = names.find(one => objects.has(one))
    if (name === undefined)
      throw failed(source, `it has no branch or tag "${ref}"`, 'a commit must be given whole, with 40 digits')
    const commit = name === names[2] ? objects.get(`${name}^{}`) : undefined
    const resolved: Resolved = { name, object: objects.get(name)!, ...(commit === undefined ? {} : { commit }) }
    if (!isCommit(resolved.object)) throw failed(source, `git says that "${name}" is "${resolved.object}"`)
    checkCommit(source, [resolved.object, resolved.commit])
    store.records.put(REF, key, resolved)
    return resolved
  }

  /** Makes the folder of a commit; gives where it is kept. */
  private async make(
    key: string,
    source: GitSource,
    resolved: Resolved,
    keep: boolean,
    submodules: boolean,
  ): Promise<string> {
    const { store, emit } = this.tools
    const what = withoutCredentials(formatGitSource(source))
    const tell = (done: boolean): void =>
      emit({ type: 'transfer', id: `git ${what}`, direction: 'pull', what, current: 0, total: 0, done })
    const scratch = store.scratch()
    tell(false)
    try {
      const place = join(scratch, 'place')
      const files = join(place, 'files')
      mkdirSync(files, { recursive: true, mode: 0o700 })
      const wanted = { ...source, name: resolved.name, object: resolved.object }
      const { commit, mirror } = await this.populate(
        files,
        wanted,
        keep ? join(files, '.git') : undefined,
        submodules,
        [],
      )
      const time = await git(
        ['--git-dir', mirror, 'log', '-1', '--no-show-signature', '--format=%ct', commit],
        this.git,
      )
      writeFileSync(join(place, 'commit.json'), JSON.stringify({ commit, time: Number(time.trim()) }))
      return store.keep(key, place, { bytes: sizeOf(files) })
    } catch (error) {
      throw systemError(error, `writing to the store ${store.root}`)
    } finally {
      removeTree(scratch)
      tell(true)
    }
  }

  /** Writes the files of a commit into `folder`, those of its submodules too; gives the commit, and where its objects are. */
  private async populate(
    folder: string,
    source: GitSource & { readonly name: string; readonly object: string },
    gitDir: string | undefined,
    submodules: boolean,
    above: readonly string[],
  ): Promise<{ readonly commit: string; readonly mirror: string }> {
    const { remote, object } = source
    const mirror = await this.fetch(source)
    const commit = (await git(['--git-dir', mirror, 'rev-parse', '--verify', `${object}^{commit}`], this.git)).trim()
    const scratch = this.tools.store.scratch()
    const index = join(scratch, 'index')
    if (gitDir !== undefined) await this.repository(gitDir, folder, mirror, source)
    await git(['--git-dir', gitDir ?? mirror, '--work-tree', folder, 'read-tree', '--reset', '-u', commit], this.git, {
      cwd: folder,
      env: { GIT_INDEX_FILE: index },
    })
    removeTree(scratch)
    // An index without times and inodes of this machine: the same bytes everywhere.
    if (gitDir !== undefined) await git(['--git-dir', gitDir, 'read-tree', commit], this.git)
    if (!submodules) return { commit, mirror }
    const found = await submodulesOf(mirror, commit, remote, this.git)
    const path = [...above, `${remote} ${commit}`]
    if (path.length > DEEPEST && found.length > 0)
      throw failed(source, `its submodules stand more than ${DEEPEST} deep in each other`)
    if (found.length > MOST_SUBMODULES) throw failed(source, `it has more than ${MOST_SUBMODULES} submodules`)
    for (const module of found) {
      if (path.includes(`${module.remote} ${module.commit}`)) throw failed(source, 'it is a submodule of itself')
      const inside = makeDirsInside(folder, module.path)
      const modules = gitDir === undefined ? undefined : makeDirsInside(gitDir, `modules/${module.name}`)
      const inner = { remote: module.remote, ref: module.commit, name: module.commit, object: module.commit }
      await this.populate(inside, inner, modules, true, path)
      if (modules !== undefined) writeFileSync(join(inside, '.git'), `gitdir: ${way(inside, modules)}\n`)
    }
    return { commit, mirror }
  }

  /** The .git of files that keep it: one commit, its ref, and where it came from; nothing of this machine in it. */
  private async repository(
    gitDir: string,
    folder: string,
    mirror: string,
    { remote, name, object }: GitSource & { readonly name: string; readonly object: string },
  ): Promise<void> {
    const inside = ['--git-dir', gitDir]
    await git([...inside, 'init', '--template=', '--bare', `--object-format=${formatOf(object)}`], this.git)
    await git(
      [...inside, 'fetch', '--depth=1', '--no-tags', '--no-write-fetch-head', '--', mirror, ...pullOf(name, object)],
      this.git,
      // Loose and not compressed: packs depend on the server, compression on zlib.
      {
        config: { 'protocol.file.allow': 'always', 'fetch.unpackLimit': '1000000000', 'core.looseCompression': '0' },
      },
    )
    const own = join(folder, '.git')
    await git([...inside, 'config', 'core.bare', 'false'], this.git)
    if (gitDir !== own) await git([...inside, 'config', 'core.worktree', way(gitDir, folder)], this.git)
    await git([...inside, 'config', 'remote.origin.url', withoutCredentials(remote)], this.git)
    await git([...inside, 'update-ref', '--no-deref', 'HEAD', `${object}^{commit}`], this.git)
  }

  /** Makes sure that the mirror has the object with all that it names, and nothing older; gives where the mirror is. */
  private async fetch(source: GitSource & { readonly object: string }): Promise<string> {
    const { store } = this.tools
    const { remote, object } = source
    const key = `git mirror ${digest([remote])} ${formatOf(object)}`
    const mirror = store.snapshot(key) ?? (await this.emptyMirror(key, object))
    return this.alone(mirror, async () => {
      const inside = ['--git-dir', mirror]
      const there = ['cat-file', '-e', `refs/archimage/${object}`]
      if ((await tryGit([...inside, ...there], this.git)).code === 0) return mirror
      if (this.tools.offline) throw offlineError(source)
      rmSync(join(mirror, 'shallow.lock'), { force: true })
      const from = ['--', withoutCredentials(remote), `${object}:refs/archimage/${object}`]
      const common = [...inside, 'fetch', '--no-tags', '--no-write-fetch-head', '--force']
      const options = { remote }
      let fetched = await tryGit([...common, '--depth=1', ...from], this.git, options)
      // A web server without git behind it gives everything or nothing.
      if (/shallow|--depth/.test(String(fetched.stderr)))
        fetched = await tryGit([...common, ...from], this.git, options)
      if (
        fetched.code !== 0 &&
        /not our ref|unadvertised object|no such ref|remote ref/i.test(String(fetched.stderr))
      ) {
        const all = ['--', withoutCredentials(remote), '+refs/heads/*:refs/all/heads/*', '+refs/tags/*:refs/all/tags/*']
        const deep = existsSync(join(mirror, 'shallow')) ? ['--unshallow'] : []
        await git([...common, ...deep, ...all], this.git, options)
        const found = await tryGit([...inside, 'update-ref', `refs/archimage/${object}`, object], this.git)
        if (found.code !== 0) throw failed(source, `it has no commit ${object}`)
      } else if (fetched.code !== 0) throw failure(remote, fetched)
      store.weigh(key, sizeOf(mirror))
      return mirror
    })
  }

  private async emptyMirror(key: string, object: string): Promise<string> {
    const { store } = this.tools
    const scratch = store.scratch()
    try {
      const made = join(scratch, 'mirror')
      await git(['init', '--template=', '--bare', `--object-format=${formatOf(object)}`, made], this.git)
      return store.keep(key, made, { bytes: sizeOf(made) })
    } finally {
      removeTree(scratch)
    }
  }

  /** One at a time, in this process and among all: two of git in one repository tread on each other. */
  private async alone<T>(mirror: string, work: () => Promise<T>): Promise<T> {
    const path = join(mirror, 'archimage.lock')
    const before = this.held.get(path) ?? Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.held.set(path, promise)
    await before
    try {
      let lock = lockFile(path, 'exclusive')
      for (; lock === undefined; lock = lockFile(path, 'exclusive')) {
        if (this.tools.signal.aborted) throw cancelled(this.tools.signal.reason)
        await sleep(100)
      }
      try {
        return await work()
      } finally {
        lock.release()
      }
    } finally {
      resolve()
    }
  }
}

const digest = (parts: readonly unknown[]): string => sha256(JSON.stringify(parts)).slice(7, 47)
const formatOf = (object: string): string => (object.length === 64 ? 'sha256' : 'sha1')

/** What is fetched of the mirror: a branch and a tag keep their names. */
function pullOf(name: string, object: string): string[] {
  const from = `refs/archimage/${object}`
  return [name.startsWith('refs/') ? `${from}:${name}` : from]
}

/** `to` as seen from the folder `from`, both below the same root. */
function way(from: string, to: string): string {
  const [a, b] = [from.split('/'), to.split('/')]
  let same = 0
  while (same < a.length && a[same] === b[same]) same++
  return [...a.slice(same).map(() => '..'), ...b.slice(same)].join('/')
}

function checkCommit(source: GitSource, found: readonly (string | undefined)[]): void {
  const { checksum } = source
  const there = found.filter(one => one !== undefined)
  if (checksum === undefined || there.some(one => one.startsWith(checksum.toLowerCase()))) return
  throw new ArchimageError(
    'DIGEST_MISMATCH',
    `${formatGitSource(source)} is the commit ${there.join(' or ')}, and ${checksum} is wanted`,
    { hint: 'find out why it moved before you change the checksum' },
  )
}

/** The folder that is asked for: folders all the way, no links. */
function folderIn(root: string, source: GitSource): string {
  const { subdir } = source
  if (subdir === undefined) return root
  const folder = join(root, subdir)
  let at = root
  for (const part of subdir.split('/')) {
    at = join(at, part)
    const stat = lstatSync(at, { throwIfNoEntry: false })
    if (stat === undefined) throw failed(source, `it has no folder "${subdir}"`)
    if (!stat.isDirectory())
      throw failed(source, `"${subdir}" leads through ${stat.isSymbolicLink() ? 'a link' : 'a file'}`)
  }
  return folder
}

function failed(source: GitSource, why: string, hint?: string): ArchimageError {
  return new ArchimageError('SOURCE_FAILED', `${formatGitSource(source)}: ${why}`, hint === undefined ? {} : { hint })
}

function offlineError(source: GitSource): ArchimageError {
  return new ArchimageError(
    'OFFLINE',
    `${formatGitSource(source)} is not in the store, and --offline forbids to fetch it`,
    {
      hint: 'build once without --offline',
    },
  )
}
