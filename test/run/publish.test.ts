import { afterAll, beforeEach, describe, expect, test } from 'bun:test'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { resultOf, Sandbox, simpleServices } from './command.ts'
import { putBase, Remote } from './images.ts'

const sandbox = new Sandbox('publish')
let registry: FaultyRegistry
let serial = 0

beforeEach(async () => {
  await registry?.close()
  registry = await startFaultyRegistry()
  serial++
})
afterAll(async () => {
  await registry.close()
  await sandbox.dispose()
})

const push = (...more: string[]): string[] => ['build', '--push', '--registry', `${registry.address}/team`, ...more]
const remote = (name: string): Remote => new Remote(registry, `team/${name}`)

/** Answers 403 to the nth PUT of a manifest by one of these tags; the others go through. */
function refuse(nth: number, tags: readonly string[]): void {
  let seen = 0
  registry.faults.answer = request => {
    const tag = /\/manifests\/([^:/]+)$/.exec(new URL(request.url).pathname)?.[1]
    if (request.method !== 'PUT' || tag === undefined || !tags.includes(tag) || ++seen !== nth) return undefined
    return Response.json({ errors: [{ code: 'DENIED', message: 'not this one' }] }, { status: 403 })
  }
}

async function tagsNow(names: readonly string[], tags: readonly string[]): Promise<Record<string, string | undefined>> {
  const out: Record<string, string | undefined> = {}
  for (const name of names) for (const tag of tags) out[`${name}:${tag}`] = await remote(name).digest(tag)
  return out
}

describe('a registry that refuses the third of four tags', () => {
  const TAGS = ['v1', 'v1.2']
  const flags = TAGS.flatMap(tag => ['-t', tag])

  test('--atomic: all tags are as before, those that were new are gone again', async () => {
    const project = sandbox.project(`third-${serial}`, simpleServices('a', 'b'))
    // `b` is new: its tags do not exist before.
    await sandbox.must(push('a', ...flags), { cwd: project })
    const before = await tagsNow(['a', 'b'], TAGS)
    expect(before['a:v1']).toMatch(/^sha256:/)
    writeFileSync(join(project, 'src/a/app.txt'), 'changed\n')
    refuse(3, TAGS)
    const { code, stderr } = await sandbox.run(push('--atomic', ...flags), { cwd: project })
    expect(code).toBe(3)
    expect(await tagsNow(['a', 'b'], TAGS)).toEqual(before)
    expect(stderr).toContain('all tags are where they were before')
    expect(stderr).toContain('403')
    const { services } = resultOf(project)
    const states = services.flatMap(service => service.tags.map(tag => tag.state))
    // Those of `b` do not exist, before and after.
    expect(states).toHaveLength(2)
    for (const state of states) expect(['kept', 'restored']).toContain(state)
    expect(services.every(service => service.failure?.code === 'UNAUTHORIZED')).toBe(true)
    await sandbox.must(push('--atomic', ...flags), { cwd: project })
    const after = await tagsNow(['a', 'b'], TAGS)
    expect(after['a:v1']).not.toBe(before['a:v1'])
    expect(new Set(Object.values(after)).size).toBe(2)
  })

  test('without --atomic only the service that was refused is as before', async () => {
    const project = sandbox.project(`single-${serial}`, simpleServices('a', 'b'))
    registry.faults.answer = request =>
      request.method === 'PUT' && new URL(request.url).pathname === '/v2/team/a/manifests/v1'
        ? Response.json({ errors: [{ code: 'DENIED', message: 'no' }] }, { status: 403 })
        : undefined
    const { code, stdout, stderr } = await sandbox.run(push(...flags), { cwd: project })
    expect(code).toBe(3)
    expect(await remote('a').tags()).toEqual([])
    expect(await remote('b').tags()).toEqual(TAGS)
    expect(stderr).toMatch(/✗ a not published/)
    expect(stdout).toContain(`${registry.address}/team/b@`)
    expect(stdout).not.toContain(`${registry.address}/team/a@`)
  })

  test('a tag that somebody else moved meanwhile is not moved back', async () => {
    const project = sandbox.project(`meanwhile-${serial}`, simpleServices('a'))
    await sandbox.must(push('-t', 'v1', '-t', 'extra'), { cwd: project })
    writeFileSync(join(project, 'src/a/app.txt'), 'changed\n')
    const theirs = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [] }
    registry.faults.answer = async request => {
      if (request.method !== 'PUT' || !request.url.endsWith('/manifests/v1')) return undefined
      registry.faults.answer = undefined
      await remote('a').putManifest('extra', theirs)
      return Response.json({ errors: [{ code: 'DENIED', message: 'no' }] }, { status: 403 })
    }
    const { code } = await sandbox.run(push('-t', 'v1', '-t', 'extra'), { cwd: project })
    expect(code).toBe(3)
    expect(await remote('a').manifest('extra')).toEqual(theirs as never)
    const states = resultOf(project).services[0]!.tags.map(tag => [tag.reference.split(':').at(-1), tag.state])
    expect(states).toEqual([
      ['extra', 'kept'],
      ['v1', 'kept'],
    ])
  })

  test('a registry that does not delete: the tag that stays is named', async () => {
    const project = sandbox.project(`nodelete-${serial}`, simpleServices('a'))
    registry.faults.noDelete = true
    refuse(2, ['v1', 'extra'])
    const { code, stderr } = await sandbox.run(push('-t', 'v1', '-t', 'extra'), { cwd: project })
    expect(code).toBe(3)
    expect(stderr.replaceAll(/\s+/g, ' ')).toMatch(/not back where they were.*team\/a:extra/)
  })

  test('an immutable tag is said to be one, exit code 1', async () => {
    const project = sandbox.project(`immutable-${serial}`, simpleServices('a'))
    await sandbox.must(push('-t', 'v1'), { cwd: project })
    const before = await remote('a').digest('v1')
    registry.faults.refuseTag = { match: /v1/, status: 409, onlyMoves: true }
    await sandbox.must(push('-t', 'v1'), { cwd: project })
    writeFileSync(join(project, 'src/a/app.txt'), 'changed\n')
    const { code, stderr } = await sandbox.run(push('-t', 'v1'), { cwd: project })
    expect(code).toBe(1)
    expect(stderr).toContain('TAG_IMMUTABLE')
    expect(stderr).toContain('choose a new tag')
    expect(await remote('a').digest('v1')).toBe(before)
  })
})

