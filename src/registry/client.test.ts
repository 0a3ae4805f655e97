import { describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createTlsServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { renderError } from '../errors/render.ts'
import { encodeIndex } from '../oci/manifest.ts'
import { type Credential, type Credentials, noCredentials } from './credentials.ts'
import { verifyLogin } from './login.ts'
import { failure, goLikeTls, quickRegistry, type Seen, startServer, testCertificate } from './test-server.ts'

const INDEX = encodeIndex({ docker: false, manifests: [] })
const HEADERS = {
  'content-type': INDEX.mediaType,
  'docker-content-digest': INDEX.digest,
  'content-length': INDEX.raw.byteLength,
}
type Response = Parameters<Parameters<typeof startServer>[0]>[1]
const index = (_request: Seen, response: Response) => void response.writeHead(200, HEADERS).end(INDEX.raw)
const only = (credential: Omit<Credential, 'source'>): Credentials => ({
  find: async () => ({ ...credential, source: 'test' }),
})
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

/** A registry that wants bearer tokens of the given scopes from `realm`. */
const wantsBearer =
  (realm: () => string, accept: (token: string, request: Seen) => boolean) => (request: Seen, response: Response) => {
    const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1]
    if (token !== undefined && accept(token, request)) return index(request, response)
    response
      .writeHead(401, {
        'www-authenticate': `Bearer realm="${realm()}",service="svc",scope="repository:placeholder:pull"`,
      })
      .end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}')
  }

