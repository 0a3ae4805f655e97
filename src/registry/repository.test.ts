import { describe, expect, test } from 'bun:test'
import { createHash, randomBytes } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import type { Digest } from '../oci/digest.ts'
import { type Descriptor, encodeIndex } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { parseRegistryConfig } from './config.ts'
import { failure, quickRegistry, readAll, type Seen, startServer } from './test-server.ts'

type Response = Parameters<Parameters<typeof startServer>[0]>[1]

const digestOf = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest
const describeBytes = (bytes: Uint8Array): Descriptor => ({
  mediaType: OCI.layerGzip,
  digest: digestOf(bytes),
  size: bytes.byteLength,
})
const INDEX = encodeIndex({ docker: false, manifests: [] })
const OTHER = encodeIndex({ docker: false, manifests: [], annotations: { other: 'yes' } })
const BIG = randomBytes(3 * 1024 * 1024)
const SMALL = randomBytes(1000)
const at = (host: string, name = 'team/app') => quickRegistry().repository(`${host}/${name}`)
/** A body that counts how often it was asked for. */
function bodyOf(bytes: Uint8Array) {
  const source = () => {
    source.count++
    return new ReadableStream<Uint8Array>({
      start(controller) {
        for (let i = 0; i < bytes.byteLength; i += 65536) controller.enqueue(bytes.subarray(i, i + 65536))
        controller.close()
      },
    })
  }
  source.count = 0
  return source
}

describe('manifests', () => {
  const serve = (bytes: Uint8Array, headers: Record<string, string | number> = {}) =>
    startServer((request, response) => {
      response.writeHead(200, { 'content-type': INDEX.mediaType, 'content-length': bytes.byteLength, ...headers })
      response.end(request.method === 'HEAD' ? undefined : bytes)
    })

  test('absent ones are undefined', async () => {
    await using server = await startServer(
      (_r, response) => void response.writeHead(404).end('{"errors":[{"code":"NAME_UNKNOWN"}]}'),
    )
    expect(await at(server.host).manifest('1')).toBeUndefined()
    expect(await at(server.host).head('1')).toBeUndefined()
    expect(await at(server.host).hasBlob(describeBytes(SMALL))).toBe(false)
    expect(await Array.fromAsync(at(server.host).tags())).toEqual([])
  })

  test('raw bytes are kept; Accept names indexes and manifests; the same question at a time is asked once', async () => {
    await using server = await serve(INDEX.raw)
    const repository = at(server.host)
    const [one, two] = await Promise.all([repository.manifest('1'), repository.manifest('1')])
    expect(Buffer.from(one!.raw)).toEqual(Buffer.from(INDEX.raw))
    expect(two).toBe(one!)
    expect(server.seen.length).toBe(1)
    expect(server.seen[0]!.headers.accept).toBe(
      'application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json',
    )
  })

  test('a digest is checked against the bytes', async () => {
    await using server = await serve(OTHER.raw)
    const error = await failure(at(server.host).manifest(INDEX.digest))
    expect(error.code).toBe('DIGEST_MISMATCH')
    expect(error.message).toContain(`${INDEX.digest} was asked, ${OTHER.digest} came`)
    const sha512 = `sha512:${createHash('sha512').update(OTHER.raw).digest('hex')}`
    expect((await at(server.host).manifest(sha512))?.digest).toBe(sha512 as Digest)
  })

  test('encodings that nobody asked for are undone, bombs are not', async () => {
    const packed = gzipSync(INDEX.raw)
    await using server = await serve(packed, { 'content-encoding': 'gzip' })
    expect((await at(server.host).manifest('1'))?.digest).toBe(INDEX.digest)
    expect((await at(server.host).head('1'))?.size).toBe(INDEX.raw.byteLength)
    await using bomb = await serve(gzipSync(Buffer.alloc(20 * 1024 * 1024)), { 'content-encoding': 'gzip' })
    expect((await failure(at(bomb.host).manifest('1'))).code).toBe('REGISTRY_ANSWER')
  })

  test('too large, not JSON, wrong type', async () => {
    await using large = await serve(Buffer.alloc(8 * 1024 * 1024 + 1, 32))
    expect((await failure(at(large.host).manifest('1'))).message).toContain('larger than')
    await using portal = await serve(Buffer.from('<html>please log in</html>'), { 'content-type': 'text/html' })
    expect((await failure(at(portal.host).manifest('1'))).code).toBe('MANIFEST_INVALID')
    await using plain = await serve(INDEX.raw, { 'content-type': 'text/plain' })
    expect((await at(plain.host).manifest('1'))?.mediaType).toBe(OCI.index)
  })

  test('HEAD says enough, or GET is asked', async () => {
    const full = { 'docker-content-digest': INDEX.digest }
    for (const [headers, requests] of [
      [full, ['HEAD']],
      [{}, ['HEAD', 'GET']],
      [{ ...full, 'content-type': 'application/json' }, ['HEAD', 'GET']],
      [{ 'docker-content-digest': 'sha256:short' }, ['HEAD', 'GET']],
    ] as const) {
      await using server = await serve(INDEX.raw, headers)
      expect(await at(server.host).head('1')).toEqual({
        mediaType: OCI.index,
        digest: INDEX.digest,
        size: INDEX.raw.byteLength,
      })
      expect(server.seen.map(r => r.method)).toEqual([...requests])
    }
    await using without = await startServer((request, response) =>
      request.method === 'HEAD'
        ? void response.writeHead(405).end()
        : void response.writeHead(200, { 'content-type': OCI.index }).end(INDEX.raw),
    )
    expect((await at(without.host).head('1'))?.digest).toBe(INDEX.digest)
  })
})

