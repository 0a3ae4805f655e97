import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe as descriptorOf } from '../oci/manifest.ts'
import { openStore } from './store.ts'
import { putImage } from './testing/images.ts'
import { readLayout } from './testing/read-layout.ts'

const WORKER = join(import.meta.dirname, 'testing/worker.ts')

let base: string
beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'archimage-processes-'))
})
afterAll(() => rmSync(base, { recursive: true, force: true }))

function start(home: string, name: string, ...args: string[]): ChildProcess {
  return spawn(process.execPath, [WORKER, home, name, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
}

function ended(child: ChildProcess): Promise<{ code: number | null; signal: string | null; output: string }> {
  let output = ''
  child.stdout!.on('data', chunk => {
    output += chunk
  })
  return new Promise(done => child.on('close', (code, signal) => done({ code, signal, output })))
}

describe('several processes', () => {
  test('two name 200 images each at once: all are there', async () => {
    const home = join(base, 'tags')
    const ends = await Promise.all(['one', 'two'].map(name => ended(start(home, name, 'tag', '200'))))
    expect(ends.map(end => end.code)).toEqual([0, 0])
    const { names } = readLayout(home)
    expect(names.size).toBe(400)
    for (const name of ['one', 'two'])
      for (let i = 0; i < 200; i++) expect(names.has(`docker.io/demo/${name}:t${i}`)).toBe(true)
  }, 30_000)

  test('many open a store that does not exist yet: one store, nobody fails', async () => {
    for (let round = 0; round < 5; round++) {
      const home = join(base, `new-${round}`)
      const ends = await Promise.all(['a', 'b', 'c', 'd'].map(name => ended(start(home, name, 'tag', '3'))))
      expect(ends.map(end => end.code)).toEqual([0, 0, 0, 0])
      expect(readLayout(home).names.size).toBe(12)
    }
  }, 30_000)

  test('killed at any moment while they build, name, forget and prune: what was promised is there and whole', async () => {
    const home = join(base, 'kill')
    const promised = new Map<string, string>()
    const end = Date.now() + 4000
    let kills = 0
    const life = async (lane: number): Promise<void> => {
      // on a busy machine few live long enough to do something
      for (let n = 0; Date.now() < end || kills < 16 || promised.size < 31; n++) {
        const child = start(home, `w${lane}-${n}`, 'forever')
        const over = ended(child)
        setTimeout(() => child.kill('SIGKILL'), 60 + Math.random() * 400)
        const { output, signal } = await over
        expect(signal).toBe('SIGKILL')
        kills++
        for (const [, name, digest] of output.matchAll(/^tagged (\S+) (\S+)$/gm)) promised.set(name!, digest!)
        if (existsSync(join(home, 'oci-layout'))) readNames(home)
      }
    }
    await Promise.all([life(1), life(2), life(3)])
    const { names } = readLayout(home)
    for (const [name, digest] of promised) expect(names.get(name)).toBe(digest)
    const store = openStore({ home })
    expect(readdirSync(join(home, 'tmp'))).toEqual([])
    store.prune({ all: true })
    expect(store.list().every(image => image.complete)).toBe(true)
    store.close()
    const after = readLayout(home)
    expect(after.names).toEqual(names)
    expect(after.blobs.size).toBeLessThanOrEqual(names.size * 3)
  }, 60_000)

  /** While others are at work only the index can be judged: their blobs come and go. */
  function readNames(home: string): void {
    const store = openStore({ home })
    expect(store.refs().every(ref => store.has(ref.descriptor.digest, ref.descriptor.size))).toBe(true)
    store.close()
  }
})

const inCi = process.env['CI'] !== undefined && process.env['CI'] !== ''

describe('a full disk', () => {
  let mounted: string | undefined
  beforeAll(() => {
    const dir = join(base, 'disk')
    mkdirSync(dir)
    const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', dir])
    if (status === 0) mounted = dir
  })
  afterAll(() => {
    if (mounted !== undefined) spawnSync('umount', [mounted])
  })

  test('is said, leaves nothing half, and all goes on once there is room', () => {
    if (mounted === undefined) {
      if (inCi) throw new Error('a tmpfs could not be mounted for this test')
      console.warn('skipped: no right to mount a tmpfs')
      return
    }
    const home = join(mounted, 'store')
    const warnings: string[] = []
    const store = openStore({ home, warn: message => warnings.push(message) })
    const image = putImage(store, 'before')
    store.tag('demo/before', descriptorOf(image), 'built')
    const noSpace = expect.objectContaining({ code: 'NO_SPACE', hint: expect.stringContaining('prune') })
    const writer = store.create()
    expect(() => {
      for (let i = 0; i < 100; i++) writer.write(new Uint8Array(100_000))
    }).toThrow(noSpace)
    expect(readdirSync(join(home, 'tmp'))).toEqual([])
    for (const size of [64 * 1024, 4096])
      try {
        for (let i = 0; ; i++) writeFileSync(join(mounted, `ballast-${size}-${i}`), new Uint8Array(size))
      } catch {}
    expect(() => store.put(new Uint8Array(10_000).fill(1))).toThrow(noSpace)
    expect(() => store.tag('demo/full', descriptorOf(image), 'built')).toThrow(noSpace)
    store.records.put('cell', 'a', 'x'.repeat(100_000))
    store.records.putBlob('layer-index', 'a', new Uint8Array(100_000))
    store.records.flush()
    expect(warnings.length).toBeGreaterThan(0)
    expect(store.records.get('cell', 'a')).toBeUndefined()
    expect(store.records.blob('layer-index', 'a')).toBeUndefined()
    expect([...readLayout(home).names.keys()]).toEqual(['docker.io/demo/before:latest'])
    for (const name of readdirSync(mounted)) if (name.startsWith('ballast')) rmSync(join(mounted, name))
    store.tag('demo/full', descriptorOf(putImage(store, 'after')), 'built')
    store.records.put('cell', 'a', 1)
    store.close()
    expect(readLayout(home).names.size).toBe(2)
    const again = openStore({ home })
    expect(again.records.get('cell', 'a')).toBe(1)
    again.close()
  })
})