describe('authentication', () => {
  test('none is sent before it is asked for; Basic then goes with every request', async () => {
    await using server = await startServer((request, response) => {
      if (request.headers.authorization === basic('me:pass-of-me')) return index(request, response)
      response.writeHead(401, { 'www-authenticate': 'Negotiate, Basic realm="r"' }).end()
    })
    const repository = quickRegistry({ credentials: only({ username: 'me', password: 'pass-of-me' }) }).repository(
      `${server.host}/a`,
    )
    expect((await repository.head('1'))?.digest).toBe(INDEX.digest)
    await repository.head('2')
    expect(server.seen.map(r => r.headers.authorization !== undefined)).toEqual([false, true, true])
  })

  test('bearer: a GET with service and our scope, Basic to the realm, one token for many at a time', async () => {
    await using auth = await startServer(
      (_request, response) => void response.end('{"access_token":"token-one","expires_in":300}'),
    )
    await using server = await startServer(
      wantsBearer(
        () => `http://${auth.host}/token`,
        token => token === 'token-one',
      ),
    )
    const repository = quickRegistry({ credentials: only({ username: 'me', password: 'pass-of-me' }) }).repository(
      `${server.host}/team/app`,
    )
    await Promise.all(Array.from({ length: 8 }, (_, i) => repository.head(`t${i}`)))
    expect(auth.seen.length).toBe(1)
    const asked = new URL(auth.seen[0]!.url, 'http://x')
    expect(asked.searchParams.getAll('scope')).toEqual(['repository:team/app:pull'])
    expect(asked.searchParams.get('service')).toBe('svc')
    expect(auth.seen[0]!.headers.authorization).toBe(basic('me:pass-of-me'))
  })

  test('anonymous tokens, relative realm', async () => {
    await using server = await startServer((request, response) =>
      request.url.startsWith('/auth')
        ? void response.end('{"token":"anonymous-token"}')
        : wantsBearer(
            () => '/auth?x=1',
            token => token === 'anonymous-token',
          )(request, response),
    )
    expect(await quickRegistry().repository(`${server.host}/a`).head('1')).toBeDefined()
    const asked = server.seen.find(r => r.url.startsWith('/auth'))!
    expect(asked.headers.authorization).toBeUndefined()
    expect(asked.url).toContain('x=1&service=svc')
  })

  test('writing asks for pull,push, and that token serves reading too', async () => {
    await using auth = await startServer((_request, response) => void response.end('{"token":"token-rw"}'))
    await using server = await startServer(
      wantsBearer(
        () => `http://${auth.host}/`,
        () => true,
      ),
    )
    const repository = quickRegistry().repository(`${server.host}/a`)
    await repository.putManifest(INDEX, '1')
    await repository.head('1')
    expect(auth.seen.map(r => new URL(r.url, 'http://x').searchParams.get('scope'))).toEqual(['repository:a:pull,push'])
  })

  test('a token that is refused is replaced once; insufficient_scope adds what the registry names', async () => {
    let tokens = 0
    await using auth = await startServer((_request, response) => void response.end(`{"token":"token-nr-${++tokens}"}`))
    await using server = await startServer((request, response) => {
      if (request.headers.authorization === 'Bearer token-nr-2') return index(request, response)
      const error =
        request.headers.authorization === undefined ? '' : ',error="insufficient_scope",scope="repository:a:*"'
      response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${auth.host}/",service="s"${error}` }).end()
    })
    expect(await quickRegistry().repository(`${server.host}/a`).head('1')).toBeDefined()
    expect(new URL(auth.seen[1]!.url, 'http://x').searchParams.getAll('scope')).toEqual([
      'repository:a:pull',
      'repository:a:*',
    ])
  })

  test('identity tokens: POST oauth2, GET where that is not known', async () => {
    for (const post of [200, 404]) {
      await using auth = await startServer((request, response) => {
        if (request.method === 'POST' && post !== 200) return void response.writeHead(post).end()
        response.end('{"access_token":"token-oauth"}')
      })
      await using server = await startServer(
        wantsBearer(
          () => `http://${auth.host}/t`,
          t => t === 'token-oauth',
        ),
      )
      const repository = quickRegistry({ credentials: only({ identityToken: 'refresh-0815' }) }).repository(
        `${server.host}/a`,
      )
      expect(await repository.head('1')).toBeDefined()
      const form = new URLSearchParams(auth.seen[0]!.body.toString())
      expect(Object.fromEntries(form)).toMatchObject({
        grant_type: 'refresh_token',
        refresh_token: 'refresh-0815',
        scope: 'repository:a:pull',
        service: 'svc',
      })
      if (post !== 200) expect(auth.seen[1]!.headers.authorization).toBe(basic('<token>:refresh-0815'))
    }
  })

  test('wrong credentials: one error with every reading, nothing secret in it, no endless round', async () => {
    await using server = await startServer(
      (_request, response) =>
        void response
          .writeHead(401, { 'www-authenticate': 'Basic realm="r"' })
          .end('{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}'),
    )
    const error = await failure(
      quickRegistry({ credentials: only({ username: 'me', password: 'wrong-password' }) })
        .repository(`${server.host}/a`)
        .manifest('1'),
    )
    expect(error.code).toBe('UNAUTHORIZED')
    expect(error.message).toBe(
      `registry ${server.host}, repository a: reading tag 1: the answer was 401 Unauthorized: UNAUTHORIZED: no`,
    )
    expect(error.hint).toContain('wrong or expired (those of test were used)')
    expect(server.seen.length).toBe(2)
    const anonymous = await failure(
      quickRegistry({ credentials: noCredentials }).repository(`${server.host}/a`).manifest('1'),
    )
    expect(anonymous.hint).toContain(`archimage login ${server.host}`)
  })

  test.each([
    ['not-http:x', 'not a web address'],
    ['http://[', 'not a URL'],
    ['http://192.0.2.1/token', 'speaks plain HTTP on another host'],
  ])('realm %s gets no password', async (realm, says) => {
    await using server = await startServer(
      wantsBearer(
        () => realm,
        () => false,
      ),
    )
    const error = await failure(
      quickRegistry({ credentials: only({ username: 'me', password: 'pass-of-me' }) })
        .repository(`${server.host}/a`)
        .head('1'),
    )
    expect(error).toMatchObject({ code: 'REGISTRY_ANSWER' })
    expect(error.message).toContain(says)
  })

  test('verifyLogin', async () => {
    await using server = await startServer((request, response) => {
      if (request.headers.authorization === basic('me:right-one')) return void response.end('{}')
      response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
    })
    await verifyLogin(server.host, 'me', 'right-one')
    expect((await failure(verifyLogin(server.host, 'me', 'wrong-one'))).code).toBe('UNAUTHORIZED')
  })
})

