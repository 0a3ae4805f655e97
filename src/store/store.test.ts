import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isArchimageError } from '../errors/error.ts'
import { type Digest, sha256 } from '../oci/digest.ts'
import { describe as descriptorOf } from '../oci/manifest.ts'
import { storeHome } from './home.ts'
import { openStore, type Store } from './store.ts'
import { putImage, putIndex } from './testing/images.ts'
import { readLayout } from './testing/read-layout.ts'

const AMD64 = { os: 'linux', architecture: 'amd64' }
const ARM64 = { os: 'linux', architecture: 'arm64' }
const DAY = 86_400_000

let base: string
let home: string
let store: Store
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'archimage-store-'))
  home = join(base, 'store')
  store = openStore({ home })
})
afterEach(() => {
  store.close()
  rmSync(base, { recursive: true, force: true })
})

function codeOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (isArchimageError(error)) {
      expect(error.hint).toBeString()
      return error.code
    }
    throw error
  }
  return 'none'
}

async function bytesOf(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of stream) parts.push(part)
  return Buffer.concat(parts)
}

function age(path: string, days: number): void {
  const then = (Date.now() - days * DAY) / 1000
  utimesSync(path, then, then)
}

describe('where the store is', () => {
  test('by the environment', () => {
    expect(storeHome({ ARCHIMAGE_HOME: '/somewhere', XDG_DATA_HOME: '/data' })).toBe('/somewhere')
    const root = process.geteuid?.() === 0
    expect(storeHome({ XDG_DATA_HOME: '/data', HOME: '/home/me' })).toBe(
      root ? '/var/lib/archimage' : '/data/archimage',
    )
  })

  test('it is made for its owner only, as an OCI layout', () => {
    expect(statSync(home).mode & 0o777).toBe(0o700)
    expect(readLayout(home).names.size).toBe(0)
  })

  test('a directory with other things in it is refused and left alone', () => {
    const other = join(base, 'project')
    mkdirSync(other)
    writeFileSync(join(other, 'main.go'), 'package main')
    expect(codeOf(() => openStore({ home: other }))).toBe('STORE_BROKEN')
    expect(readdirSync(other)).toEqual(['main.go'])
    expect(codeOf(() => openStore({ home: join(other, 'main.go') }))).toBe('STORE_BROKEN')
  })

  test('a layout that another tool made becomes a store; one of another version does not', () => {
    const other = join(base, 'layout')
    mkdirSync(other)
    writeFileSync(join(other, 'oci-layout'), '{"imageLayoutVersion": "1.0.0"}')
    writeFileSync(join(other, 'index.json'), '{"schemaVersion":2,"manifests":[]}')
    const opened = openStore({ home: other })
    opened.tag('demo/app', descriptorOf(putImage(opened, 'x')), 'built')
    opened.close()
    expect(readLayout(other).names.size).toBe(1)
    for (const text of ['{"imageLayoutVersion":"2.0.0"}', '', '[]']) {
      writeFileSync(join(other, 'oci-layout'), text)
      expect(codeOf(() => openStore({ home: other }))).toBe('STORE_BROKEN')
    }
  })

  test.skipIf(process.geteuid?.() !== 0)('a store of another user is refused', () => {
    store.close()
    chownSync(home, 4711, 4711)
    expect(codeOf(() => openStore({ home }))).toBe('STORE_OWNER')
    chownSync(home, 0, 0)
  })
})

