import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { sha256 } from '../oci/digest.ts'
import { describe as descriptorOf, encodeImageManifest, encodeIndex } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { sessionOf } from './blob-sending.ts'
import type { BearerAuth } from './faulty/faults.ts'
import { type FaultyRegistry, startFaultyRegistry } from './faulty/start.ts'
import { openRegistry, type Registry, type RegistryOptions } from './registry.ts'
import type { Repository } from './repository.ts'
import type { Site } from './site.ts'
import { failure, quickRegistry, readAll } from './test-server.ts'

const CONFIG = Buffer.from('{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}')
const LAYER = randomBytes(400_000)
const blob = (bytes: Uint8Array, mediaType: string) => ({ mediaType, digest: sha256(bytes), size: bytes.byteLength })
const [config, layer] = [blob(CONFIG, OCI.config), blob(LAYER, OCI.layerGzip)]
const IMAGE = encodeImageManifest({ docker: false, config, layers: [layer] })
const INDEX = encodeIndex({ docker: false, manifests: [descriptorOf(IMAGE, { os: 'linux', architecture: 'amd64' })] })
const OTHER = encodeIndex({ docker: false, manifests: [], annotations: { other: 'yes' } })
const body = (bytes: Uint8Array) => () => new Blob([bytes as Uint8Array<ArrayBuffer>]).stream()

let server: FaultyRegistry
beforeEach(async () => {
  server = await startFaultyRegistry()
})
afterEach(() => server.close())

const who = { username: 'me', password: 'pass-of-me', source: 'test' }
const client = (options: RegistryOptions = {}) => quickRegistry({ credentials: { find: async () => who }, ...options })
const at = (name = 'app', registry: Registry = client()) => registry.repository(`${server.address}/${name}`)
async function push(repository: Repository, from: readonly string[] = []): Promise<string> {
  await repository.putBlob(config, body(CONFIG))
  const how = await repository.putBlob(layer, body(LAYER), { from })
  await repository.putManifest(IMAGE)
  await repository.putManifest(INDEX, '1.0')
  return how
}
async function pull(repository: Repository): Promise<void> {
  expect((await repository.manifest('1.0'))?.digest).toBe(INDEX.digest)
  expect((await readAll(await repository.blob(layer))).equals(LAYER)).toBe(true)
}
const bearer: BearerAuth = { kind: 'bearer', user: 'me', password: 'pass-of-me' }
const scopes = () =>
  server.requests
    .filter(request => request.server === 'tokens')
    .map(request => new URLSearchParams(request.path.split('?')[1]).getAll('scope').join(' '))

describe('tokens', () => {
  test('a 401 that names no way to log in: /v2/ is asked (gcr.io)', async () => {
    server.faults.requireAuth = { ...bearer, silent: true }
    await push(at())
    await pull(at())
  })

  test('the scope in a challenge is not believed (ghcr.io names an example)', async () => {
    server.faults.requireAuth = { ...bearer, scope: 'repository:user/image:pull' }
    await push(at())
    await pull(at())
    expect(scopes()).toEqual(['repository:app:pull,push', 'repository:app:pull'])
  })

  test('a user who may only read can read: nothing more is asked for', async () => {
    await push(at())
    server.faults.requireAuth = { ...bearer, pullOnly: true }
    await pull(at())
    const error = await failure(at().putManifest(INDEX, '2.0'))
    expect([error.code, error.hint]).toEqual(['UNAUTHORIZED', expect.stringContaining('archimage login')])
  })

  test('no token for two repositories: a mount becomes an upload (GitLab)', async () => {
    server.faults.requireAuth = { ...bearer, oneRepository: true }
    const registry = client()
    expect(await push(at('first', registry))).toBe('uploaded')
    expect(await push(at('second', registry), ['first'])).toBe('uploaded')
  })

  test.each(['delete', '*'] as const)('deleting is called "%s"', async deleteAction => {
    server.faults.requireAuth = { ...bearer, deleteAction }
    await push(at())
    expect(await at().deleteTag('1.0')).toBe(true)
    expect(await at().deleteManifest(INDEX.digest)).toBe(true)
  })

  test('a pull token is not used for pushing after it', async () => {
    server.faults.requireAuth = { ...bearer, anonymousPull: true }
    const registry = client()
    expect(await at('app', registry).manifest('1.0')).toBeUndefined()
    await push(at('app', registry))
  })

  test('a token ends in the middle of a push; offline_token is never asked for', async () => {
    server.faults.requireAuth = { ...bearer, maxUses: 1 }
    await push(at())
    expect(server.requests.some(request => /offline/.test(request.path))).toBe(false)
  })

  test.each([
    ['a web page', '<html>'],
    ['no token', '{}'],
    ['a token with a line feed', '{"token":"a\\nb"}'],
    ['2 MiB', `{"token":"${'x'.repeat(2 * 1024 * 1024)}"}`],
  ])('a token server that answers %s', async (_name, text) => {
    const tokens = await startFaultyRegistry({ faults: { answer: () => new Response(text) } })
    server.faults.requireAuth = { ...bearer, realm: `${tokens.url}/token` }
    const error = await failure(at().manifest('1.0'))
    expect([error.code, error.message]).toEqual(['REGISTRY_ANSWER', expect.stringContaining(new URL(tokens.url).host)])
    await tokens.close()
  })

  test('a Location with :443 is the same place', async () => {
    const registry = openRegistry({ env: {} })
    const host = registry.client.host('r.test')
    const site: Site = { client: registry.client, host, repository: 'app' }
    const answer = {
      headers: new Headers({ location: 'https://r.test:443/u/1?x=a%2Fb' }),
      url: new URL('https://r.test/'),
    }
    const url = sessionOf(site, answer as never, 'test')
    expect([url.origin === host.origin, url.href]).toEqual([true, 'https://r.test/u/1?x=a%2Fb'])
    // A registry behind a proxy that ends TLS calls itself http:// — with its own port, perhaps.
    const inner = { ...answer, headers: new Headers({ location: 'http://r.test:5000/u/1' }) }
    expect(sessionOf(site, inner as never, 'test').href).toBe('https://r.test/u/1')
  })
})