describe('redirects', () => {
  const guarded = (target: () => string) => (request: Seen, response: Response) => {
    if (request.headers.authorization !== undefined) return void response.writeHead(307, { location: target() }).end()
    response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
  }
  const credentials = only({ username: 'me', password: 'pass-of-me' })

  test('credentials do not go to another host or port', async () => {
    await using other = await startServer(index)
    for (const host of [other.host, `localhost:${other.port}`]) {
      await using server = await startServer(guarded(() => `http://${host}/elsewhere?sig=1`))
      expect(await quickRegistry({ credentials }).repository(`${server.host}/a`).manifest('1')).toBeDefined()
    }
    expect(other.seen.map(r => [r.url, r.headers.authorization, r.headers.cookie])).toEqual([
      ['/elsewhere?sig=1', undefined, undefined],
      ['/elsewhere?sig=1', undefined, undefined],
    ])
  })

  test('a challenge of another host is not answered', async () => {
    await using other = await startServer(
      (_r, response) => void response.writeHead(401, { 'www-authenticate': 'Basic realm="give"' }).end(),
    )
    await using server = await startServer(guarded(() => `http://localhost:${other.port}/x`))
    expect((await failure(quickRegistry({ credentials }).repository(`${server.host}/a`).manifest('1'))).code).toBe(
      'UNAUTHORIZED',
    )
    expect(other.seen.map(r => r.headers.authorization)).toEqual([undefined])
  })

  test('they stay on the same host', async () => {
    await using server = await startServer((request, response) =>
      request.url.endsWith('/moved') && request.headers.authorization
        ? index(request, response)
        : guarded(() => '/moved')(request, response),
    )
    expect(await quickRegistry({ credentials }).repository(`${server.host}/a`).manifest('1')).toBeDefined()
  })

  test('a circle ends', async () => {
    await using server = await startServer((_r, response) => void response.writeHead(302, { location: '/again' }).end())
    expect((await failure(quickRegistry().repository(`${server.host}/a`).manifest('1'))).message).toContain(
      'more than 10 redirects',
    )
    expect(server.seen.length).toBe(11)
  })

  test.each(['ftp://a.test/x', 'file:///etc/passwd', 'http://['])('%s is refused', async location => {
    await using server = await startServer((_r, response) => void response.writeHead(307, { location }).end())
    expect((await failure(quickRegistry().repository(`${server.host}/a`).manifest('1'))).code).toBe('REGISTRY_ANSWER')
  })

  test('no way down from HTTPS, none from elsewhere to this machine', () => {
    const { client } = quickRegistry()
    const doing = { registry: 'r.test', what: 'testing' }
    const host = client.host('r.test')
    const from = new URL('https://r.test/v2/')
    expect(() => client.resolve('http://cdn.test/x', from, { doing, host })).toThrow('down to http://cdn.test')
    expect(() => client.resolve('https://127.0.0.1:2375/x', from, { doing, host })).toThrow('on this machine')
    expect(() => client.resolve('https://169.254.169.254/latest', from, { doing, host })).toThrow('on this machine')
    expect(client.resolve('https://u:p@cdn.test/x', from, { doing, host }).href).toBe('https://cdn.test/x')
  })
})

