import { afterAll, afterEach, describe, expect, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { load } from './load.ts'
import { parseOutput } from './parse.ts'
import { openBench } from './testing/images.ts'
import { writeOutputs } from './write.ts'

const bench = openBench()
afterAll(() => bench[Symbol.asyncDispose]())
const image = bench.image({
  'linux/amd64': [[{ path: 'a', text: 'x'.repeat(100_000) }]],
  'linux/arm64': [[{ path: 'a', text: 'y' }]],
})
const [amd64, arm64] = image.members
const platform = amd64!.platform

interface Fake {
  readonly load?: (request: IncomingMessage, response: ServerResponse, body: Buffer) => void
  readonly inspect?: object | number
  readonly version?: string
}

const servers: Server[] = []
afterEach(() => Promise.all(servers.splice(0).map(server => new Promise(resolve => server.close(resolve)))))

/** A daemon that takes what it is sent and says what the test wants. */
function daemon(fake: Fake): Promise<{ socket: string; bodies: Buffer[]; paths: string[] }> {
  const socket = join(bench.folder, `d${servers.length}.sock`)
  const bodies: Buffer[] = []
  const paths: string[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', chunk => chunks.push(chunk))
    request.on('end', () => {
      paths.push(`${request.method} ${request.url}`)
      const body = Buffer.concat(chunks)
      if (request.url === '/version') response.end(fake.version ?? '{"Components":[{"Name":"Engine"}]}')
      else if (request.url?.startsWith('/images/load')) {
        bodies.push(body)
        if (fake.load) fake.load(request, response, body)
        else response.end('{"stream":"Loaded image: app:1.0\\n"}\r\n')
      } else {
        const said = fake.inspect ?? { Id: amd64!.manifest.config.digest, Os: 'linux', Architecture: 'amd64' }
        response.statusCode = typeof said === 'number' ? said : 200
        response.end(JSON.stringify(typeof said === 'number' ? { message: 'No such image' } : said))
      }
    })
  })
  servers.push(server)
  return new Promise(resolve => server.listen(socket, () => resolve({ socket, bodies, paths })))
}

const into = (socket: string, more: object = {}): Promise<unknown> =>
  load([image], { ...bench.tools, platform, env: { DOCKER_HOST: `unix://${socket}` }, ...more })

describe('load', () => {
  test('sends the archive that type=docker writes, and asks for the image under its name', async () => {
    const { socket, bodies, paths } = await daemon({})
    expect(await into(socket)).toEqual([
      { service: 'app', name: 'app:1.0', platform, daemon: `docker at unix://${socket}` },
    ])
    expect(paths).toEqual(['GET /version', 'POST /images/load?quiet=1', 'GET /images/app:1.0/json'])
    expect(bodies[0]!.length % 512).toBe(0)
    expect(bodies[0]!.includes(`blobs/sha256/${amd64!.manifest.layers[0]!.digest.slice(7)}`)).toBe(true)
    expect(bodies[0]!.includes(arm64!.manifest.digest.slice(7))).toBe(false)
  })

  test('type=docker without a destination loads; podman is called by its name', async () => {
    const { socket, bodies } = await daemon({ version: '{"Components":[{"Name":"Podman Engine"}]}' })
    const single = { ...image, members: [amd64!] }
    await writeOutputs([parseOutput('type=docker')], [single], {
      ...bench.tools,
      env: { CONTAINER_HOST: `unix://${socket}` },
    })
    expect(bodies.length).toBe(1)
    expect(await into(socket)).toMatchObject([{ daemon: `podman at unix://${socket}` }])
  })

  test("containerd's image store names images by their manifest", async () => {
    const { socket } = await daemon({ inspect: { Id: amd64!.manifest.digest, Os: 'linux', Architecture: 'amd64' } })
    await into(socket)
  })

  test('a platform that the image does not have', async () => {
    await expect(into('unused', { platform: { os: 'linux', architecture: 's390x' } })).rejects.toMatchObject({
      code: 'PLATFORM_MISSING',
      message: expect.stringContaining('it has linux/amd64, linux/arm64'),
    })
  })
})