describe('what is not there', () => {
  test.each([
    ['Artifactory', 403, 'MANIFEST_UNKNOWN'],
    ['Harbor', 404, 'UNKNOWN'],
    ['ECR', 404, 'NAME_UNKNOWN'],
  ])('%s answers %i %s', async (_name, status, code) => {
    server.faults.failFirst = { status, code, times: 100, match: /manifests/ }
    expect(await at().manifest('1.0')).toBeUndefined()
    expect(await at().head('1.0')).toBeUndefined()
  })

  test('a repository that has to be made first: the error says so', async () => {
    server.faults.failFirst = { status: 404, code: 'NAME_UNKNOWN', times: 100, match: /^(POST|PUT)/ }
    const error = await failure(push(at()))
    expect(error.message).toContain('404 Not Found: NAME_UNKNOWN')
    expect(error.hint).toContain('create app first')
  })
})

describe('manifests', () => {
  test('answers to HEAD and GET whose digest header is wrong', async () => {
    await push(at())
    server.faults.wrongDigestHeader = true
    expect((await at().manifest('1.0'))?.digest).toBe(INDEX.digest)
    expect((await at().head(INDEX.digest))?.digest).toBe(INDEX.digest)
  })

  test.each([
    ['compressed', { gzipManifests: true }],
    ['as text/plain', { manifestType: 'text/plain' }],
    ['as JSON', { manifestType: 'application/json; charset=utf-8' }],
  ])('that come %s', async (_name, faults) => {
    await push(at())
    Object.assign(server.faults, faults)
    expect(await at().head('1.0')).toEqual(descriptorOf(INDEX))
    await pull(at())
  })

  test('schema 1 is said to be just that', async () => {
    await push(at())
    server.faults.schema1 = true
    expect((await failure(at().manifest('1.0'))).message).toContain('schema 1 is not supported')
  })

  test('4 MiB and one byte can be read; 8 MiB and one are refused', async () => {
    await push(at())
    server.faults.padManifests = 4 * 1024 * 1024 + 1 - INDEX.raw.byteLength
    expect((await at().manifest('1.0'))?.raw.byteLength).toBe(4 * 1024 * 1024 + 1)
    server.faults.padManifests = 8 * 1024 * 1024 + 1 - INDEX.raw.byteLength
    expect((await failure(at().manifest('1.0'))).message).toContain('larger than')
  })

  test('one that is too large for the registry: the error says how large they may be', async () => {
    const large = encodeIndex({ docker: false, manifests: [], annotations: { a: 'x'.repeat(4 * 1024 * 1024) } })
    expect((await failure(at().putManifest(large, 'large'))).hint).toContain('registries have to take 4194304')
  })

  test('a digest other than the one that was asked for', async () => {
    await push(at())
    server.faults.padManifests = 1
    expect((await failure(at().manifest(INDEX.digest))).code).toBe('DIGEST_MISMATCH')
  })

  test('blobs that the registry lost meanwhile are looked for, and sent, again', async () => {
    const app = at()
    await app.putBlob(config, body(CONFIG))
    server.faults.failFirst = { status: 404, code: 'MANIFEST_BLOB_UNKNOWN', times: 1, match: /^PUT .*manifests/ }
    const error = await failure(app.putManifest(IMAGE))
    expect(error.hint).toContain('push again')
    expect(await push(app)).toBe('uploaded')
  })

  test.each([400, 403, 409, 412])('a tag that may not move, refused with %i', async status => {
    const app = at()
    await push(app)
    server.faults.refuseTag = { match: /./, status, onlyMoves: true }
    expect(await app.putManifest(INDEX, '1.0')).toBe(INDEX.digest)
    const error = await failure(app.putManifest(OTHER, '1.0'))
    expect(error.code).toBe(status === 403 ? 'UNAUTHORIZED' : 'TAG_IMMUTABLE')
    if (status !== 403) expect(error.message).toContain(`the tag 1.0 is ${INDEX.digest}`)
  })

  test('PUT that is answered with 200, 202 or 204', async () => {
    for (const created of [200, 202, 204] as const) {
      server.faults.created = created
      await push(at(`app${created}`))
    }
  })
})

