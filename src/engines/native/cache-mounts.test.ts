import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { spawn } from 'node:child_process'
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CacheMount, CacheMounts } from './cache-mounts.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'archimage-mounts-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const never = new AbortController().signal
const mount = (sharing: CacheMount['sharing'], more: Partial<CacheMount> = {}): CacheMount => ({
  ...{ kind: 'cache', target: '/c', id: 'id', sharing, from: { kind: 'scratch' }, path: '/', readOnly: false },
  ...more,
})

describe('sharing', () => {
  test('shared: all at once in one directory', async () => {
    const mounts = new CacheMounts(root)
    const [one, two] = [
      await mounts.take(mount('shared'), undefined, never),
      await mounts.take(mount('shared'), undefined, never),
    ]
    expect(two.path).toBe(one.path)
    writeFileSync(join(one.path, 'file'), 'x')
    one.release()
    two.release()
    const three = await new CacheMounts(root).take(mount('shared'), undefined, never)
    expect(readFileSync(join(three.path, 'file'), 'utf8')).toBe('x')
  })

  test('private: each has its own while another one runs, and takes one that is free', async () => {
    const mounts = new CacheMounts(root)
    const one = await mounts.take(mount('private'), undefined, never)
    const two = await mounts.take(mount('private'), undefined, never)
    expect(two.path).not.toBe(one.path)
    one.release()
    const three = await mounts.take(mount('private'), undefined, never)
    expect(three.path).toBe(one.path)
  })

  test('locked: one waits for the other, and gives up when it is told to', async () => {
    const mounts = new CacheMounts(root)
    const one = await mounts.take(mount('locked'), undefined, never)
    let got: string | undefined
    const waiting = mounts.take(mount('locked'), undefined, never).then(two => {
      got = two.path
      two.release()
    })
    const impatient = new AbortController()
    const refused = mounts.take(mount('locked'), undefined, impatient.signal).catch(error => error.code)
    impatient.abort()
    expect(await refused).toBe('CANCELLED')
    expect(got).toBeUndefined()
    one.release()
    await waiting
    expect(got).toBe(one.path)
    // A mount that is shared otherwise goes aside meanwhile.
    const held = await mounts.take(mount('locked'), undefined, never)
    expect((await mounts.take(mount('shared'), undefined, never)).path).not.toBe(held.path)
  })

  test('also between processes; one that was killed holds nothing', async () => {
    const script = `
      import { CacheMounts } from ${JSON.stringify(join(import.meta.dir, 'cache-mounts.ts'))}
      const mount = { kind: 'cache', target: '/c', id: 'id', sharing: 'locked', from: { kind: 'scratch' }, path: '/' }
      await new CacheMounts(${JSON.stringify(root)}).take(mount, undefined, new AbortController().signal)
      console.log('taken')
      setInterval(() => {}, 1000)`
    writeFileSync(join(root, 'holder.ts'), script)
    const holder = spawn(process.execPath, [join(root, 'holder.ts')], { stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise(resolve => holder.stdout.once('data', resolve))
    const mounts = new CacheMounts(root)
    const waiting = mounts.take(mount('locked'), undefined, never)
    const first = await Promise.race([waiting, Bun.sleep(150).then(() => 'waits')])
    expect(first).toBe('waits')
    holder.kill('SIGKILL')
    expect(existsSync((await waiting).path)).toBe(true)
  })
})

describe('what one is', () => {
  test('another id, owner or beginning is another directory', async () => {
    const mounts = new CacheMounts(root)
    const owner = { mode: 0o700, uid: process.getuid!(), gid: process.getgid!() }
    const seed = { key: 'k', fill: async (dir: string) => writeFileSync(join(dir, 'begun'), 'x') }
    const all = [
      await mounts.take(mount('shared'), undefined, never),
      await mounts.take(mount('shared', { id: 'other' }), undefined, never),
      await mounts.take(mount('shared', { owner }), undefined, never),
      await mounts.take(mount('shared'), seed, never),
    ]
    expect(new Set(all.map(({ path }) => path)).size).toBe(4)
    expect(all.map(({ path }) => lstatSync(path).mode & 0o777)).toEqual([0o755, 0o755, 0o700, 0o755])
    expect(readdirSync(all[3]!.path)).toEqual(['begun'])
  })

  test('a beginning that fails leaves nothing that looks like one', async () => {
    const mounts = new CacheMounts(root)
    const seed = (fill: () => Promise<void>) => ({ key: 'k', fill })
    const failing = mounts.take(
      mount('shared'),
      seed(() => Promise.reject(new Error('no'))),
      never,
    )
    expect(await failing.catch(error => (error as Error).message)).toBe('no')
    const made = await mounts.take(
      mount('shared'),
      seed(async () => {}),
      never,
    )
    expect(readdirSync(made.path)).toEqual([])
  })

  test('ids are words of strangers: nothing is made outside', async () => {
    const mounts = new CacheMounts(join(root, 'mounts'))
    const { path } = await mounts.take(mount('shared', { id: '../../../x\0/y' }), undefined, never)
    expect(path.startsWith(join(root, 'mounts/'))).toBe(true)
    expect(readdirSync(root)).toEqual(['mounts'])
  })
})
