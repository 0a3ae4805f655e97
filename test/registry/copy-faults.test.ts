import { afterEach, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { copy } from '../../src/copy/copy.ts'
import type { Place } from '../../src/copy/request.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import type { Faults } from '../../src/registry/faulty/faults.ts'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { openRegistry } from '../../src/registry/registry.ts'
import { indexOf, putAll } from '../../src/transports/testing/images.ts'
import { verifyImage } from '../../src/verify/verify.ts'

// Each fault on each side of a copy: it ends right, or with an error that names the side, the repository, what was being
// done, what the registry said, and a remedy; then the tag is not there.

setDefaultTimeout(60_000)

const PLATFORMS = ['linux/amd64', 'linux/arm64'].map(parsePlatform)
const IMAGE = indexOf('app'.repeat(250_000), PLATFORMS)
let source: FaultyRegistry
let target: FaultyRegistry
beforeEach(async () => {
  ;[source, target] = await Promise.all([startFaultyRegistry(), startFaultyRegistry()])
})
afterEach(async () => {
  await Promise.all([source.close(), target.close()])
})

const who = { username: 'me', password: 'pass-of-me', source: 'test' }
const client = () =>
  openRegistry({ env: {}, credentials: { find: async () => who }, tuning: { backoff: 1, longestWait: 5 } })

async function copied(side: 'source' | 'destination', faults: (server: FaultyRegistry) => Faults) {
  const registry = client()
  const place = (at: FaultyRegistry, repository: string): Place => ({
    transport: registry.repository(`${at.address}/${repository}`),
    label: `${at.address}/${repository}`,
    site: { registry: at.address, repository },
  })
  await putAll(client().repository(`${source.address}/from/app`), IMAGE, 'v1')
  const server = side === 'source' ? source : target
  Object.assign(server.faults, faults(server))
  const image = {
    source: place(source, 'from/app'),
    name: 'v1',
    target: place(target, 'to/app'),
    tags: ['v1'],
    options: {},
  }
  const { images } = await copy([image], { signal: new AbortController().signal, emit: () => {} })
  for (const at of [source, target]) for (const key of Object.keys(at.faults)) delete at.faults[key as keyof Faults]
  const there = client().repository(`${target.address}/to/app`)
  return { outcome: images[0]!, there }
}

const basic = { kind: 'basic', user: 'me', password: 'pass-of-me' } as const
const bearer = { kind: 'bearer', user: 'me', password: 'pass-of-me' } as const
type Row = readonly [
  side: 'source' | 'destination' | 'either',
  name: string,
  faults: Faults | ((server: FaultyRegistry) => Faults),
]

const RIGHT: readonly Row[] = [
  ['either', 'Basic', { requireAuth: basic }],
  ['either', 'tokens', { requireAuth: bearer }],
  ['either', 'tokens that end soon', { requireAuth: { ...bearer, maxUses: 4 } }],
  ['either', 'no challenge where it belongs', { requireAuth: { ...bearer, silent: true } }],
  ['either', 'a placeholder as scope', { requireAuth: { ...bearer, scope: 'repository:user/image:pull' } }],
  ['either', 'one scope only', { requireAuth: { ...bearer, firstScopeOnly: true } }],
  ['either', '503 twice', { failFirst: { status: 503, times: 2 } }],
  ['either', '429', { failFirst: { status: 429, times: 2 } }],
  ['either', '429 with Retry-After', { failFirst: { status: 429, times: 2, retryAfter: 600 } }],
  ['either', 'cut connections', { failFirst: { status: 500, times: 3, cut: true } }],
  ['either', 'no HEAD of manifests', { noHead: 405 }],
  ['either', 'no digest for HEAD', { noDigestHeader: 'HEAD' }],
  ['either', 'no digest at all', { noDigestHeader: 'always' }],
  ['either', 'compressed manifests', { gzipManifests: true }],
  ['either', 'manifests as text', { manifestType: 'text/plain' }],
  ['either', 'warnings', { warning: 'soon' }],
  ['either', 'slowness', { slow: { milliseconds: 3, bytesPerSecond: 30_000_000 } }],
  ['source', 'downloads that break off', { dropConnection: { afterBytes: 400_000, times: 3 } }],
  ['source', 'the same without Range', { dropConnection: { afterBytes: 400_000, times: 3 }, ignoreRange: true }],
  [
    'source',
    'redirects to a host that refuses credentials',
    server => ({ requireAuth: bearer, redirectBlobsTo: server.blobs.url }),
  ],
  ['source', 'a user who may only read', { requireAuth: { ...bearer, pullOnly: true } }],
  ['destination', 'uploads that break off', { cutUpload: { afterBytes: 400_000, times: 3 } }],
  ['destination', 'the same, forgotten', { cutUpload: { afterBytes: 400_000, times: 2, forget: true } }],
  ['destination', 'the same, without PATCH', { cutUpload: { afterBytes: 400_000, times: 1 }, noPatch: 405 }],
  ['destination', 'no whole blobs', { noWholePut: 405 }],
  ['destination', 'absolute Locations', { uploadLocation: 'absolute' }],
  ['destination', 'Locations with a query', { uploadLocation: 'query' }],
  ['destination', 'PUT answered 202', { created: 202 }],
  ['destination', 'PUT answered 204', { created: 204 }],
  [
    'destination',
    'a blob that got lost',
    { failFirst: { status: 404, code: 'MANIFEST_BLOB_UNKNOWN', times: 1, match: /^PUT .*manifests/ } },
  ],
  ['destination', 'no referrers API', { noReferrers: 'html' }],
  [
    'destination',
    'an immutable tag that is not there yet',
    { refuseTag: { match: /v1/, status: 409, onlyMoves: true } },
  ],
]

const WRONG: readonly (readonly [...Row, said: string | RegExp])[] = [
  ['either', 'other credentials', { requireAuth: { ...basic, password: 'another' } }, /401 Unauthorized/],
  ['either', '403', { failFirst: { status: 403, times: 99, match: /manifests/ } }, /403 Forbidden/],
  ['either', '503 for ever', { failFirst: { status: 503, times: 999 } }, /503 Service Unavailable after \d attempts/],
  ['source', 'truncated blobs', { truncateBlob: {} }, /blob sha256:\w+: it has \d+ bytes/],
  ['source', 'longer blobs', { lengthenBlob: {} }, /blob sha256:\w+: it has \d+ bytes/],
  ['source', 'corrupt blobs', { corruptBlob: {} }, /blob sha256:\w+: its bytes have the digest/],
  ['source', 'schema 1', { schema1: true }, /schema 1 is not supported/],
  ['source', 'manifests that are larger than any', { padManifests: 9_000_000 }, /larger than/],
  ['destination', 'a user who may only read', { requireAuth: { ...bearer, pullOnly: true } }, /401 Unauthorized/],
  ['destination', 'no Location', { uploadLocation: 'none' }, /no Location/],
  ['destination', 'no way for blobs', { noWholePut: 405, noPatch: 405 }, /sending blob sha256:\w+: the answer was 405/],
  ['destination', 'no space', { failFirst: { status: 507, times: 99, match: /^PUT/ } }, /507/],
  [
    'destination',
    'a tag that is refused',
    { refuseTag: { match: /v1/, status: 403 } },
    /writing tag v1: the answer was 403/,
  ],
]

const sides = (side: Row[0]) => (side === 'either' ? (['source', 'destination'] as const) : [side])
const factory = (faults: Row[2]) => (typeof faults === 'function' ? faults : () => structuredCloneOf(faults))

/** Faults count down: each test has its own. RegExps are kept. */
function structuredCloneOf(faults: Faults): Faults {
  return Object.fromEntries(
    Object.entries(faults).map(([key, value]) => [key, value?.constructor === Object ? { ...value } : value]),
  )
}

for (const [side, name, faults] of RIGHT)
  for (const one of sides(side))
    test(`right with ${name} (${one})`, async () => {
      const { outcome, there } = await copied(one, factory(faults))
      if (outcome.error) throw outcome.error
      const found = await verifyImage(there, 'v1', { platforms: PLATFORMS }, { signal: new AbortController().signal })
      expect([found.problems, found.digest]).toEqual([[], IMAGE.manifests[0]!.digest])
    })

for (const [side, name, faults, said] of WRONG)
  for (const one of sides(side))
    test(`an error with ${name} (${one})`, async () => {
      const { outcome, there } = await copied(one, factory(faults))
      const { error } = outcome
      const repository =
        one === 'source'
          ? `registry ${source.address}, repository from/app`
          : `registry ${target.address}, repository to/app`
      expect(error?.message).toStartWith(`${one}: ${repository}`)
      expect(error?.message).toMatch(said)
      expect(error?.hint ?? '').not.toBe('')
      expect(await there.manifest('v1')).toBeUndefined()
    })
