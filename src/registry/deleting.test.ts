import { afterEach, beforeEach, expect, test } from 'bun:test'
import { sha256 } from '../oci/digest.ts'
import { encodeImageManifest, encodeIndex, type ImageIndex } from '../oci/manifest.ts'
import { DOCKER, OCI } from '../oci/media-types.ts'
import { type FaultyRegistry, startFaultyRegistry } from './faulty/start.ts'
import type { Repository } from './repository.ts'
import { failure, quickRegistry } from './test-server.ts'

const INDEX = encodeIndex({ docker: false, manifests: [] })
const OTHER = encodeIndex({ docker: true, manifests: [] })

let server: FaultyRegistry
let app: Repository
beforeEach(async () => {
  server = await startFaultyRegistry()
  app = quickRegistry().repository(`${server.address}/app`)
  for (const tag of ['1.0', '1.1']) await app.putManifest(INDEX, tag)
  await app.putManifest(OTHER, 'docker')
  server.requests.length = 0
})
afterEach(() => server.close())

const tags = async () => (await Array.fromAsync(app.tags())).sort()
const methods = () => server.requests.map(request => request.method)

test('a tag goes by DELETE, its manifest and the other tags stay', async () => {
  expect(await app.deleteTag('1.0')).toBe(true)
  expect(methods()).toEqual(['DELETE'])
  expect(await tags()).toEqual(['1.1', 'docker'])
  expect((await app.manifest('1.1'))?.digest).toBe(INDEX.digest)
  expect(await app.deleteTag('1.0')).toBe(false)
})

test.each([400, 404, 405] as const)(
  'where DELETE of a tag answers %i, a throwaway image takes it away',
  async status => {
    server.faults.noTagDelete = status
    expect(await app.deleteTag('1.0')).toBe(true)
    expect(await tags()).toEqual(['1.1', 'docker'])
    expect((await app.manifest(INDEX.digest))?.digest).toBe(INDEX.digest)
    // Everything that was deleted by digest was ours.
    const deleted = server.requests.filter(r => r.method === 'DELETE').map(r => r.path.split('/').at(-1)!)
    expect(deleted.filter(name => name === INDEX.digest)).toEqual([])
    expect(await app.deleteTag('9')).toBe(false)
  },
)

test('the throwaway image is of the kind that the tag has, and whole', async () => {
  server.faults.noTagDelete = 405
  const types: string[] = []
  server.faults.answer = request => {
    if (request.method === 'PUT' && request.url.includes('/manifests/'))
      types.push(request.headers.get('content-type')!)
    return undefined
  }
  await app.deleteTag('docker')
  await app.deleteTag('1.0')
  expect([...new Set(types)]).toEqual([DOCKER.manifest, OCI.manifest])
})

test('a registry that deletes nothing is asked twice, and gets nothing of ours', async () => {
  server.faults.noDelete = true
  const error = await failure(app.deleteTag('1.0'))
  expect(error.code).toBe('UNSUPPORTED')
  expect(error.message).toContain('the tag 1.0 cannot be deleted')
  expect(error.hint).toContain('REGISTRY_STORAGE_DELETE_ENABLED')
  expect(methods()).toEqual(['DELETE', 'GET', 'DELETE'])
  expect((await app.manifest('1.0'))?.digest).toBe(INDEX.digest)
})

test('a registry that says yes to what is absent and no to what is there: the tag stays', async () => {
  server.faults.noTagDelete = 405
  let deletes = 0
  server.faults.answer = request =>
    request.method === 'DELETE' && ++deletes > 2 ? new Response(null, { status: 405 }) : undefined
  expect((await failure(app.deleteTag('1.0'))).code).toBe('UNSUPPORTED')
  expect((await app.manifest('1.0'))?.digest).toBe(INDEX.digest)
})

test('a deletion that fails in the end puts the tag back', async () => {
  server.faults.noTagDelete = 405
  let deletes = 0
  server.faults.answer = request =>
    request.method === 'DELETE' && ++deletes > 3 ? new Response(null, { status: 403 }) : undefined
  expect((await failure(app.deleteTag('1.0'))).code).toBe('UNAUTHORIZED')
  expect((await app.manifest('1.0'))?.digest).toBe(INDEX.digest)
  deletes = 0
  server.faults.answer = request =>
    request.method === 'DELETE' && ++deletes > 3 ? new Response(null, { status: 202 }) : undefined
  const error = await failure(app.deleteTag('1.0'))
  expect(error.message).toContain(`it is ${INDEX.digest} again`)
  expect((await app.manifest('1.0'))?.digest).toBe(INDEX.digest)
})

test('other refusals are what they are', async () => {
  server.faults.failFirst = { status: 403, times: 1, match: /^DELETE/, code: 'DENIED' }
  expect((await failure(app.deleteTag('1.0'))).code).toBe('UNAUTHORIZED')
  expect(methods()).toEqual(['DELETE'])
})

test('what is deleted leaves the list that stands in for the referrers API', async () => {
  server.faults.noReferrers = 404
  const blob = Buffer.from('{}')
  const described = { mediaType: OCI.empty, digest: sha256(blob), size: 2 }
  await app.putBlob(described, () => new Blob([blob]).stream())
  const signature = encodeImageManifest({ docker: false, config: described, layers: [described] })
  const subject = { mediaType: INDEX.mediaType, digest: INDEX.digest, size: INDEX.raw.byteLength }
  const json = { ...JSON.parse(Buffer.from(signature.raw).toString()), subject }
  const { parseManifest } = await import('../oci/manifest.ts')
  const made = parseManifest(Buffer.from(JSON.stringify(json)))
  await app.putManifest(made)
  const list = async () =>
    ((await app.manifest(`sha256-${INDEX.digest.slice(7)}`)) as ImageIndex).manifests.map(entry => entry.digest)
  expect(await list()).toEqual([made.digest])
  expect(await app.deleteManifest(made.digest)).toBe(true)
  expect(await list()).toEqual([])
})