describe('blobs', () => {
  test('come back as they were put', async () => {
    const bytes = Buffer.from('hello')
    const digest = store.put(bytes)
    // sha256sum of "hello"
    expect(digest).toBe('sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824')
    expect(store.read(digest)).toEqual(bytes)
    expect(store.has(digest)).toBe(true)
    expect(store.has(digest, 4)).toBe(false)
    expect(await bytesOf(store.open({ digest, size: 5 }))).toEqual(bytes)
    expect((await bytesOf(store.open({ digest, size: 5 }, { start: 2 }))).toString()).toBe('llo')
    expect((await bytesOf(store.open({ digest, size: 5 }, { start: 5 }))).length).toBe(0)
    const file = store.openFile(digest)
    expect(Buffer.from(file.read(1, 3)).toString()).toBe('ell')
    expect(Buffer.from(file.read(3, 30)).toString()).toBe('lo')
    file.close()
  })

  test('of any size and cut in any way are the same when streamed', async () => {
    for (const size of [0, 1, 511 * 1024, 512 * 1024, 1024 * 1024, 1_500_001]) {
      const bytes = Buffer.alloc(size, 'abcdefg')
      const writer = store.create()
      for (let at = 0, step = 1; at < size; at += step, step = (step * 7) % 400_009)
        writer.write(bytes.subarray(at, at + step))
      expect(writer.commit({ digest: sha256(bytes), size }).digest).toBe(sha256(bytes))
      const blob = { digest: sha256(bytes), size }
      expect((await bytesOf(store.open(blob))).equals(bytes)).toBe(true)
      const start = Math.floor(size * 0.7)
      expect((await bytesOf(store.open(blob, { start }))).equals(bytes.subarray(start))).toBe(true)
    }
    expect(readdirSync(join(home, 'tmp'))).toEqual([])
  })

  test('by sha512 too', () => {
    const bytes = Buffer.from('hello')
    const digest = store.put(bytes, 'sha512')
    expect(digest).toStartWith('sha512:9b71d224bd62f3785d96d46ad3ea3d73')
    expect(store.read(digest)).toEqual(bytes)
  })

  test('that are not what was promised never appear', () => {
    const writer = store.create()
    writer.write(Buffer.from('something'))
    const wanted = sha256('else')
    expect(codeOf(() => writer.commit({ digest: wanted, size: 9 }))).toBe('DIGEST_MISMATCH')
    const second = store.create()
    second.write(Buffer.from('more'))
    expect(codeOf(() => second.commit({ digest: sha256('more'), size: 3 }))).toBe('DIGEST_MISMATCH')
    const third = store.create()
    third.write(Buffer.alloc(1_000_000))
    third.abort()
    expect(readLayout(home).blobs.size).toBe(0)
    expect(readdirSync(join(home, 'tmp'))).toEqual([])
  })

  test('that are missing are NOT_FOUND', () => {
    const digest = sha256('nothing')
    expect(codeOf(() => store.read(digest))).toBe('NOT_FOUND')
    expect(codeOf(() => store.open({ digest, size: 7 }))).toBe('NOT_FOUND')
    expect(codeOf(() => store.openFile(digest))).toBe('NOT_FOUND')
    expect(codeOf(() => store.tag('a', { mediaType: 'x', digest, size: 7 }, 'built'))).toBe('NOT_FOUND')
  })

  test('larger than the limit are not read', () => {
    const digest = store.put(Buffer.alloc(100))
    expect(codeOf(() => store.read(digest, 99))).toBe('MANIFEST_INVALID')
  })

  const damages: Record<string, (path: string) => void> = {
    flipped: path => {
      const bytes = readFileSync(path)
      const at = Math.floor(Math.random() * bytes.length)
      bytes[at] = bytes[at]! ^ (1 << Math.floor(Math.random() * 8))
      writeFileSync(path, bytes)
    },
    cut: path => truncateSync(path, statSync(path).size - 1),
    empty: path => truncateSync(path, 0),
    lengthened: path => writeFileSync(path, 'x', { flag: 'a' }),
  }
  for (const [name, damage] of Object.entries(damages))
    test(`every blob of an image, ${name}: noticed, and written again`, async () => {
      const index = putIndex(store, 'x'.repeat(600_000), [AMD64, ARM64])
      store.tag('demo/app', descriptorOf(index), 'built')
      const blobs = readdirSync(join(home, 'blobs/sha256')).map(hex => `sha256:${hex}` as Digest)
      expect(blobs.length).toBe(7)
      for (const digest of blobs) {
        const bytes = store.read(digest)
        damage(store.blobPath(digest))
        const streamed = await Promise.try(() => bytesOf(store.open({ digest, size: bytes.length }))).catch(e => e.code)
        expect(streamed).toBe('DIGEST_MISMATCH')
        if (store.has(digest)) expect(codeOf(() => store.read(digest))).toBe('DIGEST_MISMATCH')
        expect(store.list()[0]!.complete).toBe(false)
        expect(store.put(bytes)).toBe(digest)
        expect(store.read(digest)).toEqual(bytes)
      }
      expect(store.list()[0]!.complete).toBe(true)
      readLayout(home)
    })
})

