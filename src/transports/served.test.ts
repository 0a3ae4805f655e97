import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { requirePeers } from '../../test/peers/require.ts'
import { type Registry, startRegistry } from '../registry/server/start.ts'
import { END_OF_ARCHIVE, encodeHeader, padding } from '../tar/writer.ts'
import { type Served, serveArchive, serveLayout } from './served.ts'

const type = (name: string) => `application/vnd.oci.image.${name}`
const sha = (bytes: Uint8Array | string) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
const REF = 'org.opencontainers.image.ref.name'
const NAME = 'io.containerd.image.name'

const ENTRY = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0 } as const

interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
}

let dir: string
let layout: string
let closing: (() => unknown)[]
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'archimage-test-'))
  layout = join(dir, 'My Shop.oci')
  mkdirSync(join(layout, 'blobs/sha256'), { recursive: true })
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  closing = []
})
afterEach(async () => {
  for (const close of closing.reverse()) await close()
  rmSync(dir, { recursive: true })
})

function put(mediaType: string, content: string | object): Descriptor {
  const text = typeof content === 'string' ? content : JSON.stringify(content)
  writeFileSync(join(layout, 'blobs', sha(text).replace(':', '/')), text)
  return { mediaType: type(mediaType), digest: sha(text), size: text.length }
}

function image(text: string, more: object = {}): Descriptor {
  const layers = [put('layer.v1.tar', text)]
  const config = put('config.v1+json', {
    architecture: 'amd64',
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: [] },
    text,
  })
  return put('manifest.v1+json', { schemaVersion: 2, mediaType: type('manifest.v1+json'), config, layers, ...more })
}

function index(...manifests: object[]): Descriptor {
  return put('index.v1+json', { schemaVersion: 2, mediaType: type('index.v1+json'), manifests })
}

/** By rename, as every tool does. */
function writeIndex(...entries: [Descriptor, ...string[]][]): void {
  const manifests = entries.map(([descriptor, ref, name]) => ({
    ...descriptor,
    ...(ref === undefined ? {} : { annotations: { [REF]: ref, ...(name === undefined ? {} : { [NAME]: name }) } }),
  }))
  writeFileSync(join(dir, 'new'), JSON.stringify({ schemaVersion: 2, manifests }))
  renameSync(join(dir, 'new'), join(layout, 'index.json'))
}

async function serve(served: Served | Promise<Served>): Promise<Registry> {
  const storage = await served
  closing.push(() => storage.close())
  const registry = await startRegistry({ port: 0, storage })
  closing.push(() => registry.close())
  return registry
}

const get = (registry: Registry, path: string, headers: Record<string, string> = {}) =>
  fetch(`${registry.url}/v2/${path}`, { headers })
const json = async (registry: Registry, path: string) => (await (await get(registry, path)).json()) as never

/** The layout as an archive. */
function archive(name: string): string {
  const path = join(dir, name)
  const parts: Uint8Array[] = []
  for (const file of readdirSync(layout, { recursive: true, encoding: 'utf8' })) {
    const full = join(layout, file)
    if (!statSync(full).isFile()) continue
    const bytes = readFileSync(full)
    parts.push(encodeHeader({ ...ENTRY, path: file, size: bytes.length }), bytes, Buffer.alloc(padding(bytes.length)))
  }
  writeFileSync(path, Buffer.concat([...parts, END_OF_ARCHIVE]))
  return path
}

const ways: [string, () => Promise<Served> | Served][] = [
  ['a layout', () => serveLayout(layout)],
  ['an archive', () => serveArchive(archive('My Shop.tar'))],
  [
    'a compressed archive',
    () => {
      const path = join(dir, 'My Shop.tar.gz')
      writeFileSync(path, gzipSync(readFileSync(archive('plain.tar'))))
      return serveArchive(path)
    },
  ],
]

