import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { type FaultyRegistry, startFaultyRegistry } from './start.ts'

const sha = (bytes: string) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
const TYPE = 'application/vnd.oci.image.manifest.v1+json'
const CONTENT = 'x'.repeat(100_000)
const BLOB = sha(CONTENT)

let registry: FaultyRegistry
beforeEach(async () => {
  registry = await startFaultyRegistry()
  expect((await call('POST', `a/blobs/uploads/?digest=${BLOB}`, CONTENT)).status).toBe(201)
})
afterEach(() => registry.close())

const call = (method: string, path: string, body?: string, headers: Record<string, string> = {}) =>
  fetch(`${registry.url}/v2/${path}`, { method, headers, redirect: 'manual', ...(body === undefined ? {} : { body }) })
const blob = (headers: Record<string, string> = {}) => call('GET', `a/blobs/${BLOB}`, undefined, headers)
const manifest = JSON.stringify({
  schemaVersion: 2,
  mediaType: TYPE,
  config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: BLOB, size: CONTENT.length },
  layers: [],
})
const tag = (name: string, text = manifest) => call('PUT', `a/manifests/${name}`, text, { 'content-type': TYPE })

test('without faults it is a registry', async () => {
  const whole = await blob()
  expect([whole.headers.get('content-length'), await whole.text()]).toEqual(['100000', CONTENT])
  const part = await blob({ range: 'bytes=99990-' })
  expect([part.status, await part.text()]).toEqual([206, 'xxxxxxxxxx'])
  expect((await tag('v1')).status).toBe(201)
  const head = await call('HEAD', 'a/manifests/v1')
  expect([head.headers.get('docker-content-digest'), head.headers.get('content-length')]).toEqual([
    sha(manifest),
    String(manifest.length),
  ])
})

describe('credentials', () => {
  test('basic', async () => {
    registry.faults.requireAuth = { kind: 'basic', user: 'u', password: 'p', anonymousPull: true }
    expect((await blob()).status).toBe(200)
    const denied = await tag('v1')
    expect([denied.status, denied.headers.get('www-authenticate')]).toEqual([401, 'Basic realm="faulty"'])
    const authorization = `Basic ${Buffer.from('u:p').toString('base64')}`
    expect((await call('POST', 'a/blobs/uploads/', undefined, { authorization })).status).toBe(202)
  })

  test('bearer, from a server on another port, for the scope that the request needs', async () => {
    registry.faults.requireAuth = { kind: 'bearer', user: 'u', password: 'p', maxUses: 2 }
    const denied = await blob()
    const challenge = denied.headers.get('www-authenticate')
    expect(challenge).toBe(`Bearer realm="${registry.tokens.url}/token",service="faulty",scope="repository:a:pull"`)
    expect(new URL(registry.tokens.url).port).not.toBe(String(registry.port))
    const ask = (password: string) =>
      fetch(`${registry.tokens.url}/token?service=faulty&scope=repository:a:pull`, {
        headers: { authorization: `Basic ${Buffer.from(`u:${password}`).toString('base64')}` },
      })
    expect((await ask('wrong')).status).toBe(401)
    const { token, expires_in } = (await (await ask('p')).json()) as { token: string; expires_in: number }
    expect(expires_in).toBe(300)
    const authorization = `Bearer ${token}`
    expect((await blob({ authorization })).status).toBe(200)
    const push = await call('POST', 'a/blobs/uploads/', undefined, { authorization })
    expect(push.headers.get('www-authenticate')).toContain('scope="repository:a:pull,push",error="insufficient_scope"')
    expect((await blob({ authorization })).status).toBe(401)
    expect(registry.requests.at(-1)).toMatchObject({ server: 'registry', status: 401, headers: { authorization } })
  })

  test('OAuth 2 by POST with an identity token', async () => {
    registry.faults.requireAuth = { kind: 'bearer', user: 'u', password: 'p', identityToken: 'idt' }
    const ask = (refresh: string) =>
      fetch(`${registry.tokens.url}/token`, {
        method: 'POST',
        body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refresh, scope: 'repository:a:pull' }),
      })
    expect((await ask('other')).status).toBe(401)
    const { access_token } = (await (await ask('idt')).json()) as { access_token: string }
    expect((await blob({ authorization: `Bearer ${access_token}` })).status).toBe(200)
  })
})

test('the first requests fail, with Retry-After or without', async () => {
  registry.faults.failFirst = [
    { status: 429, times: 1, retryAfter: 1, match: /^PUT/ },
    { status: 500, times: 1 },
  ]
  const limited = await tag('v1')
  expect([limited.status, limited.headers.get('retry-after')]).toEqual([429, '1'])
  expect(await limited.json()).toMatchObject({ errors: [{ code: 'TOOMANYREQUESTS' }] })
  const broken = await blob()
  expect([broken.status, broken.headers.get('retry-after')]).toEqual([500, null])
  expect((await tag('v1')).status).toBe(201)
  // Twice, because fetch repeats a GET by itself when a connection that it used before is gone.
  registry.faults.failFirst = { status: 500, times: 2, cut: true }
  await expect(blob()).rejects.toThrow()
  expect(registry.requests.at(-1)?.status).toBe(0)
  registry.faults.failFirst = undefined
  expect((await blob()).status).toBe(200)
})

