import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requirePeers } from '../../../test/peers/require.ts'
import { type Registry, startRegistry } from './start.ts'
import { Uploads } from './uploads.ts'

const sha = (bytes: Uint8Array | string) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'

let outer: string
let dir: string
let registry: Registry
const lines: string[] = []
beforeAll(async () => {
  outer = mkdtempSync(join(tmpdir(), 'archimage-test-'))
  dir = join(outer, 'registry')
  registry = await startRegistry({ dir, port: 0, log: line => void lines.push(line) })
})
afterAll(async () => {
  await registry.close()
  rmSync(outer, { recursive: true })
})

const call = (method: string, path: string, body?: BodyInit, headers: Record<string, string> = {}, at = registry) =>
  fetch(`${at.url}/v2/${path}`, { method, headers, redirect: 'manual', ...(body === undefined ? {} : { body }) })
const upload = (repository: string, text: string, at = registry) =>
  call('POST', `${repository}/blobs/uploads/?digest=${sha(text)}`, text, {}, at)

/** What comes back for raw bytes, until the server closes or falls silent. */
function raw(text: string): Promise<string> {
  return new Promise(resolve => {
    let got = ''
    const socket = connect(registry.port, '127.0.0.1', () => socket.write(text))
    const end = () => {
      socket.destroy()
      resolve(got)
    }
    let timer = setTimeout(end, 2000)
    socket.on('data', data => {
      got += data
      clearTimeout(timer)
      timer = setTimeout(end, 200)
    })
    socket.on('error', () => {})
    socket.on('close', end)
  })
}

