import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Lock, lockFile, tryPidLock } from './locks.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'archimage-locks-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const ways: Record<string, (mode: 'shared' | 'exclusive') => Lock | undefined> = {
  'the way of this system': mode => lockFile(join(dir, 'lock'), mode),
  'one file per holder': mode => {
    const lock = tryPidLock(join(dir, 'lock.d'), mode)
    return lock === 'held' ? undefined : lock
  },
}

for (const [name, take] of Object.entries(ways))
  test(`many shared or one exclusive: ${name}`, () => {
    const one = take('shared')!
    const two = take('shared')!
    expect(take('exclusive')).toBeUndefined()
    one.release()
    one.release()
    expect(take('exclusive')).toBeUndefined()
    two.release()
    const alone = take('exclusive')!
    expect(take('exclusive')).toBeUndefined()
    expect(take('shared')).toBeUndefined()
    alone.release()
    const last = take('shared')
    expect(last).toBeDefined()
    last!.release()
  })

test('holders that are gone do not count without flock', () => {
  const path = join(dir, 'lock.d')
  const dead = spawnSync(process.execPath, ['-e', 'console.log(process.pid)']).stdout.toString().trim()
  expect(tryPidLock(path, 'shared')).not.toBe('held')
  for (const name of readdirSync(path)) rmSync(join(path, name))
  writeFileSync(join(path, `exclusive-${dead}-0123456789ab.tmp`), '')
  writeFileSync(join(path, 'a file of somebody'), '')
  const lock = tryPidLock(path, 'exclusive')
  expect(lock).not.toBe('held')
  ;(lock as Lock).release()
  expect(readdirSync(path)).toEqual(['a file of somebody'])
})

test('a lock file that was removed meanwhile is noticed', () => {
  const path = join(dir, 'lock')
  const old = lockFile(path, 'exclusive')!
  rmSync(path)
  const lock = lockFile(path, 'exclusive')!
  expect(lock).toBeDefined()
  expect(lockFile(path, 'exclusive')).toBeUndefined()
  old.release()
  expect(lockFile(path, 'exclusive')).toBeUndefined()
  lock.release()
})

test('waits as long as it was told, and gives up', () => {
  const path = join(dir, 'lock')
  const held = lockFile(path, 'exclusive')!
  const start = performance.now()
  expect(lockFile(path, 'shared', 60)).toBeUndefined()
  expect(performance.now() - start).toBeGreaterThan(50)
  held.release()
})

describe('across processes', () => {
  test('held by another process, free when that is killed', async () => {
    const path = join(dir, 'lock')
    const code = `const { lockFile } = require(${JSON.stringify(join(import.meta.dirname, 'locks.ts'))})
      lockFile(${JSON.stringify(path)}, 'exclusive'); console.log('held'); setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise(done => child.stdout.once('data', done))
    expect(lockFile(path, 'shared')).toBeUndefined()
    child.kill('SIGKILL')
    await new Promise(done => child.once('exit', done))
    const lock = lockFile(path, 'exclusive', 2000)
    expect(lock).toBeDefined()
    lock!.release()
  })
})