describe('names', () => {
  test('are whole references; the last one counts; unknown entries stay', () => {
    const first = descriptorOf(putImage(store, 'one'), AMD64)
    const second = descriptorOf(putImage(store, 'two'))
    const foreign = { mediaType: second.mediaType, digest: second.digest, size: second.size, 'x-other': { a: 1 } }
    const path = join(home, 'index.json')
    writeFileSync(path, JSON.stringify({ schemaVersion: 2, manifests: [foreign], annotations: { who: 'else' } }))
    store.tag('nginx', first, 'pulled')
    store.tag('demo/app:1', first, 'built')
    store.tag('nginx:latest', second, 'tagged')
    expect(store.refs().map(({ name, origin }) => [name, origin])).toEqual([
      ['docker.io/library/nginx:latest', 'tagged'],
      ['docker.io/demo/app:1', 'built'],
    ])
    expect(store.ref('nginx')?.descriptor).toEqual(second)
    expect(store.ref('demo/app:1')?.descriptor).toEqual(first)
    expect(store.ref('demo/app:2')).toBeUndefined()
    expect(store.ref('NOT a reference')).toBeUndefined()
    const json = JSON.parse(readFileSync(path, 'utf8'))
    expect(json.manifests[0]).toEqual(foreign)
    expect(json.annotations).toEqual({ who: 'else' })
    expect(store.untag('nginx')).toBe(true)
    expect(store.untag('nginx')).toBe(false)
    expect(JSON.parse(readFileSync(path, 'utf8')).manifests.length).toBe(2)
  })

  test("written by others count as loaded, containerd's with its own name", () => {
    const { digest, size, mediaType } = descriptorOf(putImage(store, 'one'))
    const annotations = { 'org.opencontainers.image.ref.name': '1.0', 'io.containerd.image.name': 'ghcr.io/a/b:1.0' }
    const manifests = [
      { mediaType, digest, size, annotations },
      { mediaType, digest, size, annotations: { 'org.opencontainers.image.ref.name': 'plain' } },
      { mediaType, digest: 'sha256:odd', size, annotations },
    ]
    writeFileSync(join(home, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }))
    expect(store.refs().map(ref => [ref.name, ref.origin])).toEqual([
      ['ghcr.io/a/b:1.0', 'loaded'],
      ['plain', 'loaded'],
    ])
    expect(store.remove('plain').length).toBe(1)
  })

  test('pulling what was built here leaves it built; nothing is written when nothing changes', () => {
    const image = descriptorOf(putImage(store, 'one'))
    store.tag('demo/app', image, 'built')
    const before = statSync(join(home, 'index.json'), { bigint: true })
    store.tag('demo/app', image, 'pulled')
    store.tag('demo/app', image, 'built')
    expect(statSync(join(home, 'index.json'), { bigint: true }).ino).toBe(before.ino)
    expect(store.ref('demo/app')?.origin).toBe('built')
    store.tag('demo/app', descriptorOf(putImage(store, 'two')), 'pulled')
    expect(store.ref('demo/app')?.origin).toBe('pulled')
  })

  test('a damaged index is an error with a remedy', () => {
    writeFileSync(join(home, 'index.json'), '{"schemaVersion":2,"manif')
    expect(codeOf(() => store.refs())).toBe('STORE_BROKEN')
    expect(codeOf(() => store.tag('a', descriptorOf(putImage(store, 'a')), 'built'))).toBe('STORE_BROKEN')
    rmSync(join(home, 'index.json'))
    expect(store.refs()).toEqual([])
  })

  test('the list for ls', () => {
    const index = putIndex(store, 'layer', [AMD64, ARM64])
    store.tag('nginx:1.27', descriptorOf(index), 'pulled')
    const [image] = store.list()
    expect(image).toMatchObject({
      familiar: 'nginx:1.27',
      platforms: [AMD64, ARM64],
      created: '1980-02-01T00:00:00Z',
      complete: true,
    })
    const sizes = readdirSync(join(home, 'blobs/sha256')).map(name => statSync(join(home, 'blobs/sha256', name)).size)
    expect(image!.size).toBe(sizes.reduce((a, b) => a + b))
  })

  test('rm by name, by digest, with a suggestion', () => {
    const image = descriptorOf(putImage(store, 'one'))
    store.tagAll(['demo/api:1', 'demo/api:2', 'demo/web:1'].map(name => ({ name, descriptor: image, origin: 'built' })))
    expect(() => store.remove('demo/aip:1')).toThrow(expect.objectContaining({ hint: 'did you mean "demo/api:1"?' }))
    expect(store.remove('demo/web:1').length).toBe(1)
    expect(
      store
        .remove(image.digest.slice(7, 19))
        .map(ref => ref.name)
        .sort(),
    ).toEqual(['docker.io/demo/api:1', 'docker.io/demo/api:2'])
    expect(codeOf(() => store.remove(image.digest))).toBe('NOT_FOUND')
  })
})