describe('reading blobs', () => {
  const rangeOf = (request: Seen) => Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
  /** Sends the blob from the asked offset, and cuts the connection after `cut` bytes on the first `times` requests. */
  const cutting = (ranges: boolean, times: number, cut: number) => {
    let count = 0
    return (request: Seen, response: Response) => {
      const from = ranges ? rangeOf(request) : 0
      const rest = BIG.subarray(from)
      const headers = {
        'content-length': rest.byteLength,
        ...(from > 0 ? { 'content-range': `bytes ${from}-${BIG.byteLength - 1}/${BIG.byteLength}` } : {}),
      }
      response.writeHead(from > 0 ? 206 : 200, headers)
      if (count++ >= times) return void response.end(rest)
      response.write(rest.subarray(0, cut), () => setTimeout(() => response.destroy(), 20))
    }
  }

  test('a cut connection is taken up where it was', async () => {
    await using server = await startServer(cutting(true, 2, 1024 * 1024))
    const progress: number[] = []
    const stream = await at(server.host).blob(describeBytes(BIG), { progress: bytes => progress.push(bytes) })
    expect((await readAll(stream)).equals(BIG)).toBe(true)
    expect(server.seen.length).toBe(3)
    expect(server.seen[1]!.headers.range).toMatch(/^bytes=[1-9]\d*-$/)
    expect(progress.at(-1)).toBe(BIG.byteLength)
    expect(progress).toEqual(progress.toSorted((a, b) => a - b))
  })

  test('without Range on the other side what is known is skipped', async () => {
    await using server = await startServer(cutting(false, 2, 1024 * 1024))
    expect((await readAll(await at(server.host).blob(describeBytes(BIG)))).equals(BIG)).toBe(true)
    expect(server.seen.length).toBe(3)
  })

  test('a server that cuts every time ends in an error', async () => {
    await using server = await startServer(cutting(true, 1000, 100))
    const error = await failure(readAll(await at(server.host).blob(describeBytes(BIG))))
    expect(error.code).toBe('REGISTRY_UNREACHABLE')
    expect(server.seen.length).toBeLessThan(10)
  })

  test('another Content-Range than asked is an error', async () => {
    let count = 0
    await using server = await startServer((request, response) => {
      if (count++ === 0) return cutting(true, 1, 1024 * 1024)(request, response)
      response.writeHead(206, { 'content-range': `bytes 0-${BIG.byteLength - 1}/${BIG.byteLength}` }).end(BIG)
    })
    expect((await failure(readAll(await at(server.host).blob(describeBytes(BIG))))).code).toBe('REGISTRY_ANSWER')
  })

  test.each([
    ['one byte changed', () => Buffer.concat([BIG.subarray(0, -1), Buffer.from([BIG.at(-1)! ^ 1])]), true],
    ['too short, and it says so', () => BIG.subarray(1), true],
    ['too long, and it says so', () => Buffer.concat([BIG, SMALL]), true],
    ['too short, in chunks', () => BIG.subarray(1), false],
    ['too long, in chunks', () => Buffer.concat([BIG, SMALL]), false],
    ['empty', () => Buffer.alloc(0), true],
  ])('%s is an error', async (_name, bytes, length) => {
    await using server = await startServer((request, response) => {
      const rest = bytes().subarray(rangeOf(request))
      response
        .writeHead(200, length ? { 'content-length': bytes().byteLength } : {})
        .end(length ? bytes() : rest.byteLength >= 0 ? bytes() : '')
    })
    const work = at(server.host).blob(describeBytes(BIG)).then(readAll)
    expect((await failure(work)).code).toBe('DIGEST_MISMATCH')
  })

  test('a small blob is checked before anything of it is given out', async () => {
    await using server = await startServer((_r, response) => void response.end(randomBytes(SMALL.byteLength)))
    expect((await failure(at(server.host).blob(describeBytes(SMALL)))).code).toBe('DIGEST_MISMATCH')
  })

  test('start, empty blobs, absent blobs', async () => {
    await using server = await startServer((request, response) => {
      if (!request.url.endsWith(digestOf(BIG))) return void response.writeHead(404).end()
      cutting(true, 0, 0)(request, response)
    })
    const repository = at(server.host)
    expect(
      (await readAll(await repository.blob(describeBytes(BIG), { start: 1_000_000 }))).equals(BIG.subarray(1_000_000)),
    ).toBe(true)
    expect((await readAll(await repository.blob(describeBytes(Buffer.alloc(0))))).byteLength).toBe(0)
    expect((await failure(repository.blob({ ...describeBytes(SMALL), size: 0 }))).code).toBe('DIGEST_MISMATCH')
    expect(await failure(repository.blob(describeBytes(SMALL)))).toMatchObject({ code: 'NOT_FOUND' })
  })

  test('a consumer that goes away ends the request', async () => {
    let closed = false
    await using server = await startServer((_r, response) => {
      response.on('close', () => {
        closed = true
      })
      response.writeHead(200, { 'content-length': 100_000_000 }).write(BIG)
    })
    const stream = await at(server.host).blob({ ...describeBytes(BIG), size: 100_000_000 })
    const reader = stream.getReader()
    await reader.read()
    await reader.cancel()
    for (let i = 0; i < 100 && !closed; i++) await new Promise(resolve => setTimeout(resolve, 10))
    expect(closed).toBe(true)
  })
})