describe('what daemons do wrong', () => {
  test('an error in the stream of an answer with status 200', async () => {
    const { socket } = await daemon({
      load: (_, response) =>
        response.end('{"stream":"…"}\n{"errorDetail":{"message":"no space left"},"error":"no space left"}\n'),
    })
    await expect(into(socket)).rejects.toMatchObject({
      code: 'DAEMON',
      message: expect.stringContaining('no space left'),
    })
  })

  test('an error by its status', async () => {
    const { socket } = await daemon({
      load: (_, response) => {
        response.statusCode = 500
        response.end('{"cause":"x","message":"payload does not match","response":500}')
      },
    })
    await expect(into(socket)).rejects.toMatchObject({
      code: 'DAEMON',
      message: expect.stringContaining('payload does not match'),
    })
  })

  test('it hangs up in the middle', async () => {
    const { socket } = await daemon({ load: request => request.socket.destroy() })
    await expect(into(socket)).rejects.toMatchObject({
      code: 'DAEMON',
      message: expect.stringContaining('connection broke'),
    })
  })

  test('the name is missing, or is another image, or another platform', async () => {
    const missing = await daemon({ inspect: 404 })
    await expect(into(missing.socket)).rejects.toMatchObject({ code: 'VERIFY_FAILED' })
    const other = await daemon({ inspect: { Id: arm64!.manifest.config.digest, Os: 'linux', Architecture: 'amd64' } })
    await expect(into(other.socket)).rejects.toMatchObject({ code: 'VERIFY_FAILED' })
    const wrong = await daemon({ inspect: { Id: amd64!.manifest.config.digest, Os: 'linux', Architecture: 'arm64' } })
    await expect(into(wrong.socket)).rejects.toMatchObject({
      code: 'VERIFY_FAILED',
      message: expect.stringContaining('linux/arm64, and linux/amd64 was sent'),
    })
  })

  test('a damaged blob of ours is not blamed on the daemon', async () => {
    const { socket } = await daemon({})
    const broken = bench.image(
      { 'linux/amd64': [[{ path: 'b', text: 'z'.repeat(1000) }]] },
      { mediaType: 'application/vnd.oci.image.layer.v1.tar' },
    )
    writeFileSync(
      bench.store.blobPath(broken.members[0]!.manifest.layers[0]!.digest),
      'x'.repeat(broken.members[0]!.manifest.layers[0]!.size),
    )
    await expect(load([broken], { ...bench.tools, env: { DOCKER_HOST: `unix://${socket}` } })).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    })
  })

  test('interrupted', async () => {
    const stop = new AbortController()
    const { socket } = await daemon({ load: () => stop.abort() })
    await expect(into(socket, { signal: stop.signal })).rejects.toMatchObject({ code: 'CANCELLED' })
    for (const server of servers) server.closeAllConnections()
  })
})

describe('finding the daemon', () => {
  const home = join(bench.folder, 'home')

  test('the one that DOCKER_HOST names, and no other', async () => {
    const { socket } = await daemon({})
    await expect(
      load([image], {
        ...bench.tools,
        platform,
        env: { DOCKER_HOST: 'unix:///nowhere.sock', CONTAINER_HOST: `unix://${socket}` },
      }),
    ).rejects.toMatchObject({
      code: 'DAEMON',
      message: expect.stringMatching(/DOCKER_HOST=unix:\/\/\/nowhere.sock: there is no such socket$/),
      hint: expect.stringContaining('-o type=docker,dest=image.tar'),
    })
  })

  test("an ordinary user's podman, and an address over TCP", async () => {
    mkdirSync(join(home, 'podman'), { recursive: true })
    const { socket } = await daemon({})
    await expect(
      load([image], { ...bench.tools, platform, to: 'podman', env: { HOME: home, CONTAINER_HOST: socket } }),
    ).resolves.toHaveLength(1)
    const tcp = createServer((_, response) => response.end('{}'))
    servers.push(tcp)
    const port = await new Promise<number>(resolve =>
      tcp.listen(0, '127.0.0.1', () => resolve((tcp.address() as { port: number }).port)),
    )
    await expect(
      load([image], { ...bench.tools, platform, env: { DOCKER_HOST: `tcp://127.0.0.1:${port}` } }),
    ).rejects.toMatchObject({
      code: 'VERIFY_FAILED',
    })
  })

  for (const [address, why] of [
    ['ssh://host', 'ssh:// are not supported'],
    ['tcp://127.0.0.1:1', 'nobody listens there'],
    ['tcp://no t', 'not an address'],
  ] as const)
    test(address, async () => {
      await expect(load([image], { ...bench.tools, platform, env: { DOCKER_HOST: address } })).rejects.toMatchObject({
        code: 'DAEMON',
        message: expect.stringContaining(why),
      })
    })
})
