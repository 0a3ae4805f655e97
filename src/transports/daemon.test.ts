import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildPlatform } from '../oci/platform.ts'
import { archiveReading } from './archive-reading.ts'
import { fileSink } from './archive-sink.ts'
import { ArchiveWriting } from './archive-writing.ts'
import { parseLocation } from './location.ts'
import { openLocation } from './open.ts'
import { imageOf, indexOf, putAll, readAll } from './testing/images.ts'

/** What a daemon says to a request, by its method and path. */
type Answers = (
  what: string,
  body: Buffer,
) => { readonly status?: number; readonly body: string | Buffer; readonly cut?: boolean }

const HOST = buildPlatform()
const one = imageOf('one', HOST)
const ID = one.blobs[0]!.descriptor.digest
const inspected = JSON.stringify({ Id: ID, Os: HOST.os, Architecture: HOST.architecture })

let folder: string
let server: Server | undefined
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'archimage-daemon-'))
})
afterEach(async () => {
  await new Promise(resolve => (server === undefined ? resolve(undefined) : server.close(resolve)))
  server = undefined
  rmSync(folder, { recursive: true, force: true })
})

async function open(text: string, use: 'read' | 'write', answers: Answers) {
  const socket = join(folder, 'socket')
  server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', chunk => chunks.push(chunk))
    request.on('end', () => {
      if (request.url === '/version') return response.end('{"Components":[{"Name":"Engine"}]}')
      const { status = 200, body, cut } = answers(`${request.method} ${request.url}`, Buffer.concat(chunks))
      response.statusCode = status
      response.setHeader('content-length', Buffer.byteLength(body))
      response.flushHeaders()
      if (!cut) return response.end(body)
      response.write(body.slice(0, body.length >> 1), () => request.socket.destroy())
    })
  })
  await new Promise<void>(resolve => server!.listen(socket, resolve))
  const none = (): never => {
    throw new Error('none here')
  }
  const tools = { registry: none, store: none, env: { DOCKER_HOST: `unix://${socket}` } }
  return openLocation(
    parseLocation(text, () => undefined),
    tools,
    use,
  )
}

async function archiveOf(image: Parameters<typeof putAll>[1], name: string): Promise<Buffer> {
  const path = join(folder, 'image.tar')
  const to = new ArchiveWriting(fileSink(path), false)
  await putAll(to, image, name)
  await to.commit()
  return readFileSync(path)
}

const failure = (work: Promise<unknown>): Promise<unknown> => work.catch(error => error)

describe('reading', () => {
  test('an image comes once, and is checked', async () => {
    const archive = await archiveOf(one, 'app:1')
    const asked: string[] = []
    const { transport, name, close } = await open('docker-daemon:app:1', 'read', what => {
      asked.push(what)
      return { body: archive }
    })
    expect((await transport.head(name!))?.digest).toBe(one.manifests[0]!.digest)
    expect((await readAll(transport, name!)).size).toBe(3)
    expect((await transport.manifest(one.manifests[0]!.digest))?.digest).toBe(one.manifests[0]!.digest)
    expect(asked).toEqual(['GET /images/docker.io/library/app:1/get'])
    await close()
  })

  test('of an index whose other platforms the daemon does not have, the one that it has', async () => {
    const many = indexOf('many', [HOST, { os: 'linux', architecture: 's390x' }])
    const archive = await archiveOf({ ...many, manifests: many.manifests.slice(0, 2) }, 'app:1')
    const { transport, close } = await open('docker-daemon:app:1', 'read', () => ({ body: archive }))
    expect((await transport.manifest('1'))?.digest).toBe(many.manifests[1]!.digest)
    await close()
  })

  test('what daemons do wrong', async () => {
    const archive = await archiveOf(one, 'app:1')
    const flipped = Buffer.from(archive)
    flipped[archive.indexOf(one.blobs[1]!.bytes) + 700]! ^= 1
    const cases: readonly (readonly [ReturnType<Answers>, object | undefined])[] = [
      [{ status: 404, body: '{"message":"no such image: app"}' }, undefined],
      [{ status: 500, body: '{"message":"reference does not exist"}' }, undefined],
      [
        { status: 500, body: '{"message":"disk on fire"}' },
        { code: 'DAEMON', message: expect.stringContaining('disk on fire') },
      ],
      [{ body: 'no archive at all' }, { code: 'TAR_INVALID' }],
      [{ body: archive.subarray(0, 3000) }, { code: 'TAR_INVALID' }],
      [{ body: archive, cut: true }, { code: 'DAEMON' }],
      [{ body: flipped }, { code: 'DIGEST_MISMATCH' }],
    ]
    for (const [answer, expected] of cases) {
      const { transport, close } = await open('docker-daemon:app:1', 'read', () => answer)
      const said = await failure(transport.manifest('1').then(found => found && readAll(transport, '1')))
      if (expected === undefined) expect(said).toBeUndefined()
      else expect(said).toMatchObject(expected)
      await close()
      await new Promise(resolve => server!.close(resolve))
      server = undefined
    }
  })
})

describe('writing', () => {
  const write = async (answers: Answers): Promise<void> => {
    const { transport, name, close } = await open('docker-daemon:app:1', 'write', answers)
    try {
      await putAll(transport, one, name)
      await transport.commit!()
    } finally {
      await close()
    }
  }

  test('one archive at the end, which is looked for afterwards', async () => {
    const asked: string[] = []
    await write((what, body) => {
      asked.push(what)
      if (body.length > 0) writeFileSync(join(folder, 'sent.tar'), body)
      return { body: what.startsWith('POST') ? '{"stream":"Loaded image: app:1\\n"}' : inspected }
    })
    expect(asked).toEqual(['POST /images/load?quiet=1', 'GET /images/docker.io/library/app:1/json'])
    expect((await readAll(await archiveReading(join(folder, 'sent.tar')), 'app:1')).size).toBe(3)
  })

  test.each([
    [
      'an error behind status 200',
      'POST',
      { body: '{"errorDetail":{"message":"no space"},"error":"no space"}' },
      'DAEMON',
    ],
    ['a refusal', 'POST', { status: 500, body: '{"message":"bad"}' }, 'DAEMON'],
    ['it has another image', 'GET', { body: '{"Id":"sha256:00"}' }, 'VERIFY_FAILED'],
    ['it does not know the name', 'GET', { status: 404, body: '{}' }, 'VERIFY_FAILED'],
    ['nonsense', 'GET', { body: 'nonsense' }, 'DAEMON'],
  ] as const)('%s', async (_, method, answer, code) => {
    const said = await failure(write(what => (what.startsWith(method) ? answer : { body: inspected })))
    expect(said).toMatchObject({ code })
    await new Promise(resolve => server!.close(resolve))
    server = undefined
  })
})