describe('lists of tags', () => {
  const names = Array.from({ length: 101 }, (_, i) => `t${String(i).padStart(3, '0')}`)
  const fill = async () => {
    for (const name of names) await at().putManifest(OTHER, name)
  }
  const tags = () => Array.fromAsync(at().tags())

  test('in pages, with every kind of Link', async () => {
    await fill()
    for (const link of ['relative', 'absolute'] as const) {
      server.faults.pages = { size: 7, link }
      expect(await tags()).toEqual(names)
    }
    server.faults.pages = { size: 50, link: 'none' }
    expect(await tags()).toEqual(names)
    server.faults.pages = { size: 100, link: 'none' }
    expect(await tags()).toEqual(names)
    server.faults.pages = { size: 7, link: 'loop' }
    server.requests.length = 0
    expect(await tags()).toEqual(names.slice(0, 7))
    expect(server.requests.length).toBe(2)
  })

  test('digests among them are left out (Artifactory); null is none (Nexus)', async () => {
    await at().putManifest(OTHER, '1.0')
    server.faults.digestTags = true
    expect(await tags()).toEqual(['1.0'])
    await at().deleteTag('1.0')
    delete server.faults.digestTags
    server.faults.nullTags = true
    expect(await tags()).toEqual([])
  })
})

describe('referrers', () => {
  test('in pages, and with filters that are ignored', async () => {
    const app = at()
    await push(app)
    const made = ['a/a', 'b/b', 'a/a'].map((artifactType, i) => {
      const json = JSON.parse(Buffer.from(IMAGE.raw).toString())
      return Buffer.from(
        JSON.stringify({ ...json, artifactType, subject: descriptorOf(INDEX), annotations: { n: String(i) } }),
      )
    })
    for (const raw of made)
      await app.putManifest({ ...IMAGE, raw, digest: sha256(raw), subject: descriptorOf(INDEX) }, undefined)
    for (const link of ['relative', 'absolute'] as const)
      for (const noFilters of [false, true]) {
        Object.assign(server.faults, { pages: { size: 1, link }, noFilters })
        expect((await Array.fromAsync(at().referrers(INDEX.digest))).length).toBe(3)
        const chosen = await Array.fromAsync(at().referrers(INDEX.digest, { artifactType: 'a/a' }))
        expect(chosen.map(entry => entry.digest).sort()).toEqual([sha256(made[0]!), sha256(made[2]!)].sort())
      }
    server.faults.pages = { size: 1, link: 'loop' }
    expect((await Array.fromAsync(at().referrers(INDEX.digest))).length).toBe(1)
  })
})

describe('rate and trouble', () => {
  test.each([
    ['429 with Retry-After', { status: 429, times: 2, retryAfter: 0 }],
    ['429 without', { status: 429, times: 2 }],
    ['429 for a manifest (ACR)', { status: 429, times: 2, match: /^PUT .*manifests/ }],
    ['503 twice', { status: 503, times: 2 }],
    ['408', { status: 408, times: 1 }],
    ['499', { status: 499, times: 1 }],
    ['522', { status: 522, times: 1 }],
    ['cut connections', { status: 500, times: 2, cut: true }],
  ])('%s', async (_name, fault) => {
    server.faults.failFirst = fault
    await push(at())
    server.faults.failFirst = { ...fault, times: 2 }
    await pull(at())
  })

  test.each([400, 403, 405, 409, 413])('%i is not asked again', async status => {
    server.faults.failFirst = { status, times: 100, match: /^PUT .*manifests/ }
    await failure(at().putManifest(OTHER))
    expect(server.requests.filter(request => request.method === 'PUT').length).toBe(1)
  })

  test('at most 16 requests and 8 uploads at a time', async () => {
    let [now, most] = [0, 0]
    server.faults.answer = async request => {
      if (!request.url.includes('/many/')) return undefined
      most = Math.max(most, ++now)
      await new Promise(resolve => setTimeout(resolve, 5))
      now--
      return new Response(null, { status: 404 })
    }
    const repository = at('many')
    await Promise.all(Array.from({ length: 60 }, (_, i) => repository.head(`t${i}`)))
    expect(most).toBe(16)
  })

  test('a Warning is told once, without what terminals obey', async () => {
    server.faults.warning = 'old \\"registry\\", moves soon'
    const said: string[] = []
    await push(at('app', client({ warn: message => said.push(message) })))
    expect(said).toEqual([expect.stringContaining('moves soon')])
  })
})