describe.each(ways)('%s', (_, open) => {
  test('names become repositories and tags; blobs come whole, in parts and by HEAD', async () => {
    const child = image('a layer of some length')
    const top = index({ ...child, platform: { os: 'linux', architecture: 'amd64' } })
    writeIndex(
      [top, 'v1', 'registry.example.com/team/app:v1'],
      [child, 'docker.io/library/alpine:3.20'],
      [child, 'plain'],
    )
    const registry = await serve(open())
    expect(await json(registry, '_catalog')).toEqual({
      repositories: ['library/alpine', 'my-shop', 'team/app'],
    } as never)
    expect(await json(registry, 'team/app/tags/list')).toEqual({ name: 'team/app', tags: ['v1'] } as never)
    expect(await json(registry, 'my-shop/tags/list')).toEqual({ name: 'my-shop', tags: ['plain'] } as never)
    const got = await get(registry, 'team/app/manifests/v1')
    expect([got.headers.get('content-type'), sha(await got.text())]).toEqual([type('index.v1+json'), top.digest])
    expect((await get(registry, `team/app/manifests/${child.digest}`)).status).toBe(200)
    expect((await get(registry, 'alpine/manifests/3.20')).status).toBe(200)
    expect((await get(registry, `library/alpine/manifests/${top.digest}`)).status).toBe(404)
    const blob = `team/app/blobs/${sha('a layer of some length')}`
    const whole = await get(registry, blob)
    expect([await whole.text(), whole.headers.get('content-length')]).toEqual(['a layer of some length', '22'])
    const part = await get(registry, blob, { range: 'bytes=2-6' })
    expect([part.status, await part.text(), part.headers.get('content-range')]).toEqual([206, 'layer', 'bytes 2-6/22'])
    expect((await fetch(`${registry.url}/v2/${blob}`, { method: 'HEAD' })).headers.get('content-length')).toBe('22')
    expect((await get(registry, `nowhere/blobs/${sha('a layer of some length')}`)).status).toBe(404)
    const refused = await fetch(`${registry.url}/v2/team/app/manifests/v1`, { method: 'DELETE' })
    expect([refused.status, await refused.json()]).toMatchObject([405, { errors: [{ code: 'DENIED' }] }])
    expect((await fetch(`${registry.url}/v2/team/app/blobs/uploads/`, { method: 'POST' })).status).toBe(405)
  })

  test('referrers: those listed beside it, and those under the fallback tag', async () => {
    const subject = image('signed')
    const signature = image('signature', { subject, artifactType: 'application/x', annotations: { a: 'b' } })
    const sbom = image('sbom', { subject })
    const fallback = index(sbom)
    writeIndex(
      [subject, 'v1', 'example.com/app:v1'],
      [signature],
      [fallback, subject.digest.replace(':', '-')],
      [image('x'), 'y'],
    )
    const registry = await serve(open())
    const list = (await json(registry, `app/referrers/${subject.digest}`)) as { manifests: { digest: string }[] }
    expect(list.manifests.map(({ digest }) => digest).sort()).toEqual([signature.digest, sbom.digest].sort())
    expect(list.manifests).toContainEqual({
      ...signature,
      artifactType: 'application/x',
      annotations: { a: 'b' },
    } as never)
    const none = (await json(registry, `my-shop/referrers/${subject.digest}`)) as { manifests: unknown[] }
    expect(none.manifests).toEqual([])
    expect((await get(registry, `app/manifests/${subject.digest.replace(':', '-')}`)).status).toBe(200)
  })

  test('two images that want one tag, names that are none, an image without a name', async () => {
    const [one, two, three, four] = [image('1'), image('2'), image('3'), image('4')]
    writeIndex([one, 'a.example/app:v1'], [two, 'b.example:5000/app:v1'], [three, 'Not A Name/x'], [four])
    const registry = await serve(open())
    const tag = async (name: string) =>
      (await get(registry, `${name}/manifests/v1`)).headers.get('docker-content-digest')
    expect([await tag('app'), await tag('b.example/app')]).toEqual([one.digest, two.digest])
    expect(await json(registry, '_catalog')).toEqual({ repositories: ['app', 'b.example/app', 'my-shop'] } as never)
    expect((await get(registry, 'my-shop/manifests/latest')).headers.get('docker-content-digest')).toBe(four.digest)
  })

  test('a manifest whose bytes are not its digest is not served', async () => {
    const good = image('good')
    writeIndex([good, 'v1'])
    writeFileSync(join(layout, 'blobs', good.digest.replace(':', '/')), '{"schemaVersion":2}')
    const registry = await serve(open())
    expect((await get(registry, 'my-shop/manifests/v1')).status).toBe(404)
  })
})

test('what is added to a layout while it is served is served; links never are', async () => {
  writeIndex([image('one'), 'v1'])
  const registry = await serve(serveLayout(layout))
  expect((await get(registry, 'my-shop/manifests/v2')).status).toBe(404)
  writeIndex([image('one'), 'v1'], [image('two'), 'v2'])
  expect((await get(registry, 'my-shop/manifests/v2')).status).toBe(200)
  const secret = join(dir, 'secret')
  writeFileSync(secret, 'secret')
  symlinkSync(secret, join(layout, 'blobs/sha256', sha('secret').slice(7)))
  expect((await get(registry, `my-shop/blobs/${sha('secret')}`)).status).toBe(404)
})

test('an archive that is replaced while it is served stays what it was', async () => {
  writeIndex([image('one'), 'v1'])
  const path = archive('a.tar')
  const registry = await serve(serveArchive(path))
  rmSync(path)
  writeFileSync(path, 'something else')
  expect(await (await get(registry, `a/blobs/${sha('one')}`)).text()).toBe('one')
})

test('what is no archive of images is refused', async () => {
  const path = join(dir, 'x.tar')
  writeFileSync(path, 'hello')
  for (const each of [path, join(dir, 'absent.tar')]) {
    const error = await Promise.resolve(serveArchive(each)).then(
      () => undefined,
      failed => failed as { code: string },
    )
    expect(['TAR_INVALID', 'MANIFEST_INVALID', 'NOT_FOUND']).toContain(error!.code)
  }
  expect(() => serveLayout(dir).repositories()).toThrow('there is no layout')
})

requirePeers('skopeo')('an archive of docker, which skopeo wrote, is served as it would be copied', async () => {
  const platform = { architecture: 'amd64', os: 'linux' }
  const tar = Buffer.alloc(1024)
  const layers = [put('layer.v1.tar', tar.toString('latin1'))]
  const config = put('config.v1+json', {
    ...platform,
    config: {},
    rootfs: { type: 'layers', diff_ids: [layers[0]!.digest] },
  })
  const one = put('manifest.v1+json', { schemaVersion: 2, mediaType: type('manifest.v1+json'), config, layers })
  writeIndex([one, 'v1'])
  const path = join(dir, 'saved.tar')
  const skopeo = (...args: string[]) => promisify(execFile)('skopeo', ['copy', '--insecure-policy', ...args])
  await skopeo(`oci:${layout}:v1`, `docker-archive:${path}:example.com/team/app:v1`)
  const registry = await serve(serveArchive(path))
  await skopeo(
    '--src-tls-verify=false',
    `docker://${registry.address}/team/app:v1`,
    '--dest-oci-accept-uncompressed-layers',
    `oci:${dir}/back:v1`,
  )
  const back = JSON.parse(readFileSync(join(dir, 'back/index.json'), 'utf8')) as { manifests: Descriptor[] }
  const tag = await get(registry, 'team/app/manifests/v1')
  expect(tag.headers.get('docker-content-digest')).toBe(back.manifests[0]!.digest)
})