test('--no-clobber: a tag that would move is an error before anything is uploaded', async () => {
  const project = sandbox.project(`clobber-${serial}`, simpleServices('a'))
  await sandbox.must(push('-t', 'v1', '--no-clobber'), { cwd: project })
  await sandbox.must(push('-t', 'v1', '--no-clobber'), { cwd: project })
  const before = await remote('a').digest('v1')
  writeFileSync(join(project, 'src/a/app.txt'), 'changed\n')
  registry.requests.length = 0
  const { code, stderr } = await sandbox.run(push('-t', 'v1', '--no-clobber'), { cwd: project })
  expect(code).toBe(1)
  expect(stderr).toContain('TAG_EXISTS')
  expect(stderr).toContain(before!)
  expect(registry.requests.filter(request => !['GET', 'HEAD'].includes(request.method))).toEqual([])
})

test('a new tag that has to go again goes alone, also where the registry deletes by digest only', async () => {
  const project = sandbox.project(`new-tag-${serial}`, simpleServices('a'))
  await sandbox.must(push('-t', 'v0'), { cwd: project })
  const before = await remote('a').digest('v0')
  registry.faults.noTagDelete = 405
  refuse(2, ['v1', 'extra'])
  const { code, stderr } = await sandbox.run(push('-t', 'v1', '-t', 'extra'), { cwd: project })
  expect(code).toBe(3)
  expect(stderr).toContain('all tags are where they were before')
  expect(await tagsNow(['a'], ['v0', 'v1', 'extra'])).toEqual({
    'a:v0': before,
    'a:v1': undefined,
    'a:extra': undefined,
  })
})

