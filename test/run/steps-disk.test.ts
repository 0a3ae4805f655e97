import { expect } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { requirePeers } from '../peers/require.ts'
import { resultOf, Sandbox } from './command.ts'
import { cellOf, withBusybox } from './steps.ts'

const sandbox = new Sandbox('steps-disk')
withBusybox(sandbox)

const test = requirePeers('root', 'busybox')

const app = (name: string, command: string): string =>
  sandbox.project(name, {
    'archimage.yaml': 'platforms: [linux/amd64]\n',
    'src/app/Dockerfile': `FROM busybox:1\nRUN ${command}\n`,
  })

test('a step that fills the disk fails by its line, whatever it says of it; the store is as it was', async () => {
  const home = join(sandbox.folder, 'small')
  mkdirSync(home)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=48m,mode=0700', 'tmpfs', home])
  try {
    const env = { ARCHIMAGE_HOME: home }
    const open = app('open', 'head -c 1000m /dev/zero > /big')
    expect((await sandbox.run(['build'], { cwd: open, env })).code).toBe(1)
    expect(cellOf(open).failure).toMatchObject({
      ...{ code: 'STEP_FAILED', line: 2, message: expect.stringContaining('no space left on the disk') },
    })
    expect(resultOf(open).warnings.join()).toMatch(/head -c 1000m .*is nearly full: \d+ MB are left/)
    const hidden = app('hidden', 'head -c 1000m /dev/zero > /big 2> /dev/null; true')
    expect((await sandbox.run(['build'], { cwd: hidden, env })).code).not.toBe(0)
    expect(cellOf(hidden).failure).toMatchObject({ code: 'NO_SPACE', line: 2 })
    expect(readdirSync(join(home, 'tmp'))).toEqual([])
    await sandbox.must(['build'], { cwd: app('modest', 'echo 1 > /small'), env })
  } finally {
    execFileSync('umount', [home])
  }
})

test('with a limit a step cannot write more than the store keeps, and a run leaves no more than that', async () => {
  const env = { ARCHIMAGE_HOME: join(sandbox.folder, 'limited'), ARCHIMAGE_STORE_LIMIT: '10MB' }
  const greedy = app('greedy', 'head -c 30m /dev/urandom > /big; sleep 600')
  expect((await sandbox.run(['build'], { cwd: greedy, env })).code).toBe(3)
  expect(cellOf(greedy).failure).toMatchObject({
    ...{ code: 'NO_SPACE', line: 2, message: expect.stringContaining('(0.01 GB)') },
    hint: expect.stringContaining('ARCHIMAGE_STORE_LIMIT'),
  })
  // Short ones are measured when they have ended.
  const quick = app('quick', 'head -c 12m /dev/urandom > /big')
  expect((await sandbox.run(['build'], { cwd: quick, env })).code).toBe(3)
  const said: string[] = []
  for (const n of [1, 2, 3])
    said.push((await sandbox.must(['build'], { cwd: app('some', `head -c 5m /dev/urandom > /${n}`), env })).stderr)
  expect(said[0]).not.toContain('freed')
  expect(said[2]).toMatch(/the store kept more than 10\.0 MB: freed \d/)
  const { reclaimable } = JSON.parse((await sandbox.must(['cache', 'du', '--json'], { env })).stdout)
  expect(reclaimable).toBeLessThan(10e6)
  const wrong = await sandbox.run(['build'], { cwd: greedy, env: { ...env, ARCHIMAGE_STORE_LIMIT: 'much' } })
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('ARCHIMAGE_STORE_LIMIT=much is not a size')])
})