/** A registry in memory that follows the spec; `before` may answer in its place. */
function registry(before: (request: Seen, response: Response) => boolean | undefined = () => false) {
  const blobs = new Map<string, Buffer>()
  const sessions = new Map<string, Buffer>()
  let counter = 0
  const handle = (request: Seen, response: Response): void => {
    if (before(request, response)) return
    const url = new URL(request.url, 'http://x')
    const [, name, rest = ''] = /^\/v2\/(.+?)\/(blobs\/.*)$/.exec(url.pathname) ?? []
    const mount = url.searchParams.get('mount')
    if (request.method === 'POST') {
      const held = blobs.get(`${url.searchParams.get('from')} ${mount}`)
      if (held !== undefined) {
        blobs.set(`${name} ${mount}`, held)
        return void response.writeHead(201).end()
      }
      return void response.writeHead(202, { location: `/v2/${name}/blobs/uploads/${++counter}?_state=a%2Fb%3D` }).end()
    }
    if (request.method === 'PATCH' || request.method === 'PUT') {
      const whole = Buffer.concat([sessions.get(rest) ?? Buffer.alloc(0), request.body])
      sessions.set(rest, whole)
      if (request.method === 'PATCH') return void response.writeHead(202, { location: request.url }).end()
      const digest = url.searchParams.get('digest')
      const right = digestOf(whole) === digest && request.url.includes('_state=a%2Fb%3D&digest=sha256%3A')
      if (right) blobs.set(`${name} ${digest}`, whole)
      return void response
        .writeHead(right ? 201 : 400)
        .end(right ? '' : '{"errors":[{"code":"DIGEST_INVALID","message":"wrong"}]}')
    }
    const held = blobs.get(`${name} ${rest.slice('blobs/'.length)}`)
    if (held === undefined) response.writeHead(404).end()
    else
      response.writeHead(200, { 'content-length': held.byteLength }).end(request.method === 'HEAD' ? undefined : held)
  }
  return { handle, blobs }
}

