import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { type Faults, type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { Sandbox } from '../run/command.ts'

const sandbox = new Sandbox('copy-faults')
let from: FaultyRegistry
let to: FaultyRegistry
let count = 0

beforeAll(async () => {
  ;[from, to] = await Promise.all([startFaultyRegistry(), startFaultyRegistry()])
  const noise: Buffer[] = []
  for (let i = 0; i < 30_000; i++) noise.push(createHash('sha512').update(`${i}`).digest())
  const files = {
    'src/app/Dockerfile': 'FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH big /\n',
    ...{ 'src/app/amd64': 'amd64\n', 'src/app/arm64': 'arm64\n', 'src/app/big': Buffer.concat(noise) },
  }
  const build = ['build', '--push', '--registry', `${from.address}/from`, '--tag', '1', '--platform', 'amd64,arm64']
  await sandbox.must(build, { cwd: sandbox.project('app', files) })
})
afterEach(() => {
  for (const { faults, requests } of [from, to]) {
    for (const name of Object.keys(faults)) delete faults[name as keyof Faults]
    requests.length = 0
  }
})
afterAll(async () => {
  await Promise.all([from.close(), to.close()])
  await sandbox.dispose()
})

const copy = (...more: string[]) =>
  sandbox.run(['copy', ...more, `${from.address}/from/app:1`, `${to.address}/to/app-${++count}`])
/** What is there is whole, and nothing of the source's is another. */
const expectWhole = async (repository: string): Promise<void> => {
  const check = await sandbox.run(['verify', `${to.address}/${repository}:1`])
  expect([check.code, check.stderr]).toEqual([0, expect.any(String)])
}
const manifestAt = async (repository: string): Promise<number> =>
  (await fetch(`http://${to.address}/v2/${repository}/manifests/1`, { headers: { accept: '*/*' } })).status

describe('with these faults the copy ends right', () => {
  const survived: readonly (readonly [string, 'source' | 'destination' | 'both', Faults])[] = [
    ['a pause is asked for', 'both', { failFirst: { status: 429, times: 2, retryAfter: 0 } }],
    ['503 twice', 'both', { failFirst: { status: 503, times: 2 } }],
    ['connections are cut before the answer', 'both', { failFirst: { status: 500, times: 2, cut: true } }],
    ['blobs break off in the middle', 'source', { dropConnection: { afterBytes: 700_000, times: 2 } }],
    ['… and start anew each time', 'source', { dropConnection: { afterBytes: 700_000, times: 2 }, ignoreRange: true }],
    ['no digest headers', 'both', { noDigestHeader: 'always' }],
    ['no digest header for HEAD', 'both', { noDigestHeader: 'HEAD' }],
    ['no HEAD', 'both', { noHead: 405 }],
    ['no mounts', 'destination', { noMount: 405 }],
    ['mounts that become uploads', 'destination', { noMount: 202 }],
    ['uploads elsewhere', 'destination', { uploadLocation: 'absolute' }],
    ['uploads with a query', 'destination', { uploadLocation: 'query' }],
    ['an upload that fails once', 'destination', { failFirst: { status: 500, times: 1, match: /^PUT .*uploads/ } }],
    ['storage of each repository', 'both', { perRepositoryStorage: true }],
  ]
  for (const [name, side, faults] of survived)
    test(`${name} (${side})`, async () => {
      if (side !== 'destination') Object.assign(from.faults, structuredCopy(faults))
      if (side !== 'source') Object.assign(to.faults, structuredCopy(faults))
      const { code, stderr } = await copy()
      expect([code, stderr]).toEqual([0, expect.stringContaining('1 image copied')])
      for (const { faults: left } of [from, to]) for (const key of Object.keys(left)) delete left[key as keyof Faults]
      await expectWhole(`to/app-${count}`)
    })

  test('blobs lie on another host, which gets no credentials', async () => {
    from.faults.redirectBlobsTo = from.blobs.url
    from.faults.requireAuth = { kind: 'bearer', user: 'robot', password: 'hidden-word' }
    const { code, stderr, stdout } = await copy('--src-creds', 'robot:hidden-word')
    expect([code, stderr]).toEqual([0, expect.stringContaining('1 image copied')])
    expect(stderr + stdout).not.toContain('hidden-word')
    expect(from.requests.some(({ server, headers }) => server === 'blobs' && headers['authorization'])).toBe(false)
  })
})

describe('with these it ends with an error that says where, and no tag', () => {
  const blob = /blob sha256:[0-9a-f]{64}/
  const fatal: readonly (readonly [string, 'source' | 'destination', Faults, RegExp, RegExp?])[] = [
    ['wrong bytes', 'source', { corruptBlob: {} }, blob],
    ['too few bytes', 'source', { truncateBlob: {} }, blob],
    ['too many bytes', 'source', { lengthenBlob: {} }, blob],
    ['no blobs', 'source', { failFirst: { status: 404, times: 99, match: /^GET .*blobs/ } }, blob],
    ['a wrong password', 'source', { requireAuth: { kind: 'basic', user: 'a', password: 'b' } }, /401/],
    ['a password', 'destination', { requireAuth: { kind: 'basic', user: 'a', password: 'b' } }, /401/],
    ['no writing', 'destination', { failFirst: { status: 403, times: 99, match: /^POST/, code: 'DENIED' } }, /403/],
    ['no such tags', 'destination', { refuseTag: { match: /^1$/, status: 403 } }, /tag 1.*403/],
    ['a digest that is not what was sent', 'destination', { wrongDigestHeader: true }, /sha256:[0-9a-f]{64}/],
  ]
  for (const [name, side, faults, words] of fatal)
    test(`${name} (${side})`, async () => {
      const at = side === 'source' ? from : to
      Object.assign(at.faults, structuredCopy(faults))
      const { code, stderr, stdout } = await copy()
      expect(stdout).toBe('')
      expect([code === 0, stderr]).toEqual([false, expect.stringMatching(words)])
      const error = stderr.slice(stderr.indexOf('error: '))
      expect(error).toContain(
        `error: ${side}: registry ${at.address}, repository ${side === 'source' ? 'from' : 'to'}/app`,
      )
      expect(error).toContain('→ ')
      for (const key of Object.keys(at.faults)) delete at.faults[key as keyof Faults]
      if (name !== 'a digest that is not what was sent') expect(await manifestAt(`to/app-${count}`)).toBe(404)
    })
})

test('a copy that is killed is taken up again, and what arrived is not sent twice', async () => {
  to.faults.slow = { milliseconds: 300, match: /^PUT .*manifests/ }
  const target = `${to.address}/to/killed`
  const started = sandbox.start(['copy', `${from.address}/from/app:1`, target])
  const arrived = (): boolean =>
    // of both platforms: then all blobs are there
    to.requests.filter(({ method, path, status }) => method === 'PUT' && path.includes('/manifests/') && status === 0)
      .length > 1
  while (!arrived()) await new Promise(resolve => setTimeout(resolve, 10))
  started.child.kill('SIGKILL')
  expect((await started.ended).code).toBe(137)
  expect(await manifestAt('to/killed')).toBe(404)
  delete to.faults.slow
  from.requests.length = 0
  const again = await sandbox.must(['copy', `${from.address}/from/app:1`, target])
  expect(again.stderr).toMatch(/1 image copied/)
  expect(from.requests.filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'))).toHaveLength(0)
  await expectWhole('to/killed')
})

test('Ctrl-C ends it cleanly', async () => {
  to.faults.slow = { milliseconds: 400, match: /^PUT/ }
  const started = sandbox.start(['copy', `${from.address}/from/app:1`, `${to.address}/to/interrupted`])
  while (!to.requests.some(({ method }) => method === 'PUT')) await new Promise(resolve => setTimeout(resolve, 10))
  started.child.kill('SIGINT')
  const { code, stdout, stderr } = await started.ended
  expect([code, stdout]).toEqual([130, ''])
  expect(stderr).toContain('interrupted')
  delete to.faults.slow
  expect(await manifestAt('to/interrupted')).toBe(404)
})

/** Counters are counted down in place. */
function structuredCopy(faults: Faults): Faults {
  return Object.fromEntries(
    Object.entries(faults).map(([key, value]) => [key, typeof value === 'object' ? { ...value } : value]),
  ) as Faults
}
