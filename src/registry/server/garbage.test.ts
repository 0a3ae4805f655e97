import { afterEach, beforeEach, expect, test } from 'bun:test'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Digest, sha256 } from '../../oci/digest.ts'
import { collectGarbage } from './garbage.ts'
import { startRegistry } from './start.ts'
import { Storage } from './storage.ts'

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const INDEX = 'application/vnd.oci.image.index.v1+json'
const HOURS = 3600

let dir: string
let storage: Storage
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'archimage-test-'))
  storage = new Storage(dir)
  mkdirSync(storage.uploads)
})
afterEach(() => rmSync(dir, { recursive: true }))

function addBlob(repository: string, text: string): Digest {
  const file = join(storage.uploads, 'x')
  writeFileSync(file, text)
  storage.addBlob(repository, sha256(text), file)
  return sha256(text)
}

function addManifest(repository: string, value: object, tag?: string, mediaType = MANIFEST): Digest {
  const bytes = Buffer.from(JSON.stringify(value))
  const digest = sha256(bytes)
  storage.putManifest(repository, { mediaType, digest, bytes })
  if (tag !== undefined) storage.putTag(repository, tag, digest)
  return digest
}

const image = (...blobs: Digest[]) => ({ mediaType: MANIFEST, layers: blobs.map(digest => ({ digest })) })

/** Everything becomes two hours old. */
function age(): void {
  const time = Date.now() / 1000 - 2 * HOURS
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) utimesSync(join(entry.parentPath, entry.name), time, time)
}

test('blobs that no manifest of their repository names go, the others stay', async () => {
  const [used, lost] = [addBlob('a', 'used'), addBlob('a', 'lost')]
  addBlob('b', 'used')
  addManifest('a', image(used), 'v1')
  addManifest('a', { mediaType: MANIFEST, annotations: { see: addBlob('a', 'noted') } })
  expect(await collectGarbage(storage)).toEqual({ manifests: 0, blobs: 0, bytes: 0 })
  age()
  const young = addBlob('a', 'young')
  const expected = { manifests: 0, blobs: 2, bytes: 4 }
  expect(await collectGarbage(storage, { dryRun: true })).toEqual(expected)
  expect(storage.blob('a', lost)).toBeDefined()
  expect(await collectGarbage(storage)).toEqual(expected)
  const left = ['used', 'lost', 'young', 'noted'].map(text => storage.blob('a', sha256(text)) !== undefined)
  expect(left).toEqual([true, false, true, true])
  expect(storage.blob('b', used)).toBeUndefined()
  expect(storage.blob('a', young)?.size).toBe(5)
  expect(existsSync(join(dir, 'blobs/sha256', lost.slice(7)))).toBe(false)
})

test('manifests without a tag go only when that is wanted, with all that they named', async () => {
  const [config, layer, shared] = [addBlob('a', 'config'), addBlob('a', 'layer'), addBlob('a', 'shared')]
  const child = addManifest('a', image(config, shared))
  const index = addManifest('a', { mediaType: INDEX, manifests: [{ digest: child }] }, 'v1', INDEX)
  const lost = addManifest('a', image(layer, shared))
  const lostIndex = addManifest('a', { mediaType: INDEX, manifests: [{ digest: lost }] }, undefined, INDEX)
  const signature = (subject: Digest) => {
    const digest = addManifest('a', { mediaType: MANIFEST, subject: { digest: subject } })
    storage.putReferrer('a', subject, digest, { digest })
    return digest
  }
  const [good, bad] = [signature(child), signature(lostIndex)]
  age()
  expect(await collectGarbage(storage)).toMatchObject({ manifests: 0, blobs: 0 })
  expect(await collectGarbage(storage, { untagged: true })).toEqual({ manifests: 3, blobs: 1, bytes: 5 })
  for (const digest of [child, index, good]) expect(storage.manifest('a', digest)).toBeDefined()
  for (const digest of [lost, lostIndex, bad]) expect(storage.manifest('a', digest)).toBeUndefined()
  expect(storage.allReferrers('a').map(({ from }) => from)).toEqual([good])
  expect(storage.blob('a', shared)).toBeDefined()
})

test('the time of a manifest without a tag begins when it loses the last one', async () => {
  const first = addManifest('a', image(addBlob('a', 'first')), 'v1')
  const second = addManifest('a', image(addBlob('a', 'second')), 'v2')
  age()
  storage.putTag('a', 'v1', second)
  storage.deleteTag('a', 'v2')
  expect(await collectGarbage(storage, { untagged: true })).toEqual({ manifests: 0, blobs: 0, bytes: 0 })
  age()
  expect(await collectGarbage(storage, { untagged: true })).toMatchObject({ manifests: 1, blobs: 1 })
  expect(storage.manifest('a', first)).toBeUndefined()
})