const steps = (seen: readonly Seen[]) => seen.map(r => `${r.method}${r.url.includes('mount=') ? ' mount' : ''}`)

describe('writing blobs', () => {
  test('HEAD, POST, PUT with its length to a relative Location whose query is kept', async () => {
    const { handle, blobs } = registry()
    await using server = await startServer(handle)
    const repository = at(server.host)
    const progress: number[] = []
    expect(await repository.putBlob(describeBytes(BIG), bodyOf(BIG), { progress: n => progress.push(n) })).toBe(
      'uploaded',
    )
    expect(steps(server.seen)).toEqual(['HEAD', 'POST', 'PUT'])
    expect(server.seen[2]!.headers['content-length']).toBe(String(BIG.byteLength))
    expect(server.seen[2]!.headers['transfer-encoding']).toBeUndefined()
    expect(blobs.get(`team/app ${digestOf(BIG)}`)?.equals(BIG)).toBe(true)
    expect(progress.at(-1)).toBe(BIG.byteLength)
    // Known from before: not even asked.
    expect(await repository.putBlob(describeBytes(BIG), bodyOf(BIG))).toBe('exists')
    expect(server.seen.length).toBe(3)
    expect(await at(server.host).putBlob(describeBytes(BIG), bodyOf(BIG))).toBe('exists')
    expect(steps(server.seen.slice(3))).toEqual(['HEAD'])
  })

  test('empty blobs', async () => {
    const { handle } = registry()
    await using server = await startServer(handle)
    expect(await at(server.host).putBlob(describeBytes(Buffer.alloc(0)), bodyOf(Buffer.alloc(0)))).toBe('uploaded')
    expect(server.seen.at(-1)!.headers['content-length']).toBe('0')
  })

  test('the same blob at a time goes once; other repositories mount it', async () => {
    const { handle } = registry()
    await using server = await startServer(handle)
    const client = quickRegistry()
    const body = bodyOf(BIG)
    const to = (name: string) => client.repository(`${server.host}/${name}`).putBlob(describeBytes(BIG), body)
    const how = await Promise.all([to('a'), to('a'), to('b'), to('c')])
    expect(how).toEqual(['uploaded', 'exists', 'mounted', 'mounted'])
    expect(body.count).toBe(1)
    expect(steps(server.seen).filter(step => step === 'PUT').length).toBe(1)
  })

  test('mount: from a named repository; 202 goes on with that Location; refusals fall back', async () => {
    const known = registry()
    known.blobs.set(`base ${digestOf(BIG)}`, BIG)
    await using server = await startServer(known.handle)
    expect(await at(server.host).putBlob(describeBytes(BIG), bodyOf(BIG), { from: ['base'] })).toBe('mounted')
    expect(server.seen[1]!.url).toContain(`mount=sha256%3A`)
    expect(server.seen[1]!.url).toContain('&from=base')

    await using none = await startServer(registry().handle)
    expect(await at(none.host).putBlob(describeBytes(BIG), bodyOf(BIG), { from: ['base'] })).toBe('uploaded')
    expect(steps(none.seen)).toEqual(['HEAD', 'POST mount', 'PUT'])

    for (const status of [401, 403, 404, 405, 500]) {
      await using refusing = await startServer(
        registry((request, response) => request.url.includes('mount=') && !!response.writeHead(status).end()).handle,
      )
      expect(await at(refusing.host).putBlob(describeBytes(BIG), bodyOf(BIG), { from: ['base'] })).toBe('uploaded')
      expect(steps(refusing.seen).filter(step => step !== 'POST mount' && step !== 'GET')).toEqual([
        'HEAD',
        'POST',
        'PUT',
      ])
    }
  })

  test('a failing upload is tried again with a fresh body', async () => {
    for (const fail of [
      (response: Response) => response.writeHead(500).end(),
      (response: Response) => response.destroy(),
      (response: Response) => response.writeHead(404).end('{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}'),
    ]) {
      let count = 0
      await using server = await startServer(
        registry((request, response) => request.method === 'PUT' && count++ < 2 && !!fail(response)).handle,
      )
      const body = bodyOf(BIG)
      expect(await at(server.host).putBlob(describeBytes(BIG), body)).toBe('uploaded')
      expect(body.count).toBe(3)
    }
  })

  test('an upload whose answer was lost is not sent again', async () => {
    const inner = registry()
    let count = 0
    await using server = await startServer((request, response) => {
      if (request.method === 'PUT' && count++ === 0) {
        inner.blobs.set(`team/app ${digestOf(BIG)}`, request.body)
        return void response.destroy()
      }
      inner.handle(request, response)
    })
    const body = bodyOf(BIG)
    expect(await at(server.host).putBlob(describeBytes(BIG), body)).toBe('exists')
    expect(body.count).toBe(1)
  })

  test('servers that do not take it whole get PATCH, small pieces behind a proxy with a limit', async () => {
    const large = randomBytes(9 * 1024 * 1024)
    for (const [status, limit] of [
      [405, 100_000_000],
      [416, 100_000_000],
      [413, 8_400_000],
    ] as const) {
      const inner = registry((request, response) => {
        const refused =
          status === 413 ? request.body.byteLength > limit : request.method === 'PUT' && request.body.byteLength > 0
        return refused && !!response.writeHead(status).end()
      })
      await using server = await startServer(inner.handle)
      const client = quickRegistry()
      const repository = client.repository(`${server.host}/team/app`)
      expect(await repository.putBlob(describeBytes(large), bodyOf(large))).toBe('uploaded')
      expect(inner.blobs.get(`team/app ${digestOf(large)}`)?.equals(large)).toBe(true)
      // The next blob goes the way that is known to work.
      const before = server.seen.length
      await repository.putBlob(describeBytes(BIG), bodyOf(BIG))
      expect(steps(server.seen.slice(before))).toEqual(['HEAD', 'POST', 'PATCH', 'PUT'])
    }
  })

  test('a wrong source is said, not sent again and again', async () => {
    await using server = await startServer(registry().handle)
    const wrong = bodyOf(randomBytes(BIG.byteLength))
    const error = await failure(at(server.host).putBlob(describeBytes(BIG), wrong))
    expect(error.code).toBe('DIGEST_MISMATCH')
    expect(wrong.count).toBe(1)
    for (const length of [BIG.byteLength - 1, BIG.byteLength + 1, 10])
      expect((await failure(at(server.host).putBlob(describeBytes(BIG), bodyOf(randomBytes(length))))).code).toBe(
        'DIGEST_MISMATCH',
      )
    const broken = () => new ReadableStream<Uint8Array>({ pull: () => Promise.reject(new Error('disk on fire')) })
    expect((await failure(at(server.host).putBlob(describeBytes(BIG), broken))).message).toBe('disk on fire')
  })

  test('an upload without Location, or to another scheme, is an error', async () => {
    await using server = await startServer(
      registry((request, response) => request.method === 'POST' && !!response.writeHead(202).end()).handle,
    )
    expect((await failure(at(server.host).putBlob(describeBytes(BIG), bodyOf(BIG)))).message).toContain('no Location')
  })

  test('credentials do not follow an upload to another host', async () => {
    await using store = await startServer((_r, response) => void response.writeHead(201).end())
    await using server = await startServer((request, response) => {
      if (request.headers.authorization === undefined)
        return void response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
      if (request.method === 'HEAD') return void response.writeHead(404).end()
      response.writeHead(202, { location: `http://localhost:${store.port}/put?sig=x` }).end()
    })
    const credentials = { find: async () => ({ username: 'me', password: 'pass-of-me', source: 'test' }) }
    const repository = quickRegistry({ credentials }).repository(`${server.host}/a`)
    expect(await repository.putBlob(describeBytes(BIG), bodyOf(BIG))).toBe('uploaded')
    expect(store.seen[0]!.headers.authorization).toBeUndefined()
    expect(store.seen[0]!.url).toBe(`/put?sig=x&digest=${encodeURIComponent(digestOf(BIG))}`)
  })

  test('copying between repositories of one host does not lock up', async () => {
    const inner = registry()
    const all = Array.from({ length: 40 }, (_, i) => Buffer.concat([BIG.subarray(0, 600_000), Buffer.from([i])]))
    for (const bytes of all) inner.blobs.set(`from ${digestOf(bytes)}`, bytes)
    await using server = await startServer(inner.handle)
    const client = quickRegistry()
    const [source, target] = [client.repository(`${server.host}/from`), client.repository(`${server.host}/to`)]
    const how = await Promise.all(
      all.map(bytes => target.putBlob(describeBytes(bytes), () => source.blob(describeBytes(bytes)))),
    )
    expect(new Set(how)).toEqual(new Set(['uploaded']))
  })
})

