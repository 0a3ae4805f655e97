import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { type Digest, sha256 } from '../oci/digest.ts'
import { type Descriptor, encodeIndex, type ImageIndex, type Manifest, parseManifest } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { type FaultyRegistry, startFaultyRegistry } from './faulty/start.ts'
import { referrersTag } from './referrers.ts'
import type { Repository } from './repository.ts'
import { failure, quickRegistry } from './test-server.ts'

const SUBJECT = encodeIndex({ docker: false, manifests: [] })
const SBOM = 'application/spdx+json'
const SIGNATURE = 'application/vnd.dev.cosign.simplesigning.v1+json'
const EMPTY = { mediaType: OCI.empty, digest: sha256('{}'), size: 2 }

function referrer(artifactType: string | undefined, name: string, subject: Digest = SUBJECT.digest): Manifest {
  const json = {
    schemaVersion: 2,
    mediaType: OCI.manifest,
    ...(artifactType === undefined ? {} : { artifactType }),
    config: EMPTY,
    layers: [EMPTY],
    subject: { mediaType: OCI.index, digest: subject, size: SUBJECT.raw.byteLength },
    annotations: { name },
  }
  return parseManifest(Buffer.from(JSON.stringify(json)))
}
const SIGNED = referrer(SIGNATURE, 'signed')
const LISTED = referrer(SBOM, 'listed')
const PLAIN = referrer(undefined, 'plain')
const TAG = `sha256-${SUBJECT.digest.slice(7)}`

let server: FaultyRegistry
beforeEach(async () => {
  server = await startFaultyRegistry()
})
afterEach(() => server.close())

async function opened(): Promise<Repository> {
  const app = quickRegistry().repository(`${server.address}/app`)
  await app.putBlob(EMPTY, () => new Blob(['{}']).stream())
  return app
}
async function filled(): Promise<Repository> {
  const app = await opened()
  await app.putManifest(SUBJECT, '1.0')
  for (const manifest of [SIGNED, LISTED, PLAIN]) await app.putManifest(manifest)
  return app
}
const digests = async (list: AsyncIterable<Descriptor>) => (await Array.fromAsync(list)).map(d => d.digest).sort()
const all = [SIGNED, LISTED, PLAIN].map(manifest => manifest.digest).sort()
const paths = (method: string) => server.requests.filter(r => r.method === method).map(r => r.path)

describe('by the API', () => {
  test('all of them and those of a type; no tag is written', async () => {
    const app = await filled()
    expect(await digests(app.referrers(SUBJECT.digest))).toEqual(all)
    const [sbom, ...others] = await Array.fromAsync(app.referrers(SUBJECT.digest, { artifactType: SBOM }))
    expect(others).toEqual([])
    expect(sbom).toEqual({
      mediaType: OCI.manifest,
      digest: LISTED.digest,
      size: LISTED.raw.byteLength,
      artifactType: SBOM,
      annotations: { name: 'listed' },
    })
    expect(await Array.fromAsync(app.tags())).toEqual(['1.0'])
    expect(await digests(app.referrers(sha256('nothing')))).toEqual([])
    expect(paths('GET').some(path => path.includes('/manifests/'))).toBe(false)
  })

  const entry = (manifest: Manifest, artifactType: string) => ({
    mediaType: OCI.manifest,
    digest: manifest.digest,
    size: manifest.raw.byteLength,
    artifactType,
  })
  const page = (manifests: readonly object[], headers: Record<string, string> = {}) =>
    new Response(JSON.stringify({ schemaVersion: 2, mediaType: OCI.index, manifests }), {
      headers: { 'content-type': OCI.index, ...headers },
    })

  test('page by page; circles end; without OCI-Filters-Applied the filter is ours', async () => {
    const app = await opened()
    server.faults.answer = request => {
      const url = new URL(request.url)
      if (!url.pathname.includes('/referrers/')) return undefined
      const at = url.searchParams.get('page') ?? '0'
      if (at === '0') return page([entry(SIGNED, SIGNATURE)], { link: `</v2/app/referrers/x?page=1>; rel="next"` })
      return page([entry(LISTED, SBOM)], { link: `<http://wrong.test/v2/app/referrers/x?page=1>; rel=next` })
    }
    expect(await digests(app.referrers(SUBJECT.digest))).toEqual([SIGNED.digest, LISTED.digest].sort())
    expect(await digests(app.referrers(SUBJECT.digest, { artifactType: SBOM }))).toEqual([LISTED.digest])
  })

  test('a page that is no list is an error after the first one', async () => {
    const app = await opened()
    server.faults.answer = request => {
      const url = new URL(request.url)
      if (!url.pathname.includes('/referrers/')) return undefined
      if (url.searchParams.has('page')) return new Response('<html>', { headers: { 'content-type': 'text/html' } })
      return page([], { link: '<?page=1>; rel="next"' })
    }
    expect((await failure(digests(app.referrers(SUBJECT.digest)))).code).toBe('MANIFEST_INVALID')
  })

  test('trouble is no absence', async () => {
    const app = await filled()
    for (const status of [401, 403, 500]) {
      server.faults.failFirst = { status, times: 100, match: /referrers/ }
      expect(['UNAUTHORIZED', 'REGISTRY_ERROR']).toContain((await failure(digests(app.referrers(SUBJECT.digest)))).code)
    }
  })
})

