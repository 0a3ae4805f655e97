import { afterEach, beforeEach, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { sha256 } from '../oci/digest.ts'
import { OCI } from '../oci/media-types.ts'
import { type Faults, type FaultyRegistry, startFaultyRegistry } from './faulty/start.ts'
import { quickRegistry, readAll } from './test-server.ts'

const MIB = 1024 * 1024
const BYTES = randomBytes(20 * MIB)
const blob = { mediaType: OCI.layerGzip, digest: sha256(BYTES), size: BYTES.byteLength }
const body = () => new Blob([BYTES]).stream() as ReadableStream<Uint8Array>

let server: FaultyRegistry
beforeEach(async () => {
  server = await startFaultyRegistry()
})
afterEach(() => server.close())

async function push(faults: Faults): Promise<void> {
  Object.assign(server.faults, faults)
  const repository = quickRegistry().repository(`${server.address}/app`)
  const progress: number[] = []
  expect(await repository.putBlob(blob, body, { progress: bytes => progress.push(bytes) })).toBe('uploaded')
  expect(progress.at(-1)).toBe(blob.size)
  for (const key of Object.keys(faults) as (keyof Faults)[]) delete server.faults[key]
  expect((await readAll(await repository.blob(blob))).equals(BYTES)).toBe(true)
}
const writes = () =>
  server.requests.filter(request => request.method !== 'HEAD' && !request.path.includes('/blobs/sha256'))
const steps = () => writes().map(request => request.method)
/** What a refusal was the answer to does not count. */
const sent = () => writes().reduce((sum, request) => sum + (request.status < 400 ? request.received : 0), 0)
/** What may be on its way when a connection is cut. */
const SLACK = 8 * MIB

test('a PUT that was cut goes on with PATCH where the registry has got to', async () => {
  await push({ cutUpload: { afterBytes: 12 * MIB, times: 1 } })
  expect(steps()).toEqual(['POST', 'PUT', 'GET', 'PATCH', 'PUT'])
  const patch = server.requests.find(request => request.method === 'PATCH')!
  expect(patch.headers['content-range']).toBe(`${12 * MIB}-${20 * MIB - 1}`)
  expect(patch.received).toBe(8 * MIB)
  expect(sent()).toBeLessThan(blob.size + SLACK)
})

test('what a tail gives is not read from the start again', async () => {
  Object.assign(server.faults, { cutUpload: { afterBytes: 12 * MIB, times: 1 } })
  const starts: number[] = []
  const tail = (start: number) => {
    starts.push(start)
    return new Blob([BYTES.subarray(start)]).stream()
  }
  let bodies = 0
  const counted = () => {
    bodies++
    return body()
  }
  const repository = quickRegistry().repository(`${server.address}/app`)
  await repository.putBlob(blob, counted, { tail })
  expect([starts, bodies]).toEqual([[12 * MIB], 1])
})

test('again and again, as long as something goes over', async () => {
  await push({ cutUpload: { afterBytes: 2 * MIB } })
  expect(steps().filter(step => step === 'POST').length).toBe(1)
  expect(steps().filter(step => step === 'PATCH').length).toBe(9)
})

test('after the last byte only the end is missing', async () => {
  let ends = 0
  server.faults.answer = request => {
    const end = request.method === 'PUT' && request.headers.get('content-length') === '0'
    return end && ends++ === 0 ? new Response(null, { status: 503 }) : undefined
  }
  await push({ noWholePut: 405 })
  expect(steps()).toEqual(['POST', 'PUT', 'POST', 'PATCH', 'PUT', 'GET', 'PUT'])
})

test.each<[string, Faults]>([
  ['forgets what broke off', { cutUpload: { afterBytes: 12 * MIB, times: 1, forget: true } }],
  ['does not tell the state of uploads', { cutUpload: { afterBytes: 12 * MIB, times: 1 }, noUploadState: true }],
  ['has no uploads in chunks', { cutUpload: { afterBytes: 12 * MIB, times: 1 }, noPatch: 405 }],
  ['has no uploads in chunks (400)', { cutUpload: { afterBytes: 12 * MIB, times: 1 }, noPatch: 400 }],
])('a registry that %s gets the blob anew', async (_name, faults) => {
  await push(faults)
  expect(steps().filter(step => step === 'POST').length).toBe(2)
  expect(steps().at(-1)).toBe('PUT')
})

test('a registry that is wrong about its state gets the blob anew', async () => {
  let asked = 0
  server.faults.answer = request => {
    if (request.method !== 'GET' || !request.url.includes('/uploads/')) return undefined
    asked++
    return new Response(null, { status: 204, headers: { range: `0-${5 * MIB}` } })
  }
  await push({ cutUpload: { afterBytes: 12 * MIB, times: 1 } })
  // It refused the part that does not follow, said the same again, and was left alone.
  expect(asked).toBe(2)
  expect(steps()).toEqual(['POST', 'PUT', 'GET', 'PATCH', 'GET', 'POST', 'PUT'])
})

test('a blob that came out wrong after it went on is sent whole, once', async () => {
  let wrong = 0
  server.faults.answer = request => {
    if (!request.url.includes('digest=') || wrong++ !== 1) return undefined
    return new Response('{"errors":[{"code":"DIGEST_INVALID","message":"other bytes"}]}', { status: 400 })
  }
  await push({ cutUpload: { afterBytes: 12 * MIB, times: 1 } })
  expect(steps()).toEqual(['POST', 'PUT', 'GET', 'PATCH', 'PUT', 'POST', 'PUT'])
})

test('in pieces: a piece that was cut is not sent from the start, nor are those before it', async () => {
  await push({ noWholePut: 413, cutUpload: { afterBytes: 5 * MIB, times: 1 } })
  const pieces = server.requests.filter(request => request.method === 'PATCH')
  expect(pieces.map(request => request.headers['content-range'])).toEqual([
    '0-8388607',
    '5242880-13631487',
    '13631488-20971519',
  ])
  expect(sent()).toBeLessThan(blob.size + MIB)
})

test('behind nginx as it comes, parts become smaller until they fit', async () => {
  server.faults.answer = async request => {
    if (Number(request.headers.get('content-length') ?? 0) <= MIB) return undefined
    for await (const _ of request.body ?? []);
    return new Response('<html>', { status: 413 })
  }
  await push({})
  const pieces = server.requests.filter(request => request.method === 'PATCH' && request.status === 202)
  expect(new Set(pieces.map(request => request.received))).toEqual(new Set([MIB / 2]))
  expect(pieces.length).toBe(40)
})

test("ECR's PATCH answers 201 and a Range of nothing", async () => {
  await push({ noWholePut: 413, stalePatch: true })
  expect(sent()).toBe(blob.size)
})

test('parts are as large as the registry wants them', async () => {
  await push({ noWholePut: 413, chunkMinLength: 9 * MIB, answer: withoutLimit() })
  const pieces = server.requests.filter(request => request.method === 'PATCH')
  expect(pieces.map(request => request.received)).toEqual([9 * MIB, 9 * MIB, 2 * MIB])
})

/** Lets PATCH through where noWholePut would limit it. */
function withoutLimit(): NonNullable<Faults['answer']> {
  return request => {
    server.faults.noWholePut = request.method === 'PATCH' ? undefined : 413
    return undefined
  }
}

test.each<[string, Faults]>([
  ['PUT takes no bytes: 405', { noWholePut: 405 }],
  ['PUT takes no bytes: 411', { noWholePut: 411 }],
  ['PUT takes no bytes: 416', { noWholePut: 416 }],
  ['PUT takes no bytes: 501', { noWholePut: 501 }],
  ['a proxy takes 8 MiB: 413', { noWholePut: 413 }],
  ['no PATCH', { noPatch: 405 }],
  ['only POST says where', { noWholePut: 413, uploadLocation: 'once' }],
  ['PUT answers 204', { created: 204 }],
  ['PUT answers 202', { created: 202 }],
  ['PUT answers 200', { created: 200 }],
])('one blob where %s', async (_name, faults) => {
  await push(faults)
})