test('what a client asks for while the search runs is spared, with all that it names', async () => {
  const blob = addBlob('a', 'layer')
  const child = addManifest('a', image(blob))
  const index = addManifest('a', { mediaType: INDEX, manifests: [{ digest: child }] }, undefined, INDEX)
  const asked = addBlob('a', 'asked')
  const lost = addBlob('a', 'lost')
  age()
  class Late extends Storage {
    override alone<T>(work: () => T): T {
      this.steady(() => this.keepManifest('a', index) && this.keepBlob('a', asked))
      return super.alone(work)
    }
  }
  expect(await collectGarbage(new Late(dir), { untagged: true })).toMatchObject({ manifests: 0, blobs: 1 })
  for (const digest of [child, index]) expect(storage.manifest('a', digest)).toBeDefined()
  expect([blob, asked, lost].map(digest => storage.blob('a', digest) !== undefined)).toEqual([true, true, false])
})

test('what a killed push left under blobs/ goes', async () => {
  addBlob('a', 'x')
  mkdirSync(join(dir, 'blobs/sha256'), { recursive: true })
  const stray = join(dir, 'blobs/sha256', sha256('stray').slice(7))
  writeFileSync(stray, 'stray')
  age()
  expect(await collectGarbage(storage)).toEqual({ manifests: 0, blobs: 1, bytes: 6 })
  expect(existsSync(stray)).toBe(false)
})

/** A process that collects again and again, with the shortest delay. */
function collector(): ChildProcess {
  const program = `
    const { collectGarbage } = await import(${JSON.stringify(join(import.meta.dirname, 'garbage.ts'))})
    const { Storage } = await import(${JSON.stringify(join(import.meta.dirname, 'storage.ts'))})
    for (;;) {
      const got = await collectGarbage(new Storage(process.argv[1]), { delay: 0, untagged: true })
      if (got?.blobs) console.log(got.blobs)
      await new Promise(resolve => setTimeout(resolve, 2))
    }`
  return spawn(process.execPath, ['-e', program, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
}

test('pushes, a collector in another process, and kill -9 of it: no tag ever lacks anything', async () => {
  const registry = await startRegistry({ dir, port: 0 })
  let child = collector()
  let collected = 0
  const watch = () => child.stdout!.on('data', data => (collected += String(data).length))
  watch()
  const call = (method: string, path: string, body?: string, headers: Record<string, string> = {}) =>
    fetch(`${registry.url}/v2/${path}`, { method, headers, ...(body === undefined ? {} : { body }) })
  const [least, most] = [Date.now() + 2500, Date.now() + 15_000]
  const goOn = () => Date.now() < (collected > 0 ? least : most)
  let pushed = 0
  const push = async (worker: number) => {
    for (let i = 0; goOn(); i++) {
      const config = `{"n":${worker % 2},"i":${i % 7}}`
      const digest = sha256(config)
      const asked = Date.now()
      if ((await call('HEAD', `r/blobs/${digest}`)).status === 404)
        expect((await call('POST', `r/blobs/uploads/?digest=${digest}`, config)).status).toBe(201)
      await sleep(worker * 10)
      const descriptor = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: config.length }
      const manifest = JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, config: descriptor, layers: [] })
      const put = await call('PUT', `r/manifests/t${worker}`, manifest, { 'content-type': MANIFEST })
      // On a machine that stood still for longer than the delay of the collector, this is no fault.
      if (put.status === 404 && Date.now() - asked > 900) continue
      expect([put.status, put.ok ? '' : await put.text()]).toEqual([201, ''])
      const back = await call('GET', `r/manifests/t${worker}`)
      expect(await back.text()).toBe(manifest)
      expect(await (await call('GET', `r/blobs/${digest}`)).text()).toBe(config)
      pushed++
      if (i % 5 === 4) expect((await call('DELETE', `r/manifests/t${worker}`)).status).toBe(202)
      // So that things get old.
      if (i % 9 === 8) await sleep(1200)
    }
  }
  const killer = async () => {
    while (goOn()) {
      await sleep(600)
      child.kill('SIGKILL')
      child = collector()
      watch()
    }
  }
  await Promise.all([killer(), ...Array.from({ length: 6 }, (_, worker) => push(worker))])
  child.kill('SIGKILL')
  await registry.close()
  expect(pushed).toBeGreaterThan(0)
  expect(collected).toBeGreaterThan(0)
  expect(statSync(join(dir, 'lock')).isFile()).toBe(true)
}, 30_000)