describe('pruning', () => {
  test('keeps what has a name or a record, takes the rest', () => {
    const named = putIndex(store, 'named', [AMD64, ARM64])
    store.tag('demo/app', descriptorOf(named), 'built')
    const cached = putImage(store, 'cached')
    store.records.put('cell', 'key', { manifest: cached.digest })
    putImage(store, 'nothing keeps this')
    writeFileSync(join(home, 'tmp', '1-dead.tmp'), 'leavings')
    expect(readLayout(home).blobs.size).toBe(7 + 3 + 3)
    const dry = store.gc({ dryRun: true })
    expect(readLayout(home).blobs.size).toBe(13)
    const real = store.gc()
    expect(real).toEqual(dry)
    expect(real.removed.map(({ category, count }) => [category, count])).toEqual([
      ['unused', 3],
      ['temporary', 1],
    ])
    expect(readLayout(home).blobs.size).toBe(10)
    expect(store.records.get<{ manifest: Digest }>('cell', 'key')?.manifest).toBe(cached.digest)
    expect(store.gc().bytes).toBe(0)
    store.untag('demo/app')
    store.gc()
    expect([...readLayout(home).blobs].sort()).toEqual(
      [cached.digest, cached.config.digest, cached.layers[0]!.digest].sort(),
    )
  })

  test("all: only images of one's own stay", () => {
    store.tag('demo/app', descriptorOf(putImage(store, 'own')), 'built')
    store.tag('alpine', descriptorOf(putImage(store, 'base')), 'pulled')
    store.records.put('cell', 'a', putImage(store, 'cached').digest)
    store.records.putBlob('layer-index', 'a', Buffer.alloc(1000))
    const tar = store.createTar()
    tar.write(Buffer.alloc(10_240))
    const { digest } = tar.commit()
    expect(store.tar(digest)).toBe(join(home, 'tars/sha256', digest.slice(7)))
    const before = store.usage()
    expect(Object.fromEntries(before.categories.map(({ category, count }) => [category, count]))).toEqual({
      images: 3,
      bases: 3,
      layers: 3,
      unused: 0,
      binaries: 1,
      tars: 1,
      snapshots: 0,
      mounts: 0,
      records: 1,
      temporary: 0,
    })
    const pruned = store.prune({ all: true })
    expect(pruned.bytes).toBe(before.reclaimable)
    expect(pruned.names).toEqual(['docker.io/library/alpine:latest'])
    expect(store.usage()).toMatchObject({ reclaimable: 0, bytes: before.bytes - before.reclaimable })
    expect([...readLayout(home).names.keys()]).toEqual(['docker.io/demo/app:latest'])
    expect(readLayout(home).blobs.size).toBe(3)
    expect(store.records.get('cell', 'a')).toBeUndefined()
    expect(store.records.blob('layer-index', 'a')).toBeUndefined()
    expect(store.tar(digest)).toBeUndefined()
  })

  test('by age; reading something makes it new', () => {
    const old = putImage(store, 'old base')
    const fresh = putImage(store, 'fresh base')
    store.tag('old', descriptorOf(old), 'pulled')
    store.tag('fresh', descriptorOf(fresh), 'pulled')
    for (const image of [old, fresh]) age(store.blobPath(image.digest), 40)
    store.manifest(fresh.digest)
    expect(store.prune({ olderThan: 30 * DAY, dryRun: true }).names).toEqual(['docker.io/library/old:latest'])
    expect(store.prune({ olderThan: 50 * DAY }).bytes).toBe(0)
    expect(
      store.prune({ olderThan: 30 * DAY, filter: item => item.name !== 'docker.io/library/old:latest' }).bytes,
    ).toBe(0)
    expect(store.prune().names).toEqual(['docker.io/library/old:latest'])
    expect(store.has(old.digest)).toBe(false)
    expect(store.has(fresh.digest)).toBe(true)
  })

  test('to a size: the least recently used first, shared blobs only with the last that keeps them', () => {
    const images = [1, 2, 3].map(n => putImage(store, Buffer.alloc(100_000, n)))
    for (const [i, image] of images.entries()) {
      store.tag(`base:${i}`, descriptorOf(image), 'pulled')
      age(store.blobPath(image.digest), 10 - i)
    }
    store.records.put('cell', 'shares', { digest: images[0]!.digest })
    expect(store.prune({ keepBytes: 1_000_000 }).bytes).toBe(0)
    const { names, bytes } = store.prune({ keepBytes: 250_000 })
    expect(names).toEqual(['docker.io/library/base:0', 'docker.io/library/base:1'])
    expect(bytes).toBeGreaterThan(100_000)
    expect(images.map(image => store.has(image.digest))).toEqual([true, false, true])
    store.prune({ keepBytes: 0 })
    expect(readLayout(home).blobs.size).toBe(0)
  })

  test('waits for nobody who is at work, and says so', () => {
    const other = openStore({ home })
    const orphan = other.put(Buffer.from('will be tagged soon'))
    expect(codeOf(() => store.gc({ wait: 20 }))).toBe('STORE_BUSY')
    expect(codeOf(() => store.prune({ all: true, wait: 0 }))).toBe('STORE_BUSY')
    expect(other.has(orphan)).toBe(true)
    other.close()
    const writer = store.create()
    expect(codeOf(() => store.gc())).toBe('STORE_BUSY')
    writer.abort()
    expect(store.gc().removed).toEqual([{ category: 'unused', count: 1, bytes: 19 }])
  })

  test('leavings of a killed process go when the store is opened alone', () => {
    const left = join(home, 'tmp', '4711-000.tmp')
    writeFileSync(left, 'half')
    openStore({ home }).close()
    expect(existsSync(left)).toBe(true)
    store.close()
    openStore({ home }).close()
    expect(existsSync(left)).toBe(false)
  })
})

