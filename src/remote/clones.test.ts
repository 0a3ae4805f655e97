import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'bun:test'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { canRun, requirePeers } from '../../test/peers/require.ts'
import { Repositories } from '../../test/remote/repositories.ts'
import { startWeb, type Web } from '../../test/remote/web.ts'
import { parseGitSource } from '../context/git-source.ts'
import { isArchimageError } from '../errors/error.ts'
import { openStore, type Store } from '../store/store.ts'
import { type Checkout, Clones, type CloneTools } from './clones.ts'

const test = requirePeers('git')
let folder: string
let repositories: Repositories
let web: Web
let home: string
let store: Store
/** Commits of the repository `app`: main, an older one, the annotated tag v1 (the tag itself and its commit). */
let main: string
let older: string
let tag: string

beforeAll(async () => {
  if (!canRun('git')) return
  folder = mkdtempSync(join(tmpdir(), 'archimage-clones-'))
  repositories = new Repositories(join(folder, 'git'))
  older = repositories.create('app', {
    Dockerfile: 'FROM scratch\n',
    'src/a.txt': 'one',
    tool: { program: '#!/bin/sh\n' },
  })
  tag = repositories.tag('app', 'v1', true)
  repositories.tag('app', 'plain')
  repositories.branch('app', 'feature/x')
  repositories.commit('app', { 'src/a.txt': 'branch' })
  repositories.branch('app', 'main')
  repositories.git(repositories.work('app'), 'reset', '-q', '--hard', older)
  main = repositories.commit('app', { 'src/a.txt': 'two', link: { link: 'src' }, out: { link: '/etc' } })
  repositories.branch('app', 'both')
  repositories.tag('app', 'both')
  repositories.record('app')
  repositories.branch('app', 'main')
  repositories.git(repositories.work('app'), 'reset', '-q', '--hard', main)
  web = await startWeb({ repositories: repositories.folder })
})
afterAll(async () => {
  await web?.stop()
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
})
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'archimage-clones-home-'))
  store = openStore({ home })
  if (web !== undefined) web.asked.length = 0
})
afterEach(() => {
  store.close()
  rmSync(home, { recursive: true, force: true })
})

/** Each call is a run of its own. */
function get(rest: string, more: Partial<CloneTools> = {}): Promise<Checkout> {
  const source = parseGitSource(rest.includes('://') ? rest : `${web.url}/git/${rest}`)!
  const signal = new AbortController().signal
  const env = { PATH: process.env['PATH'] }
  return new Clones({ store, offline: false, emit: () => {}, env, signal, ...more }).get(source)
}

async function failure(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    if (!isArchimageError(error)) throw error
    return `${error.code}: ${error.message} ${error.hint ?? ''}`
  }
  throw new Error('it worked')
}