describe('trying again', () => {
  const failing = (times: number, fail: (response: Response) => void) => {
    let count = 0
    return (request: Seen, response: Response) => (count++ < times ? fail(response) : index(request, response))
  }

  test.each([408, 429, 500, 502, 503, 504, 522])('%i twice, then it works', async status => {
    await using server = await startServer(failing(2, response => void response.writeHead(status).end('busy')))
    expect((await quickRegistry().repository(`${server.host}/a`).manifest('1'))?.digest).toBe(INDEX.digest)
    expect(server.seen.length).toBe(3)
  })

  test('cut connections', async () => {
    await using server = await startServer(failing(2, response => void response.destroy()))
    expect(await quickRegistry().repository(`${server.host}/a`).manifest('1')).toBeDefined()
  })

  test('an answer cut in its middle', async () => {
    await using server = await startServer(
      failing(2, response => {
        response.writeHead(200, HEADERS).write(INDEX.raw.subarray(0, 10))
        setTimeout(() => response.destroy(), 5)
      }),
    )
    expect(await quickRegistry().repository(`${server.host}/a`).manifest('1')).toBeDefined()
  })

  test('it ends, and says how often', async () => {
    await using server = await startServer(
      (_r, response) => void response.writeHead(503, { 'content-type': 'text/html' }).end('<title>Down</title>'),
    )
    const error = await failure(
      quickRegistry({ tuning: { attempts: 3 } })
        .repository(`${server.host}/a`)
        .manifest('1'),
    )
    expect(error.message).toBe(
      `registry ${server.host}, repository a: reading tag 1: the answer was 503 Service Unavailable after 3 attempts: Down`,
    )
    expect(server.seen.length).toBe(3)
  })

  test('what cannot get better is not tried again', async () => {
    for (const status of [400, 403, 405, 409]) {
      await using server = await startServer((_r, response) => void response.writeHead(status).end())
      await failure(quickRegistry().repository(`${server.host}/a`).manifest('1'))
      expect(server.seen.length).toBe(1)
    }
  })

  test('Retry-After in seconds and as a date, with an upper limit, for the whole host', async () => {
    const patient = async (after: string, least: number) => {
      await using server = await startServer(
        failing(1, response => void response.writeHead(429, { 'retry-after': after }).end()),
      )
      const start = performance.now()
      await quickRegistry().repository(`${server.host}/a`).manifest('1')
      expect(performance.now() - start).toBeGreaterThan(least)
    }
    // A date has whole seconds: the one 2.5 s from now is at least 1.5 s away.
    await Promise.all([patient('1', 950), patient(new Date(Date.now() + 2500).toUTCString(), 1400)])
    await using server = await startServer(
      failing(1, response => void response.writeHead(429, { 'retry-after': '3600' }).end()),
    )
    await quickRegistry({ tuning: { longestWait: 50 } })
      .repository(`${server.host}/a`)
      .manifest('1')
    const registry = quickRegistry({ tuning: { longestWait: 400 } })
    await using busy = await startServer(
      failing(1, response => void response.writeHead(503, { 'retry-after': '5' }).end()),
    )
    const first = registry.repository(`${busy.host}/a`).manifest('1')
    await new Promise(resolve => setTimeout(resolve, 100))
    const start = performance.now()
    await registry.repository(`${busy.host}/b`).manifest('1')
    expect(performance.now() - start).toBeGreaterThan(200)
    await first
  })

  test('silence', async () => {
    let count = 0
    await using server = await startServer((request, response) => void (count++ > 0 && index(request, response)))
    const quick = { tuning: { connect: 60, idle: 60 } }
    expect(await quickRegistry(quick).repository(`${server.host}/a`).manifest('1')).toBeDefined()
    await using mute = await startServer(() => {})
    const error = await failure(quickRegistry(quick).repository(`${mute.host}/a`).manifest('1'))
    expect(error.code).toBe('REGISTRY_UNREACHABLE')
    expect(mute.seen.length).toBe(2)
  })

  test('a host that vanished is given up once, not by each request anew; when it is back it counts again', async () => {
    let there = true
    let dropped = 0
    await using server = await startServer((request, response) => {
      if (there) return index(request, response)
      dropped++
      response.destroy()
    })
    const registry = quickRegistry({ tuning: { attempts: 4, backoff: 30 } })
    const at = (n: number) => registry.repository(`${server.host}/a${n}`)
    await at(0).manifest('1')
    there = false
    const many = await Promise.all(Array.from({ length: 8 }, (_, n) => failure(at(n).manifest('1'))))
    expect(new Set(many.map(error => error.code))).toEqual(new Set(['REGISTRY_UNREACHABLE']))
    expect(dropped).toBeLessThanOrEqual(8 * 4)
    dropped = 0
    for (let n = 0; n < 8; n++) expect((await failure(at(n).manifest('2'))).code).toBe('REGISTRY_UNREACHABLE')
    const body = () => new Blob(['x'.repeat(9)]).stream() as ReadableStream<Uint8Array>
    const blob = { mediaType: 'x/y', digest: `sha256:${'0'.repeat(64)}` as const, size: 9 }
    expect((await failure(at(9).putBlob(blob, body))).code).toBe('REGISTRY_UNREACHABLE')
    expect(dropped).toBe(9)
    there = true
    expect(await at(1).manifest('3')).toBeDefined()
    there = false
    dropped = 0
    await failure(at(1).manifest('4'))
    // The runtime sends once more by itself on a connection that was kept.
    expect(dropped).toBeGreaterThanOrEqual(4)
  })

  test('nobody there: said at once, with a remedy', async () => {
    const server = await startServer(index)
    await server[Symbol.asyncDispose]()
    const error = await failure(quickRegistry().repository(`${server.host}/a`).manifest('1'))
    expect(error.code).toBe('REGISTRY_UNREACHABLE')
    expect(error.message).toBe(
      `registry ${server.host}, repository a: reading tag 1: ${server.host} cannot be reached: nothing listens there (ECONNREFUSED)`,
    )
    expect(renderError(error)).not.toContain('Is the computer able')
  })

  test('an aborted signal ends waiting and requests', async () => {
    await using mute = await startServer(() => {})
    await using busy = await startServer((_r, response) => void response.writeHead(503, { 'retry-after': '30' }).end())
    for (const host of [mute.host, busy.host]) {
      const controller = new AbortController()
      const work = failure(quickRegistry({ signal: controller.signal }).repository(`${host}/a`).manifest('1'))
      setTimeout(() => controller.abort(), 50)
      expect((await work).code).toBe('CANCELLED')
      const own = new AbortController()
      const second = failure(quickRegistry().repository(`${host}/a`).manifest('1', { signal: own.signal }))
      setTimeout(() => own.abort(), 50)
      expect((await second).code).toBe('CANCELLED')
    }
  })

  test('offline nothing is asked', async () => {
    await using server = await startServer(index)
    expect((await failure(quickRegistry({ offline: true }).repository(`${server.host}/a`).manifest('1'))).code).toBe(
      'OFFLINE',
    )
    expect(server.seen.length).toBe(0)
  })
})