describe('writing manifests', () => {
  const refusing = (status: number, existing: typeof INDEX | undefined, body = '') =>
    startServer((request, response) => {
      if (request.method === 'PUT') return void response.writeHead(status).end(body)
      if (existing === undefined) return void response.writeHead(404).end()
      response.writeHead(200, {
        'content-type': existing.mediaType,
        'docker-content-digest': existing.digest,
        'content-length': existing.raw.byteLength,
      })
      response.end(request.method === 'HEAD' ? undefined : existing.raw)
    })

  test('by digest and by tag, with its media type and bytes', async () => {
    await using server = await startServer(
      (_r, response) => void response.writeHead(201, { 'docker-content-digest': INDEX.digest }).end(),
    )
    expect(await at(server.host).putManifest(INDEX)).toBe(INDEX.digest)
    expect(await at(server.host).putManifest(INDEX, '1.0')).toBe(INDEX.digest)
    expect(server.seen.map(r => r.url)).toEqual([
      `/v2/team/app/manifests/${INDEX.digest}`,
      '/v2/team/app/manifests/1.0',
    ])
    expect(server.seen[0]!.headers['content-type']).toBe(OCI.index)
    expect(server.seen[0]!.body.equals(Buffer.from(INDEX.raw))).toBe(true)
  })

  test.each([
    [400, '{"errors":[{"code":"ImageTagAlreadyExistsException","message":"x"}]}'],
    [400, ''],
    [409, ''],
    [412, '{"errors":[{"code":"PRECONDITION","message":"configured as immutable"}]}'],
  ])('immutable tags: %i %s', async (status, body) => {
    await using same = await refusing(status, INDEX, body)
    expect(await at(same.host).putManifest(INDEX, '1')).toBe(INDEX.digest)
    await using different = await refusing(status, OTHER, body)
    const error = await failure(at(different.host).putManifest(INDEX, '1'))
    expect(error.code).toBe('TAG_IMMUTABLE')
    expect(error.message).toContain(OTHER.digest)
    await using absent = await refusing(status, undefined, body)
    expect((await failure(at(absent.host).putManifest(INDEX, '1'))).code).toBe('REGISTRY_ERROR')
  })

  test('a 400 for another reason is that reason, also when the tag exists', async () => {
    const body = '{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown","detail":"sha256:1"}]}'
    await using server = await refusing(400, OTHER, body)
    expect(await failure(at(server.host).putManifest(INDEX, '1'))).toMatchObject({
      code: 'REGISTRY_ERROR',
      details: { status: 400, codes: ['MANIFEST_BLOB_UNKNOWN'] },
    })
  })

  test('after MANIFEST_BLOB_UNKNOWN blobs are looked for again', async () => {
    const { handle } = registry(
      (request, response) =>
        request.url.includes('/manifests/') &&
        !!response.writeHead(400).end('{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}'),
    )
    await using server = await startServer(handle)
    const repository = at(server.host)
    await repository.putBlob(describeBytes(SMALL), bodyOf(SMALL))
    await failure(repository.putManifest(INDEX, '1'))
    const before = server.seen.length
    await repository.putBlob(describeBytes(SMALL), bodyOf(SMALL))
    expect(steps(server.seen.slice(before))).toEqual(['HEAD'])
  })

  test('a registry that stores something else is caught', async () => {
    await using server = await startServer(
      (_r, response) => void response.writeHead(201, { 'docker-content-digest': OTHER.digest }).end(),
    )
    expect((await failure(at(server.host).putManifest(INDEX))).code).toBe('REGISTRY_ANSWER')
  })
})