describe('killed while it published', () => {
  const TAGS = ['v1', 'v2', 'v3']
  const flags = TAGS.flatMap(tag => ['-t', tag])

  /** Starts a push that hangs at the PUT of a tag, and kills it there. */
  async function killAt(tag: string, project: string, signal: 'SIGKILL' | 'SIGINT' = 'SIGKILL'): Promise<number> {
    registry.faults.slow = { milliseconds: 30_000, match: new RegExp(`^PUT .*/manifests/${tag}$`) }
    const started = sandbox.start(push(...flags), { cwd: project })
    const until = Date.now() + 20_000
    while (!registry.requests.some(request => request.method === 'PUT' && request.path.endsWith(`/manifests/${tag}`))) {
      if (Date.now() > until) throw new Error('the tag was never written')
      await Bun.sleep(10)
    }
    started.child.kill(signal)
    const { code } = await started.ended
    delete registry.faults.slow
    return code
  }

  test('between two tags: the next run repairs and says so', async () => {
    const project = sandbox.project(`kill-${serial}`, simpleServices('a'))
    await sandbox.must(push(...flags), { cwd: project })
    const before = await remote('a').digest('v1')
    writeFileSync(join(project, 'src/a/app.txt'), 'changed\n')
    registry.requests.length = 0
    // v2 and v3 come first, the main tag v1 last.
    expect(await killAt('v3', project)).toBe(137)
    expect(await remote('a').digest('v2')).not.toBe(before)
    expect(await remote('a').digest('v1')).toBe(before!)
    // Another project, the same store: whoever publishes next finishes it.
    const other = sandbox.project(`other-${serial}`, simpleServices('b'))
    const { stderr } = await sandbox.must(push(), { cwd: other })
    expect(stderr).toContain('an earlier run was stopped while it published')
    const now = await tagsNow(['a'], TAGS)
    expect(new Set(Object.values(now)).size).toBe(1)
    expect(now['a:v1']).not.toBe(before)
    expect(readdirSync(join(sandbox.home, 'journal'))).toEqual([])
  })

  test('Ctrl-C between two tags: they go back at once', async () => {
    const project = sandbox.project(`interrupt-${serial}`, simpleServices('a'))
    await sandbox.must(push(...flags), { cwd: project })
    const before = await tagsNow(['a'], TAGS)
    writeFileSync(join(project, 'src/a/app.txt'), 'changed\n')
    registry.requests.length = 0
    expect(await killAt('v3', project, 'SIGINT')).toBe(130)
    expect(await tagsNow(['a'], TAGS)).toEqual(before)
    const result = resultOf(project)
    expect([result.complete, result.exitCode]).toEqual([false, 130])
    expect(readdirSync(join(sandbox.home, 'journal'))).toEqual([])
  })

  test('Ctrl-C while blobs go up or while it reads back waits for nobody', async () => {
    for (const match of [/^(PUT|PATCH) .*blobs\/uploads/, /^HEAD .*manifests/, /^GET .*manifests\/sha256/]) {
      const project = sandbox.project(`stop-${serial}`, simpleServices('a', 'b'))
      registry.requests.length = 0
      registry.faults.slow = { milliseconds: 600_000, match }
      const started = sandbox.start(push(), { cwd: project })
      const until = Date.now() + 20_000
      while (!registry.requests.some(({ method, path }) => match.test(`${method} ${path}`)) && Date.now() < until)
        await Bun.sleep(5)
      started.child.kill('SIGINT')
      const { code, stderr, stdout } = await started.ended
      expect([code, stdout]).toEqual([130, ''])
      expect(stderr).toMatch(/service +linux\//)
      expect(resultOf(project)).toMatchObject({ complete: false, exitCode: 130 })
      delete registry.faults.slow
    }
  })

  test('while blobs go up: no tag moved, the next run works', async () => {
    const project = sandbox.project(`blobs-${serial}`, simpleServices('a', 'b'))
    registry.faults.slow = { milliseconds: 30_000, match: /^(PUT|PATCH) .*blobs\/uploads/ }
    const started = sandbox.start(push(), { cwd: project })
    const until = Date.now() + 20_000
    while (!registry.requests.some(request => request.method === 'PUT') && Date.now() < until) await Bun.sleep(10)
    started.child.kill('SIGKILL')
    expect((await started.ended).code).toBe(137)
    expect(await remote('a').tags()).toEqual([])
    expect(await remote('b').tags()).toEqual([])
    delete registry.faults.slow
    await sandbox.must(push(), { cwd: project })
    expect(await remote('a').tags()).toEqual(['latest'])
  })
})

describe('what is there already', () => {
  test('is not written again, and an unchanged push reads everything back', async () => {
    const project = sandbox.project(`already-${serial}`, simpleServices('a', 'b'))
    await sandbox.must(push(), { cwd: project })
    registry.requests.length = 0
    await sandbox.must(push(), { cwd: project })
    const writes = registry.requests.filter(request => !['GET', 'HEAD'].includes(request.method))
    expect(writes).toEqual([])
    expect(resultOf(project).services.map(service => [service.tags[0]!.state, service.verified[0]!.ok])).toEqual([
      ['already', true],
      ['already', true],
    ])
    const questions = registry.requests.map(request => `${request.method} ${request.path}`)
    expect(questions.filter((question, i) => questions.indexOf(question) !== i)).toEqual([])
  })

  test('another registry gets everything, the first keeps what it has', async () => {
    const project = sandbox.project(`second-${serial}`, simpleServices('a'))
    await sandbox.must(push(), { cwd: project })
    const second = await startFaultyRegistry()
    await sandbox.must(['build', '--push', '--registry', `${second.address}/team`], { cwd: project })
    expect(await new Remote(second, 'team/a').digest('latest')).toBe(await remote('a').digest('latest'))
    await second.close()
  })

  test('archimage push sends what was built', async () => {
    const project = sandbox.project(`push-${serial}`, simpleServices('pushed'))
    const { stdout } = await sandbox.must(['build', '--platform', 'amd64,arm64'], { cwd: project })
    const name = `${registry.address}/team/pushed:1.0`
    const pushed = await sandbox.must(['push', 'pushed', name])
    expect(pushed.stdout).toBe(`${registry.address}/team/pushed@${stdout.trim().split('@')[1]}\n`)
    expect((await remote('pushed').manifest('1.0')).manifests).toHaveLength(2)
    const again = await sandbox.must(['push', 'pushed', name])
    expect(again.stderr).toContain('was there already')
    const { code, stderr } = await sandbox.run(['push', 'pushd'])
    expect(code).toBe(1)
    expect(stderr).toContain('did you mean "pushed')
  })
})

test('blobs of a service go up while another one is still being built', async () => {
  await putBase(new Remote(registry, 'team/base'), '1')
  const project = sandbox.project(`ahead-${serial}`, {
    ...simpleServices('early'),
    'src/late/Dockerfile': `FROM ${registry.address}/team/base:1\nWORKDIR /late\n`,
  })
  const order: string[] = []
  let arrived = (): void => {}
  const blob = new Promise<void>(resolve => {
    arrived = resolve
  })
  registry.faults.answer = async request => {
    const { pathname } = new URL(request.url)
    if (request.method === 'PUT') order.push(pathname)
    if (request.method === 'PUT' && pathname.startsWith('/v2/team/early/blobs/')) arrived()
    // the base of the other service is answered only then
    if (pathname.startsWith('/v2/team/base/manifests/')) await blob
    return undefined
  }
  await sandbox.must(push('--platform', 'linux/amd64'), { cwd: project })
  expect(order[0]).toStartWith('/v2/team/early/blobs/')
  expect(order.filter(path => path.startsWith('/v2/team/early/blobs/'))).toHaveLength(2)
  expect(await remote('early').tags()).toEqual(['latest'])
  expect(await remote('late').tags()).toEqual(['latest'])
})