test('Warning headers are told once', async () => {
  await using server = await startServer((request, response) => {
    response.setHeader('warning', '299 - "this registry moves to new.test"')
    index(request, response)
  })
  const told: string[] = []
  const repository = quickRegistry({ warn: message => told.push(message) }).repository(`${server.host}/a`)
  await repository.manifest('1')
  await repository.manifest('1')
  expect(told).toEqual([`registry ${server.host} says: this registry moves to new.test`])
})

describe('TLS', () => {
  const certificate = testCertificate()
  const run = certificate === undefined && !process.env['CI'] ? test.skip : test
  const tls = (handle: Parameters<typeof startServer>[0]) =>
    startServer(handle, listener => createTlsServer(certificate!, listener!) as never)

  run('a loopback registry that speaks TLS is found out', async () => {
    await using server = await tls(index)
    const registry = quickRegistry()
    expect(await registry.repository(`${server.host}/a`).manifest('1')).toBeDefined()
    expect(registry.client.host(server.host).origin).toBe(`https://${server.host}`)
  })

  const certsFor = (home: string, host: string, text: string): void => {
    mkdirSync(join(home, '.config/containers/certs.d', host), { recursive: true })
    writeFileSync(join(home, '.config/containers/certs.d', host, 'ca.crt'), text)
  }

  run('one that answers 400 in the clear is found out also when many begin at once, with HEAD', async () => {
    await using inner = await tls((request, response) => {
      if (request.method !== 'HEAD' || request.url.includes('/manifests/')) return index(request, response)
      response.writeHead(404).end()
    })
    await using front = await goLikeTls(inner)
    const home = mkdtempSync(join(tmpdir(), 'archimage-certs-'))
    try {
      certsFor(home, front.host, certificate!.cert)
      for (const options of [
        {},
        { insecure: true },
        { env: { HOME: home } },
        { env: { HOME: home }, insecure: true },
      ]) {
        const registry = quickRegistry(options)
        const repositories = Array.from({ length: 12 }, (_, n) => registry.repository(`${front.host}/a${n}`))
        const heads = await Promise.all(repositories.map((repository, n) => repository.head(`t${n}`)))
        expect(heads.map(head => head?.digest)).toEqual(repositories.map(() => INDEX.digest))
        expect(registry.client.host(front.host).origin).toBe(`https://${front.host}`)
        const { plain } = front
        await Promise.all(repositories.map(repository => repository.head('again')))
        expect(front.plain).toBe(plain)
      }
    } finally {
      rmSync(home, { recursive: true })
    }
  })

  run('a certificate for another name: said in our words, with a remedy that helps', async () => {
    if (process.platform !== 'linux') return
    await using inner = await tls(index)
    await using front = await goLikeTls(inner, '127.0.0.2')
    const home = mkdtempSync(join(tmpdir(), 'archimage-certs-'))
    try {
      certsFor(home, front.host, certificate!.cert)
      const error = await failure(
        quickRegistry({ env: { HOME: home } })
          .repository(`${front.host}/a`)
          .manifest('1'),
      )
      expect(error.message).toEndWith(
        `${front.host} cannot be reached (2 attempts): its certificate is for another name (ERR_TLS_CERT_ALTNAME_INVALID)`,
      )
      expect(error.hint).toBe(
        `call the registry by a name that its certificate has, let one be made that has "127.0.0.2" (subjectAltName), or accept any certificate with --insecure=${front.host}`,
      )
      expect(renderError(error)).not.toContain('verbose')
    } finally {
      rmSync(home, { recursive: true })
    }
  })

  run('certs.d: the authority of one host; a wrong one is an error with a remedy', async () => {
    await using server = await tls(index)
    const home = mkdtempSync(join(tmpdir(), 'archimage-certs-'))
    try {
      const folder = join(home, '.config/containers/certs.d', server.host)
      mkdirSync(folder, { recursive: true })
      const env = { HOME: home }
      writeFileSync(join(folder, 'ca.crt'), certificate!.cert)
      expect(await quickRegistry({ env }).repository(`${server.host}/a`).manifest('1')).toBeDefined()
      await using stranger = await startServer(index, listener => createTlsServer(certificate!, listener!) as never)
      mkdirSync(join(home, '.config/containers/certs.d', stranger.host))
      const [other] = (await import('node:tls')).rootCertificates
      writeFileSync(join(home, '.config/containers/certs.d', stranger.host, 'ca.crt'), other!)
      const error = await failure(quickRegistry({ env }).repository(`${stranger.host}/a`).manifest('1'))
      expect(error).toMatchObject({ code: 'REGISTRY_UNREACHABLE' })
      expect(error.hint).toContain(`certs.d/${stranger.host}/ca.crt`)
    } finally {
      rmSync(home, { recursive: true })
    }
  })
})
