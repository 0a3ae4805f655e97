import { afterAll, beforeAll, expect } from 'bun:test'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { canRun, requirePeers } from '../peers/require.ts'
import { openWorkshop, type Workshop } from './workshop.ts'

const needs = ['root', 'runc', 'busybox'] as const
const step = requirePeers(...needs)
let shop: Workshop

beforeAll(async () => {
  if (canRun(...needs)) shop = await openWorkshop()
})
afterAll(async () => shop?.[Symbol.asyncDispose]())

step('a command runs in its root, and the upper directory holds what it did', async () => {
  const { exitCode, stdout, stderr, changed, upper } = await shop.run(
    'echo out; echo err >&2; echo new > /etc/new; rm /etc/group',
  )
  expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 0, stdout: 'out\n', stderr: 'err\n' })
  expect(changed).toEqual(['etc', 'etc/group', 'etc/new'])
  expect(readFileSync(join(upper, 'etc/new'), 'utf8')).toBe('new\n')
  expect(statSync(join(upper, 'etc/group')).isCharacterDevice()).toBe(true)
})

step('what was made for mounts leaves nothing, not even a time', async () => {
  const secret = {
    kind: 'bytes',
    target: '/etc/deep/token',
    bytes: Buffer.from('hunter2'),
    mode: 0o400,
    uid: 0,
    gid: 0,
  } as const
  const before = statSync(join(shop.base, 'etc')).mtimeMs
  const { stdout, changed, upper } = await shop.run('cat /etc/deep/token; stat -c %a /etc/deep/token', {
    mounts: [secret],
  })
  expect(stdout).toBe('hunter2400\n')
  expect(changed).toEqual(['etc'])
  expect(statSync(join(upper, 'etc')).mtimeMs).toBe(before)
  expect(await shop.run('ls -d /proc /sys/class /dev/null')).toMatchObject({ exitCode: 0, changed: [] })
})

step('exit codes, and commands that cannot start', async () => {
  expect(await shop.run('exit 7')).toMatchObject({ exitCode: 7 })
  expect(await shop.run(['nowhere'])).toMatchObject({ exitCode: 127, reason: 'not-found', file: 'nowhere' })
  expect(await shop.run(['/etc/passwd'])).toMatchObject({
    exitCode: 126,
    reason: 'not-executable',
    file: '/etc/passwd',
  })
})

step('a directory of this machine, read-only and not', async () => {
  const cache = join(shop.folder, 'cache')
  mkdirSync(cache)
  writeFileSync(join(cache, 'old'), 'old\n')
  const mounts = (readOnly: boolean) => [{ kind: 'directory', source: cache, target: '/cache', readOnly } as const]
  expect(await shop.run('cat /cache/old; echo new > /cache/new', { mounts: mounts(false) })).toMatchObject({
    exitCode: 0,
    stdout: 'old\n',
  })
  expect(readFileSync(join(cache, 'new'), 'utf8')).toBe('new\n')
  expect(await shop.run('rm /cache/old', { mounts: mounts(true) })).toMatchObject({ exitCode: 1 })
})

step('an abort ends the step at once', async () => {
  const controller = new AbortController()
  const started = Date.now()
  setTimeout(() => controller.abort(), 300)
  const error = await shop.run('sleep 100 & sleep 100', {}, controller.signal).catch(caught => caught)
  expect(error).toMatchObject({ code: 'CANCELLED' })
  expect(Date.now() - started).toBeLessThan(20_000)
})

function cgroups(): string[] {
  return readdirSync('/sys/fs/cgroup', { recursive: true, encoding: 'utf8' }).filter(
    name => name.includes(`archimage-${process.pid}-`) && !/-[^/]*\//.test(name),
  )
}

step('limits of memory, CPU and processes hold, and their cgroups are gone afterwards', async () => {
  const MB = 1 << 20
  const before = cgroups()
  // That of the run, which has a share of the machine's processes, unless this test is in somebody's cgroup itself.
  if (/^\d+:pids:\/$/m.test(readFileSync('/proc/self/cgroup', 'utf8'))) {
    expect(before).toHaveLength(1)
    const most = Number(readFileSync(join('/sys/fs/cgroup', before[0]!, 'pids.max'), 'utf8'))
    expect(most).toBeLessThan(Number(readFileSync('/proc/sys/kernel/threads-max', 'utf8')) / 5)
  }
  const hungry = await shop.run('head -c 200000000 /dev/zero | tail -c 190000000 | wc -c', {
    limits: { memory: 32 * MB, memorySwap: 32 * MB },
  })
  expect(hungry).toMatchObject({ stdout: expect.not.stringContaining('190000000') })
  expect(
    await shop.run('head -c 200000000 /dev/zero | tail -c 190000000 | false', { limits: { memory: 32 * MB } }),
  ).toMatchObject({
    reason: 'out-of-memory',
  })
  const bomb = 'for i in $(seq 100); do sleep 5 & done; wait'
  expect(await shop.run(bomb, { limits: { pids: 20 } })).toMatchObject({ reason: 'out-of-processes' })
  expect(await shop.run('nproc', { limits: { cpusetCpus: '0' } })).toMatchObject({ stdout: '1\n' })
  expect(cgroups()).toEqual(before)
})