describe('tags and deleting', () => {
  test('pages by Link, relative and absolute; null; circles end', async () => {
    await using server = await startServer((request, response) => {
      const last = new URL(request.url, 'http://x').searchParams.get('last')
      if (last === null) response.setHeader('link', '</v2/team/app/tags/list?n=2&last=b>; rel="next"')
      if (last === 'b') response.setHeader('link', '<http://wrong.test/v2/team/app/tags/list?n=2&last=c>; rel=next')
      if (last === 'c') response.setHeader('link', '</v2/team/app/tags/list?n=2&last=b>; rel="next"')
      response.end(JSON.stringify({ name: 'x', tags: last === null ? ['a', 'b'] : last === 'b' ? ['c'] : null }))
    })
    expect(await Array.fromAsync(at(server.host).tags())).toEqual(['a', 'b', 'c'])
    expect(server.seen.length).toBe(3)
  })

  test('full pages without Link go on after the last tag', async () => {
    const all = Array.from({ length: 2500 }, (_, i) => `t${String(i).padStart(5, '0')}`)
    await using server = await startServer((request, response) => {
      const query = new URL(request.url, 'http://x').searchParams
      const start = all.indexOf(query.get('last') ?? '') + 1
      response.end(JSON.stringify({ tags: all.slice(start, start + Number(query.get('n'))) }))
    })
    expect(await Array.fromAsync(at(server.host).tags())).toEqual(all)
  })

  test('what is no list is an error', async () => {
    for (const body of ['<html>', '{"tags":{}}', '{"tags":[1]}', '[]']) {
      await using server = await startServer((_r, response) => void response.end(body))
      expect((await failure(Array.fromAsync(at(server.host).tags()))).code).toBe('REGISTRY_ANSWER')
    }
  })

  test('deleting', async () => {
    for (const [status, result] of [
      [202, true],
      [200, true],
      [404, false],
    ] as const) {
      await using server = await startServer((_r, response) => void response.writeHead(status).end())
      expect(await at(server.host).deleteManifest(INDEX.digest)).toBe(result)
    }
    await using never = await startServer(
      (_r, response) => void response.writeHead(405).end('{"errors":[{"code":"UNSUPPORTED"}]}'),
    )
    const error = await failure(at(never.host).deleteManifest(INDEX.digest))
    expect(error.code).toBe('UNSUPPORTED')
    expect(error.hint).toContain('REGISTRY_STORAGE_DELETE_ENABLED')
  })
})

