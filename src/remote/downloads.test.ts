import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startWeb, type Web } from '../../test/remote/web.ts'
import { isArchimageError } from '../errors/error.ts'
import { type Digest, sha256 } from '../oci/digest.ts'
import { openRegistry } from '../registry/registry.ts'
import type { RunEvent } from '../run/events.ts'
import { openStore, type Store } from '../store/store.ts'
import { Downloads, type DownloadTools } from './downloads.ts'

let web: Web
let other: Web
let home: string
let store: Store
let events: RunEvent[]

beforeAll(async () => {
  web = await startWeb()
  other = await startWeb()
})
afterAll(async () => {
  await web.stop()
  await other.stop()
})
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'archimage-downloads-'))
  store = openStore({ home })
  events = []
  for (const one of [web, other]) {
    one.pages.clear()
    one.asked.length = 0
  }
})
afterEach(() => {
  store.close()
  rmSync(home, { recursive: true, force: true })
})

/** Each call is a run of its own. */
function downloads(
  more: Partial<DownloadTools> = {},
  idle = 5000,
  env: Readonly<Record<string, string>> = {},
): Downloads {
  const { client } = openRegistry({
    env,
    credentials: { get: async () => undefined } as never,
    tuning: { backoff: 1, longestWait: 10, idle, connect: idle },
    offline: more.offline ?? false,
  })
  const signal = new AbortController().signal
  return new Downloads({ store, client, offline: false, emit: event => events.push(event), signal, ...more })
}

async function failure(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    if (!isArchimageError(error)) throw error
    return `${error.code}: ${error.message} ${error.hint ?? ''}`
  }
  throw new Error('it worked')
}