describe.each([404, 'html'] as const)('without the API (%s)', kind => {
  beforeEach(() => {
    server.faults.noReferrers = kind
  })

  test('a tag lists them, and we keep it', async () => {
    const app = await filled()
    expect(referrersTag(SUBJECT.digest)).toBe(TAG)
    expect((await Array.fromAsync(app.tags())).sort()).toEqual(['1.0', TAG].sort())
    expect(await digests(app.referrers(SUBJECT.digest))).toEqual(all)
    expect(await digests(app.referrers(SUBJECT.digest, { artifactType: SBOM }))).toEqual([LISTED.digest])
    // An image without artifactType shows the type of its config.
    expect(await digests(app.referrers(SUBJECT.digest, { artifactType: OCI.empty }))).toEqual([PLAIN.digest])
    expect(paths('GET').filter(path => path.includes('/referrers/')).length).toBe(1)
    // Written again, nothing changes.
    server.requests.length = 0
    await app.putManifest(SIGNED)
    expect(paths('PUT')).toEqual([`/v2/app/manifests/${SIGNED.digest}`])
    expect(await digests(app.referrers(sha256('nothing')))).toEqual([])
  })

  test('many at a time from one process', async () => {
    const app = await opened()
    const many = Array.from({ length: 12 }, (_, i) => referrer(SBOM, String(i)))
    await Promise.all(many.map(manifest => app.putManifest(manifest)))
    expect(await digests(app.referrers(SUBJECT.digest))).toEqual(many.map(m => m.digest).sort())
  })

  test('what another process overwrote is written again', async () => {
    const app = await opened()
    let times = 0
    server.faults.answer = async request => {
      if (request.method !== 'PUT' || !request.url.endsWith(TAG) || times++ > 0) return undefined
      // Ours arrives, and theirs, made from an older list, right behind it.
      const raw = encodeIndex({ docker: false, manifests: [] }).raw
      const headers = { 'content-type': OCI.index }
      await fetch(request.url, { method: 'PUT', headers, body: raw as Uint8Array<ArrayBuffer> })
      return new Response(null, { status: 201 })
    }
    await app.putManifest(SIGNED)
    expect(await digests(app.referrers(SUBJECT.digest))).toEqual([SIGNED.digest])
  })

  test('an image under that tag is not overwritten', async () => {
    const app = await opened()
    const { subject: _, ...image } = JSON.parse(Buffer.from(SIGNED.raw).toString())
    await app.putManifest(parseManifest(Buffer.from(JSON.stringify(image))), TAG)
    const error = await failure(app.putManifest(SIGNED))
    expect(error.message).toContain(`the tag ${TAG} is an image`)
  })
})

test('a repository that is not there says nothing about the API', async () => {
  const registry = quickRegistry()
  server.faults.answer = request =>
    request.url.includes('/v2/none/')
      ? new Response('{"errors":[{"code":"NAME_UNKNOWN","message":"no such repository"}]}', { status: 404 })
      : undefined
  expect(await digests(registry.repository(`${server.address}/none`).referrers(SUBJECT.digest))).toEqual([])
  await filled()
  expect(await digests(registry.repository(`${server.address}/app`).referrers(SUBJECT.digest))).toEqual(all)
})

test('the tag of a sha512 digest is cut as the spec says', () => {
  expect(referrersTag(`sha512:${'0123456789abcdef'.repeat(8)}`)).toBe(`sha512-${'0123456789abcdef'.repeat(4)}`)
})

test('annotations of the list survive our changes', async () => {
  server.faults.noReferrers = 404
  const app = await opened()
  await app.putManifest(encodeIndex({ docker: false, manifests: [], annotations: { by: 'somebody' } }), TAG)
  await app.putManifest(SIGNED)
  const list = (await app.manifest(TAG)) as ImageIndex
  expect([list.annotations, list.manifests.length]).toEqual([{ by: 'somebody' }, 1])
})