test('blobs break off, and can be gone on with unless Range is ignored', async () => {
  registry.faults.dropConnection = { afterBytes: 40_000, times: 1 }
  const response = await blob()
  expect(response.headers.get('content-length')).toBe('100000')
  let got = 0
  const reading = async () => {
    for await (const chunk of response.body!) got += chunk.byteLength
  }
  await expect(reading()).rejects.toThrow()
  expect(got).toBe(40_000)
  expect((await (await blob({ range: 'bytes=40000-' })).text()).length).toBe(60_000)
  registry.faults.ignoreRange = true
  const whole = await blob({ range: 'bytes=40000-' })
  expect([whole.status, (await whole.text()).length]).toEqual([200, 100_000])
})

test('damaged blobs', async () => {
  registry.faults.truncateBlob = { bytes: 10, times: 1 }
  expect((await (await blob()).text()).length).toBe(99_990)
  registry.faults.lengthenBlob = { bytes: 5, times: 1 }
  expect((await (await blob()).text()).length).toBe(100_005)
  registry.faults.corruptBlob = { match: new RegExp(BLOB), times: 1 }
  const wrong = await (await blob()).bytes()
  expect([wrong.length, wrong.filter(b => b !== 120).length]).toEqual([100_000, 1])
  expect(await (await blob()).text()).toBe(CONTENT)
})

test('blobs from another origin, which wants no credentials', async () => {
  registry.faults.redirectBlobsTo = registry.blobs.url
  const redirect = await blob()
  expect(redirect.status).toBe(307)
  const location = redirect.headers.get('location')!
  expect(new URL(location).origin).toBe(registry.blobs.url)
  expect(await (await fetch(location)).text()).toBe(CONTENT)
  expect((await fetch(location, { headers: { authorization: 'Bearer x' } })).status).toBe(400)
  expect(registry.requests.filter(r => r.server === 'blobs').map(r => r.headers['authorization'])).toEqual([
    undefined,
    'Bearer x',
  ])
})

test('manifest headers', async () => {
  await tag('v1')
  const digestOf = async (method: string) => (await call(method, 'a/manifests/v1')).headers.get('docker-content-digest')
  registry.faults.noDigestHeader = 'HEAD'
  expect([await digestOf('HEAD'), await digestOf('GET')]).toEqual([null, sha(manifest)])
  registry.faults.noDigestHeader = undefined
  registry.faults.wrongDigestHeader = true
  expect(await digestOf('GET')).not.toBe(sha(manifest))
  registry.faults.noHead = 405
  expect((await call('HEAD', 'a/manifests/v1')).status).toBe(405)
})

test('mounts', async () => {
  const mount = (to: string, query = '&from=a') => call('POST', `${to}/blobs/uploads/?mount=${BLOB}${query}`)
  registry.faults.noMount = 405
  expect((await mount('m1')).status).toBe(405)
  registry.faults.noMount = 202
  const opened = await mount('m2')
  expect([opened.status, opened.headers.get('location')]).toEqual([202, expect.stringContaining('/v2/m2/')])
  registry.faults.noMount = undefined
  registry.faults.perRepositoryStorage = true
  expect((await mount('m3', '')).status).toBe(202)
  registry.faults.perRepositoryStorage = false
  expect((await mount('m4')).status).toBe(201)
})

test('referrers API missing, tags refused, lists of null', async () => {
  const referrers = () => call('GET', `a/referrers/${BLOB}`)
  registry.faults.noReferrers = 404
  expect((await referrers()).status).toBe(404)
  registry.faults.noReferrers = 'html'
  expect((await referrers()).headers.get('content-type')).toBe('text/html')
  registry.faults.nullTags = true
  expect(await (await call('GET', 'a/tags/list')).json()).toEqual({ name: 'a', tags: null })
  await tag('v1')
  registry.faults.refuseTag = { match: /^v/, status: 409, onlyMoves: true }
  expect((await tag('v1')).status).toBe(201)
  expect((await tag('v2')).status).toBe(201)
  expect((await tag('v1', ` ${manifest}`)).status).toBe(409)
  registry.faults.refuseTag = { match: /^v3$/, status: 412 }
  expect((await tag('v3')).status).toBe(412)
})

test('upload locations that clients get wrong', async () => {
  for (const kind of ['absolute', 'query'] as const) {
    registry.faults.uploadLocation = kind
    const opened = await call('POST', 'up/blobs/uploads/')
    const location = opened.headers.get('location')!
    expect(location).toContain(kind === 'query' ? '?_state=' : `${registry.url}/v2/`)
    const url = new URL(location, registry.url)
    url.searchParams.set('digest', sha(kind))
    expect((await fetch(url, { method: 'PUT', body: kind })).status).toBe(201)
  }
})

test('slow answers, lenient manifests, and an answer of one’s own', async () => {
  registry.faults.slow = { milliseconds: 60, bytesPerSecond: 1_000_000, match: /blobs/ }
  const before = performance.now()
  await (await blob()).text()
  expect(performance.now() - before).toBeGreaterThan(140)
  registry.faults.lenient = true
  expect((await tag('odd', 'no json')).status).toBe(201)
  expect(await (await call('GET', 'a/manifests/odd')).text()).toBe('no json')
  registry.faults.answer = request =>
    request.url.endsWith('/v2/') ? new Response('teapot', { status: 418 }) : undefined
  expect((await call('GET', '')).status).toBe(418)
  expect((await call('GET', 'a/manifests/odd')).status).toBe(200)
})
