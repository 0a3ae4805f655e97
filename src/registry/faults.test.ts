import { expect, test } from 'bun:test'
import { createHash, randomBytes } from 'node:crypto'
import type { Digest } from '../oci/digest.ts'
import { describe as descriptorOf, encodeImageManifest, encodeIndex } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { type Faults, startFaultyRegistry } from './faulty/start.ts'
import { failure, quickRegistry, readAll } from './test-server.ts'

const LAYER = randomBytes(2_500_000)
const CONFIG = Buffer.from('{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}')
const blob = (bytes: Uint8Array, mediaType: string) => ({
  mediaType,
  digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest,
  size: bytes.byteLength,
})
const [config, layer] = [blob(CONFIG, OCI.config), blob(LAYER, OCI.layerGzip)]
const MANIFEST = encodeImageManifest({ docker: false, config, layers: [layer] })
const INDEX = encodeIndex({
  docker: false,
  manifests: [descriptorOf(MANIFEST, { os: 'linux', architecture: 'amd64' })],
})
const body = (bytes: Uint8Array) => () =>
  new Blob([bytes as Uint8Array<ArrayBuffer>]).stream() as ReadableStream<Uint8Array>
const who = { username: 'me', password: 'pass-of-me', source: 'test' }

/** Pushes an image, carries it to a second repository, and reads it back with a fresh client. */
async function cycle(faults: Faults, credential: object | undefined = who) {
  const server = await startFaultyRegistry({ faults })
  const host = new URL(server.url).host
  const credentials = { find: async () => credential as typeof who | undefined }
  try {
    const writer = quickRegistry({ credentials })
    const how: string[] = []
    for (const name of ['team/app', 'team/copy']) {
      const repository = writer.repository(`${host}/${name}`)
      await repository.putBlob(config, body(CONFIG))
      how.push(await repository.putBlob(layer, body(LAYER)))
      await repository.putManifest(MANIFEST)
      await repository.putManifest(INDEX, '1.0')
    }
    const reader = quickRegistry({ credentials }).repository(`${host}/team/copy`)
    expect((await reader.head('1.0'))?.digest).toBe(INDEX.digest)
    expect((await reader.manifest('1.0'))?.digest).toBe(INDEX.digest)
    expect(await Array.fromAsync(reader.tags())).toEqual(['1.0'])
    expect(await reader.hasBlob(layer)).toBe(true)
    expect((await readAll(await reader.blob(layer))).equals(LAYER)).toBe(true)
    return { how, requests: [...server.requests] }
  } finally {
    await server.close()
  }
}

async function started(faults: Faults) {
  const server = await startFaultyRegistry({ faults })
  return { ...server, faults: server.faults as Faults, [Symbol.asyncDispose]: () => server.close() }
}

const bearer = { kind: 'bearer', user: 'me', password: 'pass-of-me' } as const
test.each<[string, Faults]>([
  ['nothing', {}],
  ['Basic', { requireAuth: { kind: 'basic', user: 'me', password: 'pass-of-me' } }],
  [
    'Basic for writing only',
    { requireAuth: { kind: 'basic', user: 'me', password: 'pass-of-me', anonymousPull: true } },
  ],
  ['tokens', { requireAuth: bearer }],
  ['tokens that end in the middle of the work', { requireAuth: { ...bearer, maxUses: 2 } }],
  [
    'tokens without a time, in the other field',
    { requireAuth: { ...bearer, expiresIn: 0, tokenField: 'access_token' } },
  ],
  ['a token server that reads the first scope only', { requireAuth: { ...bearer, firstScopeOnly: true } }],
  [
    'every third kind of trouble',
    {
      failFirst: [
        { status: 503, times: 2 },
        { status: 429, times: 1, retryAfter: 0, match: /PUT/ },
        { status: 500, times: 2, match: /manifests/ },
      ],
    },
  ],
  ['cut connections', { failFirst: { status: 500, times: 2, cut: true, match: /^(PUT|PATCH|GET)/ } }],
  ['downloads that break off', { dropConnection: { afterBytes: 600_000, times: 2 } }],
  [
    'downloads that break off, without Range',
    { dropConnection: { afterBytes: 1_600_000, times: 2 }, ignoreRange: true },
  ],
  ['no digest in answers to HEAD', { noDigestHeader: 'HEAD' }],
  ['no digests at all', { noDigestHeader: 'always' }],
  ['no HEAD of manifests', { noHead: 405 }],
  ['mounts: 401', { noMount: 401 }],
  ['mounts: 405', { noMount: 405 }],
  ['storage per repository', { perRepositoryStorage: true }],
  ['absolute Locations', { uploadLocation: 'absolute' }],
  ['Locations with a query', { uploadLocation: 'query' }],
])('push, mount and pull with: %s', async (_name, faults) => {
  const { how } = await cycle(faults)
  const noMounts = faults.noMount !== undefined || faults.perRepositoryStorage === true
  const auth = faults.requireAuth
  const noScope = auth?.kind === 'bearer' && auth.firstScopeOnly === true
  if (noScope) expect(['mounted', 'uploaded']).toContain(how[1]!)
  else expect(how).toEqual(['uploaded', noMounts ? 'uploaded' : 'mounted'])
})

test('identity tokens, with POST and without', async () => {
  for (const noPost of [false, true]) {
    const auth = { ...bearer, identityToken: 'refresh-4711', noPost }
    const work = cycle({ requireAuth: auth }, { identityToken: 'refresh-4711', source: 'test' })
    // This server has no other way to take them: GET is tried, and refused.
    if (noPost) expect((await failure(work)).code).toBe('UNAUTHORIZED')
    else expect((await work).how).toEqual(['uploaded', 'mounted'])
  }
})

test('without trouble a push is HEAD, POST, PUT per blob and one PUT per manifest', async () => {
  const { requests } = await cycle({})
  expect(requests.slice(0, 8).map(r => r.method)).toEqual(['HEAD', 'POST', 'PUT', 'HEAD', 'POST', 'PUT', 'PUT', 'PUT'])
})

test('blobs that are redirected to another origin come without our credentials', async () => {
  await using server = await started({ requireAuth: bearer })
  const host = new URL(server.url).host
  const repository = quickRegistry({ credentials: { find: async () => who } }).repository(`${host}/a`)
  await repository.putBlob(layer, body(LAYER))
  server.faults.redirectBlobsTo = server.blobs.url
  expect((await readAll(await repository.blob(layer))).equals(LAYER)).toBe(true)
  const elsewhere = server.requests.filter(r => r.server === 'blobs')
  expect(elsewhere.length).toBe(1)
  expect(elsewhere[0]!.headers['authorization']).toBeUndefined()
})

test.each<[string, Faults]>([
  ['truncated', { truncateBlob: {} }],
  ['lengthened', { lengthenBlob: {} }],
  ['corrupted', { corruptBlob: {} }],
])('%s blobs are an error', async (_name, faults) => {
  await using server = await started(faults)
  const repository = quickRegistry().repository(`${new URL(server.url).host}/a`)
  for (const [descriptor, bytes] of [
    [layer, LAYER],
    [config, CONFIG],
  ] as const) {
    await repository.putBlob(descriptor, body(bytes))
    expect((await failure(repository.blob(descriptor).then(readAll))).code).toBe('DIGEST_MISMATCH')
  }
})