describe('downloads', () => {
  test('become blobs of the store, with the time that the server gives', async () => {
    const headers = { 'last-modified': 'Wed, 21 Oct 2015 07:28:00 GMT' }
    web.pages.set('/a', { body: 'hello', headers })
    const got = await downloads().get(`${web.url}/a`)
    expect(got).toEqual({ digest: sha256('hello'), size: 5, modified: 1445412480 })
    expect(String(store.read(got.digest))).toBe('hello')
    expect(events.at(-1)).toMatchObject({ type: 'transfer', direction: 'pull', current: 5, total: 5, done: true })
  })

  test('are asked for once in a run', async () => {
    web.pages.set('/a', { body: 'hello' })
    const one = downloads()
    await Promise.all([one.get(`${web.url}/a`), one.get(`${web.url}/a`), one.get(`${web.url}/a`)])
    expect(web.asked).toHaveLength(1)
  })

  test('with an ETag cost one conditional request while they do not change', async () => {
    web.pages.set('/a', { body: 'one', etag: '"1"' })
    const first = await downloads().get(`${web.url}/a`)
    expect(await downloads().get(`${web.url}/a`)).toEqual(first)
    expect(web.asked.map(({ headers }) => headers['if-none-match'])).toEqual([undefined, '"1"'])
    web.pages.set('/a', { body: 'two', etag: '"2"' })
    expect((await downloads().get(`${web.url}/a`)).digest).toBe(sha256('two'))
    expect((await downloads().get(`${web.url}/a`)).digest).toBe(sha256('two'))
    expect(web.asked).toHaveLength(4)
  })

  test('without an ETag are fetched again', async () => {
    web.pages.set('/a', { body: 'one' })
    await downloads().get(`${web.url}/a`)
    web.pages.set('/a', { body: 'two' })
    expect((await downloads().get(`${web.url}/a`)).digest).toBe(sha256('two'))
  })

  test('whose blob is gone are fetched again', async () => {
    web.pages.set('/a', { body: 'one', etag: '"1"' })
    const { digest } = await downloads().get(`${web.url}/a`)
    rmSync(store.blobPath(digest))
    expect((await downloads().get(`${web.url}/a`)).digest).toBe(digest)
    expect(web.asked[1]!.headers['if-none-match']).toBeUndefined()
  })

  test('with the right checksum are taken, and not asked for again', async () => {
    web.pages.set('/a', { body: 'one' })
    const digest = sha256('one')
    expect((await downloads().get(`${web.url}/a`, digest)).digest).toBe(digest)
    expect((await downloads().get(`${web.url}/a`, digest)).digest).toBe(digest)
    expect((await downloads().get(`${web.url}/elsewhere`, digest)).digest).toBe(digest)
    expect(web.asked).toHaveLength(1)
  })

  test('with a wrong checksum are refused, also those from last time', async () => {
    web.pages.set('/a', { body: 'one', etag: '"1"' })
    const wrong: Digest = sha256('two')
    for (let i = 0; i < 2; i++)
      expect(await failure(downloads().get(`${web.url}/a`, wrong))).toContain(`DIGEST_MISMATCH: ${web.url}/a is`)
    expect(store.records.list('download')).toEqual([])
    await downloads().get(`${web.url}/a`)
    expect(await failure(downloads({ offline: true }).get(`${web.url}/a`, wrong))).toContain('DIGEST_MISMATCH')
  })

  test('--offline takes what was there last time', async () => {
    expect(await failure(downloads({ offline: true }).get(`${web.url}/a`))).toContain('OFFLINE')
    web.pages.set('/a', { body: 'one' })
    const first = await downloads().get(`${web.url}/a`)
    web.asked.length = 0
    expect(await downloads({ offline: true }).get(`${web.url}/a`)).toEqual(first)
    expect(web.asked).toEqual([])
  })

  test('that are cut off are tried again, and never kept in part', async () => {
    const body = 'x'.repeat(100_000)
    web.pages.set('/twice', { body, cut: { after: 50_000, times: 2 } })
    expect((await downloads().get(`${web.url}/twice`)).size).toBe(100_000)
    web.pages.set('/always', { body: `${body}y`, cut: { after: 50_000, times: 99 } })
    expect(await failure(downloads().get(`${web.url}/always`))).toContain('SOURCE_UNREACHABLE')
    expect(web.asked).toHaveLength(6)
    expect(store.has(sha256('x'.repeat(50_000)))).toBe(false)
  })

  test('from servers that fall silent end', async () => {
    web.pages.set('/a', { silent: true })
    expect(await failure(downloads({}, 50).get(`${web.url}/a`))).toContain('SOURCE_UNREACHABLE')
  })

  test('that nobody serves say so', async () => {
    expect(await failure(downloads().get(`${web.url}/none?token=hidden`))).toBe(
      `SOURCE_FAILED: ${web.url}/none?…: the answer was 404 check the address; the file may have been moved or taken away`,
    )
    expect(await failure(downloads().get('http://127.0.0.1:1/x'))).toContain('SOURCE_UNREACHABLE')
    expect(await failure(downloads().get('http://a b/'))).toContain('USAGE')
    web.pages.set('/broken', { status: 500 })
    expect(await failure(downloads().get(`${web.url}/broken`))).toContain('the answer was 500')
    web.pages.set('/part', { status: 206, body: 'x' })
    expect(await failure(downloads().get(`${web.url}/part`))).toContain('the answer was 206')
  })

  test('follow redirects, also to other hosts', async () => {
    web.pages.set('/a', { status: 302, headers: { location: '/b' } })
    web.pages.set('/b', { status: 307, headers: { location: `${other.url}/c` } })
    other.pages.set('/c', { body: 'there' })
    expect((await downloads().get(`${web.url}/a`)).digest).toBe(sha256('there'))
  })

  test('do not go in circles, nor to what is no web address', async () => {
    web.pages.set('/a', { status: 302, headers: { location: '/a' } })
    expect(await failure(downloads().get(`${web.url}/a`))).toContain('more than 10 redirects')
    for (const location of ['file:///etc/passwd', 'ftp://example.com/x', 'http://']) {
      web.pages.set('/b', { status: 302, headers: { location } })
      expect(await failure(downloads().get(`${web.url}/b`))).toContain('SOURCE_FAILED')
    }
  })

  test('send credentials to the host of the URL, and to no other', async () => {
    const basic = `Basic ${Buffer.from('me:pa55word').toString('base64')}`
    web.pages.set('/a', { status: 302, headers: { location: '/b' }, authorization: basic })
    web.pages.set('/b', { status: 302, headers: { location: `${other.url}/c` }, authorization: basic })
    other.pages.set('/c', { body: 'x' })
    await downloads().get(`http://me:pa55word@${web.host}/a`)
    expect(web.asked.map(({ headers }) => headers.authorization)).toEqual([basic, basic])
    expect(other.asked.map(({ headers }) => headers.authorization)).toEqual([undefined])
    expect(await failure(downloads().get(`http://me:wr0ng@${web.host}/a`))).not.toContain('wr0ng')
  })

  test('take secrets that are named after the host', async () => {
    web.pages.set('/a', { body: 'x', authorization: 'Bearer t0ken' })
    const secret = (id: string) => (id === 'HTTP_AUTH_TOKEN_127.0.0.1' ? 't0ken\n' : undefined)
    expect((await downloads({ secret }).get(`${web.url}/a`)).size).toBe(1)
    web.pages.set('/b', { body: 'x', authorization: 'Custom abc' })
    const header = (id: string) => (id === 'HTTP_AUTH_HEADER_127.0.0.1' ? 'Custom abc' : undefined)
    expect((await downloads({ secret: header }).get(`${web.url}/b`)).size).toBe(1)
    expect(await failure(downloads().get(`${web.url}/a`))).toContain('HTTP_AUTH_TOKEN_127.0.0.1')
  })

  test('go through a proxy, whose password stays out of errors', async () => {
    other.pages.set('http://files.example.com/a?b=c', { body: 'through a proxy' })
    const env = { HTTP_PROXY: other.url.replace('//', '//me:pr0xy@'), NO_PROXY: 'direct.example.com' }
    expect((await downloads({}, 5000, env).get('http://files.example.com/a?b=c')).size).toBe(15)
    expect(other.asked[0]!.headers['proxy-authorization']).toBe(`Basic ${Buffer.from('me:pr0xy').toString('base64')}`)
    expect(await failure(downloads({}, 5000, env).get('http://files.example.com/none'))).not.toContain('pr0xy')
    expect(other.asked).toHaveLength(2)
  })
})