const text = ({ folder: root }: Checkout, path: string): string => readFileSync(join(root, path), 'utf8')
/** What git's server was asked, without the query. */
const asked = (): string[] => web.asked.map(({ path }) => path.replace(/^.*\.git\//, '').replace(/\?.*/, ''))

describe('clones', () => {
  test('have the files of the default branch, without .git', async () => {
    const checkout = await get('app.git')
    expect(checkout).toMatchObject({ commit: main, time: 1577934245 })
    expect(readdirSync(checkout.folder).sort()).toEqual(['Dockerfile', 'link', 'out', 'src', 'tool'])
    expect(text(checkout, 'src/a.txt')).toBe('two')
    expect(lstatSync(join(checkout.folder, 'tool')).mode & 0o111).not.toBe(0)
    expect(lstatSync(join(checkout.folder, 'out')).isSymbolicLink()).toBe(true)
  })

  test('have those of a branch, a tag, a commit', async () => {
    for (const [ref, content] of [
      ['main', 'two'],
      ['feature/x', 'branch'],
      ['refs/heads/feature/x', 'branch'],
      ['heads/feature/x', 'branch'],
      ['v1', 'one'],
      ['plain', 'one'],
      ['refs/tags/v1', 'one'],
      [older, 'one'],
      [tag, 'one'],
    ] as const)
      expect([ref, text(await get(`app.git#${ref}`), 'src/a.txt')]).toEqual([ref, content])
    expect((await get('app.git?tag=v1')).commit).toBe(older)
    expect((await get('app.git#v1')).commit).toBe(older)
    // Of a branch and a tag with one name git takes the branch.
    expect((await get('app.git#both')).commit).not.toBe(main)
    expect((await get('app.git?tag=both')).commit).toBe(main)
  })

  test('cost one question while the ref does not move, a commit none', async () => {
    const first = await get('app.git#main')
    web.asked.length = 0
    expect(await get('app.git#main')).toEqual(first)
    expect(asked()).toEqual(['info/refs', 'git-upload-pack'])
    web.asked.length = 0
    expect((await get(`app.git#${main}`)).commit).toBe(main)
    expect(asked()).toEqual([])
  })

  test('follow a branch that moves, also back', async () => {
    repositories.create('moving', { a: '1' })
    const before = await get('moving.git#main')
    repositories.commit('moving', { a: '2' })
    expect(text(await get('moving.git#main'), 'a')).toBe('2')
    repositories.git(repositories.work('moving'), 'reset', '-q', '--hard', before.commit)
    repositories.git(repositories.work('moving'), 'push', '-q', '--force', 'origin', 'main')
    expect(await get('moving.git#main')).toEqual(before)
    expect(text(before, 'a')).toBe('1')
  })

  test('of a subfolder begin there', async () => {
    const checkout = await get('app.git#main:src')
    expect(readdirSync(checkout.folder)).toEqual(['a.txt'])
    expect(await failure(get('app.git#main:none'))).toContain('it has no folder "none"')
    expect(await failure(get('app.git#main:Dockerfile'))).toContain('leads through a file')
    expect(await failure(get('app.git#main:link'))).toContain('leads through a link')
    expect(await failure(get('app.git#main:out/passwd'))).toContain('leads through a link')
  })

  test('are checked against the commit that is wanted', async () => {
    expect((await get(`app.git?checksum=${main.slice(0, 8)}#main`)).commit).toBe(main)
    expect((await get(`app.git?checksum=${older}#v1`)).commit).toBe(older)
    expect((await get(`app.git?checksum=${tag.slice(0, 12)}#v1`)).commit).toBe(older)
    expect(await failure(get(`app.git?checksum=${older}#main`))).toContain('DIGEST_MISMATCH')
    expect(await failure(get(`app.git?checksum=${older}#${main}`))).toContain('DIGEST_MISMATCH')
    const byCommit = `app.git?fetch-by-commit=1&checksum=${older}#main`
    expect(text(await get(byCommit), 'src/a.txt')).toBe('one')
    expect(await failure(get('app.git?fetch-by-commit=1&checksum=abc#main'))).toContain('the whole commit')
  })

  test('--offline takes what was there last time', async () => {
    expect(await failure(get('app.git#main', { offline: true }))).toContain('OFFLINE')
    expect(await failure(get(`app.git#${main}`, { offline: true }))).toContain('OFFLINE')
    const first = await get('app.git#main')
    web.asked.length = 0
    expect(await get('app.git#main', { offline: true })).toEqual(first)
    expect(await get(`app.git#${main}`, { offline: true })).toMatchObject({ commit: main })
    expect(web.asked).toEqual([])
  })

  test('that do not exist say so', async () => {
    expect(await failure(get('app.git#none'))).toContain('it has no branch or tag "none"')
    expect(await failure(get(`app.git#${'1'.repeat(40)}`))).toContain('SOURCE_FAILED')
    expect(await failure(get('none.git'))).toContain('SOURCE_FAILED')
    expect(await failure(get('http://127.0.0.1:1/x.git'))).toContain('SOURCE_UNREACHABLE')
    expect(readdirSync(join(home, 'tmp'))).toEqual([])
  })

  test('without git say which program is missing', async () =>
    expect(await failure(get('app.git', { env: { PATH: folder } }))).toContain('TOOL_MISSING: git is not installed'))

  test('of repositories with sha256 objects', async () => {
    const commit = repositories.create('wide', { a: '1' }, 'sha256')
    expect((await get('wide.git')).commit).toBe(commit)
    expect((await get(`wide.git?keep-git-dir=1#${commit}`)).commit).toBe(commit)
  })

  test('with .git hold the commit, its ref and where it came from, the same bytes every time', async () => {
    const first = await get('app.git?keep-git-dir=1#v1')
    const inside = (...args: string[]) => repositories.git(first.folder, ...args).trim()
    expect(inside('rev-parse', 'HEAD')).toBe(older)
    expect(inside('describe')).toBe('v1')
    expect(inside('status', '--porcelain')).toBe('')
    expect(inside('config', 'remote.origin.url')).toBe(`${web.url}/git/app.git`)
    expect(existsSync(join(first.folder, '.git/hooks'))).toBe(false)
    const bytes = (root: string): string =>
      readdirSync(root, { recursive: true, encoding: 'utf8' })
        .sort()
        .map(path => {
          const file = join(root, path)
          return `${path} ${lstatSync(file).isFile() ? readFileSync(file, 'base64') : ''}`
        })
        .join('\n')
    rmSync(join(first.folder, '.git/index'))
    inside('read-tree', 'HEAD')
    const before = bytes(join(first.folder, '.git'))
    store.close()
    rmSync(home, { recursive: true })
    store = openStore({ home })
    expect(bytes(join((await get('app.git?keep-git-dir=1#v1')).folder, '.git'))).toBe(before)
    // Of a part of the repository there is no .git.
    expect(readdirSync((await get('app.git?keep-git-dir=1#v1:src')).folder)).toEqual(['a.txt'])
  })

  test('nothing of the user runs or is read', async () => {
    const mark = join(folder, 'mark')
    const own = join(folder, 'own')
    mkdirSync(own, { recursive: true })
    writeFileSync(
      join(own, '.gitconfig'),
      `[core]\n\tfsmonitor = touch ${mark}\n\thooksPath = ${own}\n[url "http://127.0.0.1:1/"]\n\tinsteadOf = ${web.url}\n`,
    )
    writeFileSync(join(own, 'post-checkout'), `#!/bin/sh\ntouch ${mark}\n`)
    chmodSync(join(own, 'post-checkout'), 0o755)
    const env = {
      PATH: process.env['PATH'],
      HOME: own,
      GIT_CONFIG_GLOBAL: join(own, '.gitconfig'),
      GIT_DIR: '/nowhere',
      GIT_SSH_COMMAND: `touch ${mark}`,
      GIT_EXTERNAL_DIFF: 'false',
    }
    expect((await get('app.git', { env })).commit).toBe(main)
    expect(existsSync(mark)).toBe(false)
  })

  test('a repository cannot make git run or write anything', async () => {
    const mark = join(folder, 'mark2')
    repositories.create('hostile', {
      '.gitattributes': '*.txt filter=evil diff=evil\n',
      'a.txt': 'x',
      'hooks/post-checkout': { program: `#!/bin/sh\ntouch ${mark}\n` },
      '.gitconfig': `[filter "evil"]\n\tsmudge = touch ${mark}\n`,
      config: `[filter "evil"]\n\tsmudge = touch ${mark}\n`,
    })
    for (const query of ['', '?keep-git-dir=1']) await get(`hostile.git${query}`)
    expect(existsSync(mark)).toBe(false)
  })

  test('credentials go to the host of the repository as a header, and stay out of errors', async () => {
    const secret = (id: string) => (id === 'GIT_AUTH_TOKEN' ? 'g1t-t0ken' : undefined)
    await get('app.git', { secret })
    const header = `Basic ${Buffer.from('x-access-token:g1t-t0ken').toString('base64')}`
    expect(web.asked.map(({ headers }) => headers.authorization)).toContain(header)
    web.asked.length = 0
    await get(`http://me:pa55word@${web.host}/git/app.git#plain`)
    expect(web.asked[0]!.headers.authorization).toBe(`Basic ${Buffer.from('me:pa55word').toString('base64')}`)
    expect(await failure(get(`http://me:pa55word@${web.host}/git/none.git`))).not.toContain('pa55word')
    const files = readdirSync(home, { recursive: true, encoding: 'utf8' }).map(name => join(home, name))
    for (const file of files.filter(one => lstatSync(one).isFile()))
      expect(readFileSync(file, 'latin1')).not.toMatch(/pa55word|g1t-t0ken/)
  })
})

describe('ssh', () => {
  /** A program of that name which says how it was called, and does what the host would do. */
  const programs = (): { PATH: string; said: () => string[] } => {
    const bin = mkdtempSync(join(folder, 'ssh '))
    const log = join(bin, 'log')
    writeFileSync(
      join(bin, 'ssh'),
      `#!/bin/sh\nprintf '%s\\n' "$SSH_AUTH_SOCK" "$@" > '${log}'\nfor last; do :; done\ncd '${repositories.folder}' && exec sh -c "$last"\n`,
    )
    chmodSync(join(bin, 'ssh'), 0o755)
    return { PATH: `${bin}:${process.env['PATH']}`, said: () => readFileSync(log, 'utf8').split('\n') }
  }

  test('is run without questions, with the agent and the hosts that are known', async () => {
    const { PATH, said } = programs()
    const { commit } = await get(`ssh://git@example.com:2222${repositories.folder}/app.git`, {
      env: { PATH, SSH_AUTH_SOCK: '/run/agent' },
    })
    expect(commit).toBe(main)
    const [socket, ...words] = said()
    expect(socket).toBe('/run/agent')
    expect(words).toEqual(expect.arrayContaining(['BatchMode=yes', 'StrictHostKeyChecking=accept-new', '-p', '2222']))
    expect(words).toContain(`UserKnownHostsFile="${store.knownHosts()}" ~/.ssh/known_hosts ~/.ssh/known_hosts2`)
    expect(words.at(-3)).toBe('git@example.com')
    expect(words).not.toContain('-i')
  })

  test('takes the keys of --ssh', async () => {
    const { PATH, said } = programs()
    const key = join(folder, "it's a key")
    writeFileSync(key, '')
    const source = parseGitSource('git@example.com:app.git#plain')!
    const signal = new AbortController().signal
    const tools = { store, offline: false, emit: () => {}, env: { PATH }, signal }
    expect((await new Clones({ ...tools, ssh: [key] }).get(source)).commit).toBe(older)
    expect(said()).toEqual(expect.arrayContaining(['-i', key, 'IdentitiesOnly=yes']))
  })
})

describe('redirects', () => {
  const REFS = 'info/refs?service=git-upload-pack'
  const moved = (location: string) => ({ status: 302, headers: { location } })
  const secret = (id: string) => (id === 'GIT_AUTH_TOKEN' ? 'g1t-t0ken' : undefined)

  test('to other hosts are followed without credentials', async () => {
    const other = await startWeb({ hostname: '127.0.0.2' })
    try {
      other.pages.set(`/git/app.git/${REFS}`, moved(`${web.url}/git/app.git/${REFS}`))
      for (const [given, sent] of [
        [{ secret }, 'Basic eC1hY2Nlc3MtdG9rZW46ZzF0LXQwa2Vu'],
        [{ secret: (id: string) => (id === 'GIT_AUTH_HEADER' ? 'Bearer g1t-t0ken' : undefined) }, 'Bearer g1t-t0ken'],
      ] as const) {
        expect((await get(`http://${other.host}/git/app.git`, given)).commit).toBe(main)
        expect(other.asked[0]?.headers.authorization).toBe(sent)
        other.asked.length = 0
        store.close()
        rmSync(home, { recursive: true })
        store = openStore({ home })
      }
      expect(web.asked.map(({ method }) => method)).toContain('POST')
      expect(web.asked.flatMap(({ headers }) => headers.authorization ?? [])).toEqual([])
    } finally {
      await other.stop()
    }
  })

  test('on the same host are followed with them', async () => {
    const authorization = `Basic ${Buffer.from('me:pa55 "word$x').toString('base64')}`
    const own = await startWeb({ repositories: repositories.folder, authorization })
    try {
      own.pages.set(`/old.git/${REFS}`, moved(`/git/app.git/${REFS}`))
      const url = `http://${own.host}/old.git`
      expect((await get(url.replace('//', '//me:pa55%20%22word$x@'))).commit).toBe(main)
      const header = (id: string) => (id === `GIT_AUTH_HEADER.${own.host}` ? authorization : undefined)
      expect((await get(`${url}#plain`, { secret: header })).commit).toBe(older)
      expect(await failure(get(`${url}#feature/x`, { secret }))).toContain('SOURCE_FAILED')
    } finally {
      await own.stop()
    }
  })
})

describe('submodules', () => {
  test('come along, with theirs, and stay out when they are not wanted', async () => {
    const leaf = repositories.create('leaf', { 'leaf.txt': 'leaf' })
    repositories.create('middle', { 'middle.txt': 'middle' })
    repositories.submodule('middle', 'deep/leaf', '../leaf.git', leaf)
    const middle = repositories.record('middle')
    repositories.create('top', { 'top.txt': 'top' })
    repositories.submodule('top', 'lib', `${web.url}/git/middle.git`, middle)
    repositories.submodule('top', 'skipped', '../none.git', leaf, '\tupdate = none\n')
    repositories.record('top')
    const all = await get('top.git')
    expect(text(all, 'lib/middle.txt') + text(all, 'lib/deep/leaf/leaf.txt')).toBe('middleleaf')
    expect(existsSync(join(all.folder, 'lib/.git'))).toBe(false)
    const none = await get('top.git?submodules=0')
    expect(readdirSync(join(none.folder, 'lib'))).toEqual([])
    const kept = await get('top.git?keep-git-dir=1')
    const inside = (path: string, ...args: string[]) => repositories.git(join(kept.folder, path), ...args).trim()
    expect(inside('lib', 'rev-parse', 'HEAD')).toBe(middle)
    expect(inside('lib/deep/leaf', 'rev-parse', 'HEAD')).toBe(leaf)
    expect(inside('lib', 'status', '--porcelain')).toBe('')
  })

  test('at older commits are fetched', async () => {
    const old = repositories.create('growing', { a: 'old' })
    repositories.commit('growing', { a: 'new' })
    repositories.create('pinning', {})
    repositories.submodule('pinning', 'sub', '../growing.git', old)
    repositories.record('pinning')
    expect(text(await get('pinning.git'), 'sub/a')).toBe('old')
  })

  for (const [what, url, why] of [
    ['a file', 'file:///etc', 'which is not taken'],
    ['a path', '/etc', 'which is not taken'],
    ['a command', 'ext::sh -c true', 'which is not taken'],
    ['an option', 'ssh://-oProxyCommand=x/y', 'which is not taken'],
    ["a cloud's own address", 'http://169.254.169.254/x.git', 'on this machine or in its cloud'],
  ] as const)
    test(`that lead to ${what} are refused`, async () => {
      const commit = repositories.create(`to ${what}`.replaceAll(/\W/g, '-'), { a: '1' })
      const name = `to ${what}`.replaceAll(/\W/g, '-')
      repositories.submodule(name, 'sub', url, commit)
      repositories.record(name)
      expect(await failure(get(`${name}.git`))).toContain(why)
    })

  test('with names that lead out are refused', async () => {
    const commit = repositories.create('names', { a: '1' })
    const work = repositories.work('names')
    writeFileSync(join(work, '.gitmodules'), '[submodule "../../out"]\n\tpath = sub\n\turl = ../app.git\n')
    repositories.git(work, 'add', '.gitmodules')
    repositories.git(work, 'update-index', '--add', '--cacheinfo', `160000,${commit},sub`)
    repositories.record('names')
    expect(await failure(get('names.git?keep-git-dir=1'))).toContain('leads elsewhere')
  })
})