describe('requests that are none', () => {
  const put = `PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: x\r\n`
  const second = 'GET /v2/smuggled/tags/list HTTP/1.1\r\nHost: x\r\n\r\n'
  test.each([
    ['two lengths', `${put}Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde`, 400],
    ['a length and chunks', `${put}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${second}`, 400],
    ['an unknown coding', `${put}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${second}`, 400],
    ['a negative length', `${put}Content-Length: -5\r\n\r\nabc`, 400],
    ['a chunk without a size', `${put}Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n`, 400],
    ['a chunk of more than 64 bits', `${put}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n`, 400],
    ['a space before the colon', `${put}Content-Length : 3\r\n\r\nabc`, 400],
    ['a folded header', 'GET /v2/ HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n', 400],
    ['a large header', `GET /v2/ HTTP/1.1\r\nHost: x\r\nX-A: ${'b'.repeat(100_000)}\r\n\r\n`, 431],
    ['many headers', `GET /v2/ HTTP/1.1\r\nHost: x\r\n${'X-A: b\r\n'.repeat(1000)}\r\n`, 431],
    ['a long path', `GET /v2/${'a'.repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431],
  ])('%s', async (_, text, status) => {
    const got = await raw(text)
    expect(got).toStartWith(`HTTP/1.1 ${status}`)
    expect(got.match(/HTTP\/1\.1/g)).toHaveLength(1)
    expect(lines.join('\n')).not.toContain('smuggled')
  })
})

describe('names that lead elsewhere', () => {
  test.each([
    'GET /v2/../../etc/passwd',
    'GET /v2/..%2f..%2fetc/tags/list',
    'GET /v2/a/..%2f..%2fb/manifests/v1',
    'GET /v2/a/manifests/..',
    'GET /v2/a/manifests/%2e%2e%2fx',
    'GET /v2/a/manifests/v1%00',
    'GET /v2/a%00b/tags/list',
    'GET /v2/_uploads/tags/list',
    'GET /v2/a/_tags/tags/list',
    'GET /v2/a/blobs/sha256:../../../../etc/passwd',
    `GET /v2/a/blobs/sha256:${'A'.repeat(64)}`,
    'GET /v2/a/blobs/sha256:abc',
    `GET /v2/${'a/'.repeat(200)}b/tags/list`,
    'PATCH /v2/a/blobs/uploads/..%2f..%2fx',
    `PATCH /v2/a/blobs/uploads/${'0'.repeat(16)}-../../../../tmp/x`,
    'PUT /v2/a/blobs/uploads/lock?digest=sha256:00',
    'POST /v2/A/blobs/uploads/',
    'PUT /v2/a/manifests/.hidden',
    `PUT /v2/a/manifests/${'x'.repeat(129)}`,
  ])('%s', async line => {
    const got = await raw(`${line} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n`)
    expect(got).toMatch(/^HTTP\/1\.1 40[045]/)
    expect(readdirSync(outer)).toEqual(['registry'])
    expect(existsSync(join(dir, 'repositories'))).toBe(false)
  })

  test('what is logged is one line of printable text', async () => {
    await raw('GET /v2/a%0a%1b[31mb/\x7f\u00e9 HTTP/1.1\r\nHost: x\r\n\r\n')
    for (const line of lines) expect(line).toMatch(/^[\x20-\x7e]*$/)
  })
})

test('a manifest that is too long is cut off while it comes, without a length too', async () => {
  let sent = 0
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      sent += 1 << 20
      controller.enqueue(new Uint8Array(1 << 20))
      if (sent > 1 << 28) controller.close()
    },
  })
  const response = await call('PUT', 'a/manifests/v1', endless, { 'content-type': MANIFEST }).catch(() => undefined)
  expect([413, undefined]).toContain(response?.status)
  expect(sent).toBeLessThan(1 << 28)
})

test('JSON that is deep, wide or strange', async () => {
  for (const text of [
    '['.repeat(1_000_000),
    `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
    '{"schemaVersion":2,"__proto__":{"x":1},"config":null,"layers":null}',
    `{"schemaVersion":2,"mediaType":"${MANIFEST}","config":{"mediaType":"a/b","digest":"sha256:x","size":1},"layers":[]}`,
    `{"schemaVersion":2,"mediaType":"${MANIFEST}","config":{"mediaType":"a/b","digest":"${sha('')}","size":-1},"layers":[]}`,
    `{"schemaVersion":2,"mediaType":"${MANIFEST}","config":{"mediaType":"a/b","digest":"${sha('')}","size":1e999},"layers":[]}`,
    '\u0000\u0001',
  ]) {
    const response = await call('PUT', 'a/manifests/v1', text, { 'content-type': MANIFEST })
    expect([response.status, await response.text()]).toEqual([400, expect.stringContaining('MANIFEST_INVALID')])
  }
})

test('links that somebody planted are neither read nor written through', async () => {
  const elsewhere = join(outer, 'elsewhere')
  mkdirSync(elsewhere)
  writeFileSync(join(elsewhere, 'secret'), 'secret')
  expect((await upload('planted/a', 'x')).status).toBe(201)
  const at = (...parts: string[]) => join(dir, 'repositories/planted', ...parts)
  symlinkSync(join(elsewhere, 'secret'), at('a/_blobs/sha256', sha('secret').slice(7)))
  expect((await call('GET', `planted/a/blobs/${sha('secret')}`)).status).toBe(404)
  expect((await call('HEAD', `planted/a/blobs/${sha('secret')}`)).status).toBe(404)
  symlinkSync(elsewhere, at('b'))
  expect((await upload('planted/b', 'y')).status).toBe(500)
  symlinkSync('..', at('loop'))
  const catalog = (await (await call('GET', '_catalog')).json()) as { repositories: string[] }
  expect(catalog.repositories).toEqual(['planted/a'])
  expect(readdirSync(elsewhere)).toEqual(['secret'])
  rmSync(elsewhere, { recursive: true })
})

test('uploads: whoever falls silent is let go, and can go on; many that nobody finishes do not fill the memory', async () => {
  const folder = join(outer, 'uploads')
  mkdirSync(folder)
  const uploads = new Uploads(folder, 50)
  const session = uploads.start('a')
  const silent = new ReadableStream<Uint8Array>({ start: controller => controller.enqueue(Buffer.from('abc')) })
  const error = await uploads.append(session, silent).then(
    () => undefined,
    failed => failed as { status: number },
  )
  expect([error?.status, session.offset, session.busy]).toEqual([408, 3, false])
  const ids = Array.from({ length: 2500 }, () => uploads.start('a').id)
  await uploads.append(uploads.find('a', session.id)!, new Blob(['def']).stream())
  expect(await uploads.digest(uploads.find('a', session.id)!, sha('abcdef') as never)).toBe(sha('abcdef'))
  expect(uploads.find('a', ids[0]!)?.offset).toBe(0)
  // Another server of the folder went on with it.
  const other = new Uploads(folder)
  await other.append(other.find('a', session.id)!, new Blob(['ghi']).stream())
  const again = uploads.find('a', session.id)!
  expect(again.offset).toBe(9)
  expect(await uploads.digest(again, sha('abcdefghi') as never)).toBe(sha('abcdefghi'))
  rmSync(folder, { recursive: true })
})

requirePeers('root')('a full disk is said, and leaves what there was', async () => {
  if (process.platform !== 'linux') return
  const small = join(outer, 'small')
  mkdirSync(small)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', small])
  try {
    const own = await startRegistry({ dir: small, port: 0 })
    try {
      expect((await upload('a', 'small', own)).status).toBe(201)
      const big = randomBytes(4 << 20)
      const full = await call('POST', `a/blobs/uploads/?digest=${sha(big)}`, big, {}, own)
      expect([full.status, await full.text()]).toEqual([
        507,
        expect.stringContaining('the disk of the registry is full'),
      ])
      // The client does not know the upload: it would take room for a day.
      expect(readdirSync(join(small, 'uploads'))).toEqual([])
      expect(await (await call('GET', `a/blobs/${sha('small')}`, undefined, {}, own)).text()).toBe('small')
    } finally {
      await own.close()
    }
  } finally {
    execFileSync('umount', ['-l', small])
    rmSync(small, { recursive: true })
  }
})
