import { afterAll, beforeAll, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Registry, startRegistry } from './start.ts'

/** "secret", by htpasswd -B. */
const HTPASSWD = 'tester:$2b$04$pDbMRgiKl5sg/7r64cuHk.W1w9qsyIm.hd8FK718scOoGw8V3CtOS\n'
const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` })
const RIGHT = basic('tester:secret')
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const EMPTY = `sha256:${createHash('sha256').update('{}').digest('hex')}`

let folder: string
let closed: Registry
let open: Registry
const lines: string[] = []
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'archimage-test-'))
  const htpasswd = join(folder, 'users')
  writeFileSync(htpasswd, HTPASSWD, { mode: 0o600 })
  const log = (line: string) => void lines.push(line)
  closed = await startRegistry({ port: 0, htpasswd, log })
  open = await startRegistry({ port: 0, htpasswd, anonymousPull: true, log })
})
afterAll(async () => {
  await Promise.all([closed.close(), open.close()])
  rmSync(folder, { recursive: true })
  expect(lines.join('\n')).not.toMatch(/secret|Bearer|Basic|token=/)
})

const call = (at: Registry, method: string, path: string, headers: Record<string, string> = {}, body?: string) =>
  fetch(at.url + path, { method, headers, ...(body === undefined ? {} : { body }) })

async function push(at: Registry, headers: Record<string, string>): Promise<number[]> {
  const blob = await call(at, 'POST', `/v2/a/b/blobs/uploads/?digest=${EMPTY}`, headers, '{}')
  const config = { mediaType: 'application/vnd.oci.empty.v1+json', digest: EMPTY, size: 2 }
  const manifest = JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, config, layers: [] })
  const put = await call(at, 'PUT', '/v2/a/b/manifests/v1', { ...headers, 'content-type': MANIFEST }, manifest)
  return [blob.status, put.status]
}

test('without a password nothing, with it everything', async () => {
  for (const path of ['/v2/', '/v2/_catalog', '/v2/a/b/manifests/v1', '/token', '/anything']) {
    const refused = await call(closed, 'GET', path)
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, 'Basic realm="archimage"'])
    expect(await refused.json()).toMatchObject({ errors: [{ code: 'UNAUTHORIZED' }] })
  }
  expect(await push(closed, {})).toEqual([401, 401])
  for (const wrong of ['tester:', 'tester:Secret', 'nobody:secret', ':secret', 'tester', 'tester\0:secret'])
    expect((await call(closed, 'GET', '/v2/', basic(wrong))).status).toBe(401)
  for (const header of ['Basic', 'Basic !!!', 'Bearer x', 'Digest a=b', `Basic ${'A'.repeat(5000)}`])
    expect((await call(closed, 'GET', '/v2/', { authorization: header })).status).toBe(401)
  expect(await push(closed, RIGHT)).toEqual([201, 201])
  expect((await call(closed, 'HEAD', '/v2/a/b/manifests/v1', RIGHT)).status).toBe(200)
})

test('where anybody may read: clients are sent for tokens, of which anonymous ones only read', async () => {
  const ping = await call(open, 'GET', '/v2/')
  const realm = `${open.url}/token`
  expect([ping.status, ping.headers.get('www-authenticate')]).toEqual([
    401,
    `Bearer realm="${realm}",service="archimage"`,
  ])
  const refused = await call(open, 'POST', '/v2/a/b/blobs/uploads/?mount=x&from=c/d')
  expect(refused.headers.get('www-authenticate')).toBe(
    `Bearer realm="${realm}",service="archimage",scope="repository:a/b:pull,push",scope="repository:c/d:pull"`,
  )
  const token = async (headers: Record<string, string> = {}) => {
    const response = await call(open, 'GET', '/token?service=archimage&scope=repository:a/b:pull,push', headers)
    expect(response.status).toBe(200)
    return { authorization: `Bearer ${((await response.json()) as { token: string }).token}` }
  }
  expect(await push(open, {})).toEqual([401, 401])
  expect(await push(open, await token())).toEqual([401, 401])
  expect(await push(open, await token(RIGHT))).toEqual([201, 201])
  expect(await push(open, RIGHT)).toEqual([201, 201])
  const anonymous = await token()
  for (const headers of [{}, anonymous, RIGHT])
    expect((await call(open, 'GET', '/v2/a/b/manifests/v1', headers)).status).toBe(200)
  expect((await call(open, 'GET', '/v2/', anonymous)).status).toBe(200)
  expect((await call(open, 'DELETE', '/v2/a/b/manifests/v1', anonymous)).status).toBe(401)
  // A wrong password is not the same as none.
  expect((await call(open, 'GET', '/v2/a/b/manifests/v1', basic('tester:wrong'))).status).toBe(401)
  expect((await call(open, 'GET', '/token?scope=x', basic('tester:wrong'))).status).toBe(401)
  expect((await call(open, 'GET', '/token')).status).toBe(401)
})

test('tokens by POST, as containerd asks for them', async () => {
  const ask = (form: Record<string, string>) =>
    call(
      open,
      'POST',
      '/token',
      { 'content-type': 'application/x-www-form-urlencoded' },
      String(new URLSearchParams(form)),
    )
  const right = await ask({ grant_type: 'password', username: 'tester', password: 'secret', scope: 'x' })
  const { access_token } = (await right.json()) as { access_token: string }
  expect(await push(open, { authorization: `Bearer ${access_token}` })).toEqual([201, 201])
  expect((await ask({ grant_type: 'password', username: 'tester', password: 'x', scope: 'x' })).status).toBe(401)
  expect((await ask({ grant_type: 'refresh_token', refresh_token: 'x' })).status).toBe(400)
  expect((await ask({ grant_type: 'x'.repeat(20_000) })).status).toBe(413)
})

test('HTTP/1.0 without a Host', async () => {
  const got = await new Promise<string>(resolve => {
    const socket = connect(open.port, '127.0.0.1', () => socket.write('GET /v2/ HTTP/1.0\r\n\r\n'))
    socket.once('data', data => {
      socket.destroy()
      resolve(String(data))
    })
  })
  expect(got).toStartWith('HTTP/1.1 401')
})

test('forged tokens', async () => {
  const payload = Buffer.from(JSON.stringify(['tester', Date.now() + 1e9])).toString('base64url')
  for (const token of ['x', '.', `${payload}.`, `${payload}.${'A'.repeat(43)}`, payload]) {
    const response = await call(open, 'GET', '/v2/', { authorization: `Bearer ${token}` })
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([
      401,
      expect.stringContaining('insufficient_scope'),
    ])
  }
})

test('the realm is where the client found us, and nothing but a host', async () => {
  const realm = async (headers: Record<string, string>) =>
    /realm="([^"]*)"/.exec((await call(open, 'GET', '/v2/', headers)).headers.get('www-authenticate') ?? '')?.[1]
  expect(await realm({ host: 'registry.example.com' })).toBe('http://registry.example.com/token')
  expect(await realm({ host: 'registry.example.com', 'x-forwarded-proto': 'https' })).toBe(
    'https://registry.example.com/token',
  )
  expect(await realm({ host: 'evil"/x,realm="y' })).not.toContain('"')
})
