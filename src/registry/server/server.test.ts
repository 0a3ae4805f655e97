import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Registry, startRegistry } from './start.ts'

const sha = (bytes: Uint8Array | string, algorithm = 'sha256') =>
  `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'
const EMPTY = '{}'

let dir: string
let registry: Registry
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'archimage-test-'))
  registry = await startRegistry({ dir, port: 0 })
})
afterAll(async () => {
  await registry.close()
  rmSync(dir, { recursive: true })
})

const call = (method: string, path: string, body?: BodyInit, headers: Record<string, string> = {}, at = registry) =>
  fetch(`${at.url}/v2/${path}`, { method, headers, redirect: 'manual', ...(body === undefined ? {} : { body }) })
const code = async (response: Response) =>
  ((await response.json()) as { errors: { code: string; detail?: unknown }[] }).errors[0]

async function pushBlob(repository: string, bytes: Uint8Array | string, at = registry): Promise<string> {
  const digest = sha(bytes)
  const response = await call('POST', `${repository}/blobs/uploads/?digest=${digest}`, bytes as BodyInit, {}, at)
  expect(response.status).toBe(201)
  return digest
}

function image(config: string, extra: object = {}): string {
  const descriptor = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: sha(config), size: config.length }
  return JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config: descriptor, layers: [], ...extra })
}

const putManifest = (repository: string, reference: string, manifest: string, type = OCI_MANIFEST, at = registry) =>
  call('PUT', `${repository}/manifests/${reference}`, manifest, { 'content-type': type }, at)

describe('blobs', () => {
  test('whole, by range, and by HEAD', async () => {
    const digest = await pushBlob('blobs/one', '0123456789')
    const head = await call('HEAD', `blobs/one/blobs/${digest}`)
    expect(head.headers.get('content-length')).toBe('10')
    expect(head.headers.get('docker-content-digest')).toBe(digest)
    const get = (range: string) => call('GET', `blobs/one/blobs/${digest}`, undefined, { range })
    const whole = await call('GET', `blobs/one/blobs/${digest}`)
    expect([await whole.text(), whole.headers.get('content-length')]).toEqual(['0123456789', '10'])
    const part = await get('bytes=2-4')
    expect([part.status, await part.text(), part.headers.get('content-range')]).toEqual([206, '234', 'bytes 2-4/10'])
    expect(await (await get('bytes=7-')).text()).toBe('789')
    expect(await (await get('bytes=-2')).text()).toBe('89')
    expect(await (await get('bytes=8-99')).text()).toBe('89')
    const beyond = await get('bytes=10-')
    expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, 'bytes */10'])
    const several = await get('bytes=0-1,3-4')
    expect([several.status, await several.text()]).toEqual([200, '0123456789'])
  })

  test('a repository serves only what it has; a mount makes it have more', async () => {
    const digest = await pushBlob('mount/from', 'to be mounted')
    expect((await call('HEAD', `mount/to/blobs/${digest}`)).status).toBe(404)
    const elsewhere = await call('POST', `mount/to/blobs/uploads/?mount=${digest}&from=mount/nowhere`)
    expect(elsewhere.status).toBe(202)
    expect((await call('POST', `mount/to/blobs/uploads/?mount=${digest}&from=mount/from`)).status).toBe(201)
    expect(await (await call('GET', `mount/to/blobs/${digest}`)).text()).toBe('to be mounted')
  })

  test('the content goes with the last repository that has it', async () => {
    const digest = await pushBlob('gone/a', 'soon gone')
    await pushBlob('gone/b', 'soon gone')
    const file = join(dir, 'blobs/sha256', digest.slice(7))
    expect(statSync(file).nlink).toBe(3)
    expect((await call('DELETE', `gone/a/blobs/${digest}`)).status).toBe(202)
    expect(await (await call('GET', `gone/b/blobs/${digest}`)).text()).toBe('soon gone')
    expect((await call('DELETE', `gone/b/blobs/${digest}`)).status).toBe(202)
    expect(existsSync(file)).toBe(false)
    expect((await call('DELETE', `gone/b/blobs/${digest}`)).status).toBe(404)
  })
})

describe('uploads', () => {
  const open = async (repository: string) =>
    (await call('POST', `${repository}/blobs/uploads/`)).headers.get('location')!.slice('/v2/'.length)

  test('in chunks; a chunk out of order is 416 and says where to go on', async () => {
    const at = await open('up/chunks')
    const patch = (range: string, text: string) => call('PATCH', at, text, { 'content-range': range })
    const first = await patch('0-3', 'abcd')
    expect([first.status, first.headers.get('range')]).toEqual([202, '0-3'])
    const wrong = await patch('9-10', 'xx')
    expect([wrong.status, wrong.headers.get('range')]).toEqual([416, '0-3'])
    expect((await patch('4-9', 'xx')).status).toBe(400)
    expect((await call('GET', at)).headers.get('range')).toBe('0-3')
    const end = await call('PUT', `${at}?digest=${sha('abcdef')}`, 'ef', { 'content-range': '4-5' })
    expect([end.status, end.headers.get('location')]).toEqual([201, `/v2/up/chunks/blobs/${sha('abcdef')}`])
    expect((await call('GET', at)).status).toBe(404)
  })

  test('a wrong digest is refused and leaves nothing', async () => {
    const at = await open('up/wrong')
    const response = await call('PUT', `${at}?digest=${sha('other')}`, 'bytes')
    expect([response.status, (await code(response))?.code]).toEqual([400, 'DIGEST_INVALID'])
    expect((await call('HEAD', `up/wrong/blobs/${sha('other')}`)).status).toBe(404)
    expect((await call('HEAD', `up/wrong/blobs/${sha('bytes')}`)).status).toBe(404)
    expect(readdirSync(join(dir, 'uploads'))).not.toContain(at.split('/').at(-1)!)
  })

  test('sha512, and the empty blob', async () => {
    const digest = sha('long', 'sha512')
    expect((await call('PUT', `${await open('up/512')}?digest=${digest}`, 'long')).status).toBe(201)
    expect(await (await call('GET', `up/512/blobs/${digest}`)).text()).toBe('long')
    expect((await call('PUT', `${await open('up/empty')}?digest=${sha('')}`)).status).toBe(201)
    const empty = await call('GET', `up/empty/blobs/${sha('')}`)
    expect([empty.status, await empty.text()]).toEqual([200, ''])
  })

  test('cancelled, or of another repository: 404', async () => {
    const at = await open('up/cancel')
    expect((await call('PATCH', at.replace('up/cancel', 'up/other'), 'x')).status).toBe(404)
    expect((await call('DELETE', at)).status).toBe(204)
    expect((await call('PATCH', at, 'x')).status).toBe(404)
  })

  test('a body that breaks off can be gone on with', async () => {
    const at = await open('up/resume')
    const socket = connect(registry.port, '127.0.0.1')
    socket.write(`PATCH /v2/${at} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabcde`)
    let range: string | null = null
    for (let i = 0; i < 100 && range !== '0-4'; i++) {
      await sleep(10)
      range = (await call('GET', at)).headers.get('range')
    }
    expect(range).toBe('0-4')
    socket.destroy()
    let last = 416
    for (let i = 0; i < 100 && last === 416; i++) {
      await sleep(10)
      last = (await call('PATCH', at, 'fghij', { 'content-range': '5-9' })).status
    }
    expect(last).toBe(202)
    expect((await call('PUT', `${at}?digest=${sha('abcdefghij')}`)).status).toBe(201)
  })

  test('16 at once, of the same and of different blobs', async () => {
    const same = randomBytes(2_000_000)
    const jobs = Array.from({ length: 16 }, async (_, i) => {
      const own = randomBytes(500_000)
      for (const bytes of [same, own]) {
        const at = await open(`parallel/r${i % 4}`)
        const half = bytes.length / 2
        expect((await call('PATCH', at, bytes.subarray(0, half))).status).toBe(202)
        const end = await call('PUT', `${at}?digest=${sha(bytes)}`, bytes.subarray(half))
        expect(end.status).toBe(201)
      }
      const back = await call('GET', `parallel/r${i % 4}/blobs/${sha(own)}`)
      expect(sha(await back.bytes())).toBe(sha(own))
    })
    await Promise.all(jobs)
    for (let i = 0; i < 4; i++)
      expect(sha(await (await call('GET', `parallel/r${i}/blobs/${sha(same)}`)).bytes())).toBe(sha(same))
    expect(statSync(join(dir, 'blobs/sha256', sha(same).slice(7))).nlink).toBe(5)
  })
})

describe('manifests', () => {
  test('are kept byte for byte, under tag and digest, with their type', async () => {
    await pushBlob('m/one', EMPTY)
    const manifest = ` ${image(EMPTY)}\n`
    const put = await putManifest('m/one', 'Latest', manifest)
    expect([put.status, put.headers.get('docker-content-digest')]).toEqual([201, sha(manifest)])
    for (const reference of ['Latest', sha(manifest)]) {
      const got = await call('GET', `m/one/manifests/${reference}`)
      expect([await got.text(), got.headers.get('content-type')]).toEqual([manifest, OCI_MANIFEST])
      const head = await call('HEAD', `m/one/manifests/${reference}`)
      expect(head.headers.get('content-length')).toBe(String(manifest.length))
    }
    expect((await call('GET', 'm/one/manifests/latest')).status).toBe(404)
    const by512 = await putManifest('m/one', sha(manifest, 'sha512'), manifest)
    expect(by512.headers.get('docker-content-digest')).toBe(sha(manifest, 'sha512'))
  })

  test('several tags at once, and deletion', async () => {
    await pushBlob('m/tags', EMPTY)
    const digest = sha(image(EMPTY))
    const put = await putManifest('m/tags', `${digest}?tag=a&tag=B&tag=b`, image(EMPTY))
    expect(put.headers.get('oci-tag')).toBe('a, B, b')
    const tags = async () => ((await (await call('GET', 'm/tags/tags/list')).json()) as { tags: string[] }).tags
    expect(await tags()).toEqual(['B', 'a', 'b'])
    expect((await call('DELETE', 'm/tags/manifests/b')).status).toBe(202)
    expect(await tags()).toEqual(['B', 'a'])
    expect((await call('DELETE', `m/tags/manifests/${digest}`)).status).toBe(202)
    expect(await tags()).toEqual([])
    expect((await call('GET', 'm/tags/manifests/a')).status).toBe(404)
  })

  test.each([
    ['no JSON', 'not json', 400, 'MANIFEST_INVALID'],
    ['no manifest', '{"schemaVersion":2}', 400, 'MANIFEST_INVALID'],
    ['image and index at once', image(EMPTY, { manifests: [] }), 400, 'MANIFEST_INVALID'],
    ['missing blob', image('{"missing":1}'), 404, 'MANIFEST_BLOB_UNKNOWN'],
    ['wrong size', image(EMPTY).replace('"size":2', '"size":3'), 404, 'MANIFEST_BLOB_UNKNOWN'],
    ['too large', image(EMPTY, { annotations: { a: 'x'.repeat(4 << 20) } }), 413, 'MANIFEST_INVALID'],
  ])('refused: %s', async (_, manifest, status, expected) => {
    await pushBlob('m/bad', EMPTY)
    const put = await putManifest('m/bad', 'v1', manifest)
    expect([put.status, (await code(put))?.code]).toEqual([status, expected])
    expect((await call('GET', 'm/bad/manifests/v1')).status).toBe(404)
  })

  test('refused: another digest, a Content-Type that contradicts, a bad tag', async () => {
    await pushBlob('m/bad', EMPTY)
    expect((await code(await putManifest('m/bad', sha('x'), image(EMPTY))))?.code).toBe('DIGEST_INVALID')
    expect((await code(await putManifest('m/bad', 'v1', image(EMPTY), OCI_INDEX)))?.code).toBe('MANIFEST_INVALID')
    expect((await putManifest('m/bad', '.bad', image(EMPTY))).ok).toBe(false)
  })

  test('an index needs its children; foreign layers need nothing', async () => {
    await pushBlob('m/index', EMPTY)
    const foreign = {
      mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      digest: sha('f'),
      size: 1,
    }
    const child = image(EMPTY, { layers: [{ ...foreign, urls: ['https://example.com/f'] }] })
    const descriptor = { mediaType: OCI_MANIFEST, digest: sha(child), size: child.length }
    const index = JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [descriptor] })
    const early = await putManifest('m/index', 'v1', index, OCI_INDEX)
    expect(early.status).toBe(404)
    expect(await code(early)).toMatchObject({ code: 'MANIFEST_BLOB_UNKNOWN', detail: { digest: sha(child) } })
    expect((await putManifest('m/index', sha(child), child)).status).toBe(201)
    expect((await putManifest('m/index', 'v1', index, OCI_INDEX)).status).toBe(201)
  })

  test('referrers, filtered and after deletion', async () => {
    await pushBlob('m/refs', EMPTY)
    const subject = { mediaType: OCI_MANIFEST, digest: sha('a subject'), size: 9 }
    const one = image(EMPTY, { subject, artifactType: 'application/vnd.a+json', annotations: { k: 'v' } })
    const two = image(EMPTY, { subject })
    const put = await putManifest('m/refs', sha(one), one)
    expect(put.headers.get('oci-subject')).toBe(subject.digest)
    await putManifest('m/refs', sha(two), two)
    const list = async (query = '') => {
      const response = await call('GET', `m/refs/referrers/${subject.digest}${query}`)
      expect(response.headers.get('content-type')).toBe(OCI_INDEX)
      const { manifests } = (await response.json()) as { manifests: { digest: string }[] }
      return { manifests, filter: response.headers.get('oci-filters-applied') }
    }
    const all = await list()
    expect(all.manifests.map(m => m.digest)).toEqual([sha(one), sha(two)].sort())
    const filtered = await list('?artifactType=application/vnd.a+json')
    expect(filtered).toEqual({
      filter: 'artifactType',
      manifests: [
        {
          mediaType: OCI_MANIFEST,
          digest: sha(one),
          size: one.length,
          artifactType: 'application/vnd.a+json',
          annotations: { k: 'v' },
        },
      ] as never,
    })
    await call('DELETE', `m/refs/manifests/${sha(one)}`)
    expect((await list()).manifests).toMatchObject([{ artifactType: 'application/vnd.oci.image.config.v1+json' }])
  })
})

test('lists in pages', async () => {
  const own = await startRegistry({ port: 0 })
  await pushBlob('l/a', EMPTY, own)
  await pushBlob('l/a/b', EMPTY, own)
  await pushBlob('l', EMPTY, own)
  for (const tag of ['c', 'a', 'B']) await putManifest('l', tag, image(EMPTY), OCI_MANIFEST, own)
  const first = await call('GET', 'l/tags/list?n=2', undefined, {}, own)
  expect(await first.json()).toEqual({ name: 'l', tags: ['B', 'a'] })
  expect(first.headers.get('link')).toBe('</v2/l/tags/list?n=2&last=a>; rel="next"')
  const second = await call('GET', 'l/tags/list?n=2&last=a', undefined, {}, own)
  expect([(await second.json()) as unknown, second.headers.get('link')]).toEqual([{ name: 'l', tags: ['c'] }, null])
  expect(await (await call('GET', '_catalog', undefined, {}, own)).json()).toEqual({
    repositories: ['l', 'l/a', 'l/a/b'],
  })
  expect((await call('GET', 'l/tags/list?n=-1', undefined, {}, own)).status).toBe(400)
  expect((await call('GET', 'nowhere/tags/list', undefined, {}, own)).status).toBe(404)
  await own.close()
})

test('read-only refuses what writes, and needs a folder', async () => {
  const blob = await pushBlob('ro', EMPTY)
  await putManifest('ro', 'v1', image(EMPTY))
  const own = await startRegistry({ dir, port: 0, readOnly: true })
  expect((await call('GET', 'ro/manifests/v1', undefined, {}, own)).status).toBe(200)
  for (const [method, path] of [
    ['POST', 'ro/blobs/uploads/'],
    ['PUT', 'ro/manifests/v1'],
    ['DELETE', `ro/blobs/${blob}`],
  ] as const) {
    const response = await call(method, path, method === 'DELETE' ? undefined : '{}', {}, own)
    expect([response.status, (await code(response))?.code]).toEqual([405, 'DENIED'])
  }
  await own.close()
  await expect(startRegistry({ dir: join(dir, 'absent'), port: 0, readOnly: true })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  })
})

test('a taken port is an error that says so', async () => {
  await expect(startRegistry({ port: registry.port })).rejects.toMatchObject({ code: 'PORT_IN_USE' })
})

test('what is no path of the protocol', async () => {
  for (const path of ['Upper/tags/list', 'a//b/tags/list', '..%2f..%2fetc/tags/list', '_x/tags/list', 'a/blobs/md5:00'])
    expect((await call('GET', path)).status).toBe(400)
  for (const path of ['a/b/c', '%ff/tags/list', 'a/manifests/']) expect((await call('GET', path)).status).toBe(404)
  expect((await call('POST', 'a/tags/list')).status).toBe(405)
  expect(existsSync(join(dir, '..', 'etc'))).toBe(false)
})

test('HTTP/1.0 without a Host', async () => {
  const text = await new Promise<string>(resolve => {
    let got = ''
    const socket = connect(registry.port, '127.0.0.1', () => socket.write('GET /v2/ HTTP/1.0\r\n\r\n'))
    socket.on('data', data => {
      got += data
      socket.end()
    })
    socket.on('close', () => resolve(got))
  })
  expect(text).toStartWith('HTTP/1.1 200')
})