const tool = (name: string): boolean => spawnSync(name, ['--version']).error === undefined
const inCi = process.env['CI'] !== undefined && process.env['CI'] !== ''

describe('other tools read it in place', () => {
  test.skipIf(!tool('skopeo') && !inCi)('skopeo', () => {
    const image = putImage(store, 'not really a tar')
    store.tag('registry.example.com:5000/demo/app:1.0', descriptorOf(image), 'built')
    store.tag('demo/other', descriptorOf(putImage(store, 'another')), 'built')
    const source = `oci:${home}:registry.example.com:5000/demo/app:1.0`
    const raw = spawnSync('skopeo', ['inspect', '--raw', source])
    expect(raw.stderr.toString()).toBe('')
    expect(raw.stdout.equals(Buffer.from(image.raw))).toBe(true)
    const copied = spawnSync('skopeo', [
      '--insecure-policy',
      'copy',
      '--preserve-digests',
      source,
      `oci:${base}/copy:1.0`,
    ])
    expect(copied.stderr.toString()).toBe('')
    expect(readLayout(join(base, 'copy')).names.get('1.0')).toBe(image.digest)
    // And the other way: what skopeo puts in has a name here.
    spawnSync('skopeo', [
      '--insecure-policy',
      'copy',
      '--preserve-digests',
      `oci:${base}/copy:1.0`,
      `oci:${home}:demo/copied:2`,
    ])
    expect(store.ref('demo/copied:2')?.descriptor.digest).toBe(image.digest)
    expect(store.refs().map(ref => ref.origin)).toEqual(['built', 'built', 'loaded'])
  })

  test.skipIf(!tool('umoci') && !inCi)('umoci', () => {
    store.tag('demo/app:1.0', descriptorOf(putImage(store, 'x')), 'built')
    expect(spawnSync('umoci', ['ls', '--layout', home]).stdout.toString().trim()).toBe('docker.io/demo/app:1.0')
  })
})