describe('mirrors', () => {
  const config = (upstream: string, ...mirrors: string[]) =>
    parseRegistryConfig(
      `[[registry]]\nlocation = "${upstream}"\n${mirrors.map(m => `[[registry.mirror]]\nlocation = "${m}"\n`).join('')}`,
    )
  const has = (request: Seen, response: Response) =>
    void response
      .writeHead(200, {
        'content-type': INDEX.mediaType,
        'docker-content-digest': INDEX.digest,
        'content-length': INDEX.raw.byteLength,
      })
      .end(request.method === 'HEAD' ? undefined : INDEX.raw)

  test('are asked in order for reading; what they lack comes from upstream; the dead are left alone', async () => {
    await using upstream = await startServer(has)
    await using lacks = await startServer((_r, response) => void response.writeHead(404).end())
    await using lies = await startServer(
      (_r, response) => void response.writeHead(200, { 'content-type': OCI.index }).end(OTHER.raw),
    )
    const gone = await startServer(has)
    await gone[Symbol.asyncDispose]()
    const client = quickRegistry({ config: config(upstream.host, gone.host, `${lacks.host}/cache`, lies.host) })
    const repository = client.repository(`${upstream.host}/team/app`)
    expect((await repository.manifest(INDEX.digest))?.digest).toBe(INDEX.digest)
    expect(lacks.seen[0]!.url).toBe(`/v2/cache/team/app/manifests/${INDEX.digest}`)
    expect([lies.seen.length, upstream.seen.length]).toEqual([1, 1])
    expect(client.client.host(gone.host).dead?.code).toBe('REGISTRY_UNREACHABLE')
  })

  test('what they said stands in the error of the registry itself', async () => {
    await using lacks = await startServer((_r, response) => void response.writeHead(404).end())
    await using full = await startServer((_r, response) => void response.writeHead(507).end('no space'))
    const [gone, upstream] = [await startServer(has), await startServer(has)]
    for (const server of [gone, upstream]) await server[Symbol.asyncDispose]()
    const client = quickRegistry({ config: config(upstream.host, gone.host, `${lacks.host}/cache`, full.host) })
    const repository = client.repository(`${upstream.host}/team/app`)
    const mirrors = [
      `${gone.host}/team/app: ${gone.host} cannot be reached: nothing listens there (ECONNREFUSED)`,
      `${lacks.host}/cache/team/app does not have it`,
      `${full.host}/team/app: the answer was 507: no space`,
    ].join('; ')
    for (const work of [
      () => repository.manifest('1'),
      () => repository.head(INDEX.digest),
      () => repository.blob(describeBytes(BIG)),
    ]) {
      const error = await failure(work())
      expect(error.code).toBe('REGISTRY_UNREACHABLE')
      expect(error.message).toEndWith(
        `${upstream.host} cannot be reached: nothing listens there (ECONNREFUSED); its mirrors before it: ${mirrors}`,
      )
      expect(error.hint).toContain('registries.conf')
    }
  })

  test('writing, and reading what was written, goes upstream only', async () => {
    await using upstream = await startServer((request, response) =>
      request.method === 'PUT' ? void response.writeHead(201).end() : has(request, response),
    )
    await using mirror = await startServer(has)
    const repository = quickRegistry({ config: config(upstream.host, mirror.host) }).repository(`${upstream.host}/a`)
    await repository.manifest('1')
    expect([mirror.seen.length, upstream.seen.length]).toEqual([1, 0])
    await repository.upstream().manifest('1')
    await repository.putManifest(INDEX, '1')
    await repository.manifest('1')
    expect([mirror.seen.length, upstream.seen.length]).toEqual([1, 3])
  })

  test('a blob that breaks off at a mirror is finished upstream', async () => {
    await using upstream = await startServer((request, response) => {
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
      response
        .writeHead(206, { 'content-range': `bytes ${from}-${BIG.byteLength - 1}/${BIG.byteLength}` })
        .end(BIG.subarray(from))
    })
    await using mirror = await startServer((request, response) => {
      if (request.headers.range !== undefined) return void response.writeHead(404).end()
      response
        .writeHead(200, { 'content-length': BIG.byteLength })
        .write(BIG.subarray(0, 1_500_000), () => setTimeout(() => response.destroy(), 20))
    })
    const repository = quickRegistry({ config: config(upstream.host, mirror.host) }).repository(`${upstream.host}/a`)
    expect((await readAll(await repository.blob(describeBytes(BIG)))).equals(BIG)).toBe(true)
    expect(upstream.seen.length).toBe(1)
  })
})
