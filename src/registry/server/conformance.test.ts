import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Registry, startRegistry } from './start.ts'

// Each point of the conformance suite of distribution-spec 1.1, with everything that it can switch on; peers.test.ts runs
// the suite itself where it is installed.

type Algorithm = 'sha256' | 'sha512'

interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly [more: string]: unknown
}

const IMAGE = 'application/vnd.oci.image.manifest.v1+json'
const INDEX = 'application/vnd.oci.image.index.v1+json'
const CONFIG = 'application/vnd.oci.image.config.v1+json'
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip'
const EMPTY = 'application/vnd.oci.empty.v1+json'
const sha = (bytes: Uint8Array | string, algorithm: Algorithm = 'sha256') =>
  `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`

let dir: string
let registry: Registry
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'archimage-test-'))
  registry = await startRegistry({ dir, port: 0, sparse: true })
})
afterAll(async () => {
  await registry.close()
  rmSync(dir, { recursive: true })
})

const call = (method: string, path: string, body?: BodyInit, headers: Record<string, string> = {}) =>
  fetch(path.startsWith('/') ? registry.url + path : `${registry.url}/v2/${path}`, {
    method,
    headers,
    redirect: 'manual',
    ...(body === undefined ? {} : { body }),
  })
const open = async (repository: string, query = '') => {
  const response = await call('POST', `${repository}/blobs/uploads/${query}`)
  expect(response.status).toBe(202)
  return response.headers.get('location')!
}
const ending = (location: string, digest: string) => `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`
const status = async (method: string, path: string) => (await call(method, path)).status

test('ping, a repository that is not there, a manifest that is not there, digests that are none', async () => {
  const ping = await call('GET', '')
  expect([ping.status, ping.headers.get('docker-distribution-api-version')]).toEqual([200, 'registry/2.0'])
  expect(await status('GET', 'nothing/here/tags/list')).toBe(404)
  const referrers = await call('GET', `nothing/here/referrers/${sha('x')}`)
  expect([referrers.status, referrers.headers.get('content-type')]).toEqual([200, INDEX])
  expect(await referrers.json()).toEqual({ schemaVersion: 2, mediaType: INDEX, manifests: [] })
  for (const reference of ['missing', sha('missing')]) {
    expect(await status('GET', `nothing/here/manifests/${reference}`)).toBe(404)
    expect(await status('HEAD', `nothing/here/manifests/${reference}`)).toBe(404)
    expect(await status('DELETE', `nothing/here/manifests/${reference}`)).toBe(404)
  }
  const put = await call('PUT', 'bad/manifests/sha256:baddigeststring', '{}', { 'content-type': IMAGE })
  expect([put.status, await status('GET', 'bad/manifests/sha256:baddigeststring')]).toEqual([400, 400])
})

test('HEAD says of everything what GET would', async () => {
  const digest = sha('{}')
  expect((await call('POST', `head/blobs/uploads/?digest=${digest}`, '{}')).status).toBe(201)
  const manifest = { schemaVersion: 2, mediaType: IMAGE, config: { mediaType: EMPTY, digest, size: 2 }, layers: [] }
  const put = await call('PUT', 'head/manifests/v1', JSON.stringify(manifest), { 'content-type': IMAGE })
  expect(put.status).toBe(201)
  for (const path of [
    '',
    '_catalog',
    'head/tags/list',
    `head/referrers/${digest}`,
    'head/manifests/v1',
    `head/blobs/${digest}`,
    'head/manifests/no',
    'Bad/tags/list',
  ]) {
    const [head, got] = [await call('HEAD', path), await call('GET', path)]
    const told = ({ status, headers }: Response) => [
      status,
      ...['content-type', 'content-length', 'docker-content-digest', 'etag'].map(name => headers.get(name)),
    ]
    expect([path, told(head)]).toEqual([path, told(got)])
    expect([await head.text(), (await got.bytes()).length]).toEqual(['', Number(got.headers.get('content-length'))])
  }
})

describe.each(['sha256', 'sha512'] as const)('blobs by %s', algorithm => {
  const repository = `conformance/${algorithm}`
  const blob = (size = 2048) => {
    const bytes = randomBytes(size)
    return { bytes, digest: sha(bytes, algorithm) }
  }
  const chunk = (location: string, method: string, bytes: Uint8Array<ArrayBuffer>, start: number, end: number) =>
    call(method, location, bytes.subarray(start, end), {
      'content-type': 'application/octet-stream',
      'content-range': `${start}-${end - 1}`,
    })
  type Push = (bytes: Uint8Array<ArrayBuffer>, digest: string) => Promise<Response>
  const ways: [string, Push][] = [
    ['post only', (bytes, digest) => call('POST', `${repository}/blobs/uploads/?digest=${digest}`, bytes)],
    ['post and put', async (bytes, digest) => call('PUT', ending(await open(repository), digest), bytes)],
    [
      'a stream',
      async (bytes, digest) => {
        const patched = await call('PATCH', await open(repository), new Blob([bytes]).stream())
        expect(patched.status).toBe(202)
        return call('PUT', ending(patched.headers.get('location')!, digest))
      },
    ],
    [
      'one chunk',
      async (bytes, digest) => {
        const patched = await chunk(await open(repository), 'PATCH', bytes, 0, bytes.length)
        expect(patched.status).toBe(202)
        return call('PUT', ending(patched.headers.get('location')!, digest))
      },
    ],
    [
      'chunks, one of them out of order, the last one with the put',
      async (bytes, digest) => {
        let location = await open(repository)
        for (const at of [0, 700]) {
          const early = await chunk(location, 'PATCH', bytes, at + 700, at + 1000)
          expect(early.status).toBe(416)
          const where = await call('GET', early.headers.get('location') ?? location)
          expect([where.status, where.headers.get('range')]).toEqual([204, `0-${Math.max(at - 1, 0)}`])
          const patched = await chunk(where.headers.get('location')!, 'PATCH', bytes, at, at + 700)
          expect([patched.status, patched.headers.get('range')]).toEqual([202, `0-${at + 699}`])
          location = patched.headers.get('location')!
        }
        return chunk(ending(location, digest), 'PUT', bytes, 1400, bytes.length)
      },
    ],
  ]

  test.each(ways)('%s', async (_, push) => {
    const { bytes, digest } = blob()
    const pushed = await push(bytes, digest)
    expect([pushed.status, pushed.headers.get('docker-content-digest')]).toEqual([201, digest])
    const path = `${repository}/blobs/${digest}`
    for (const at of [pushed.headers.get('location')!, path])
      expect(sha(await (await call('GET', at)).bytes(), algorithm)).toBe(digest)
    const head = await call('HEAD', path)
    expect([head.status, head.headers.get('content-length'), head.headers.get('docker-content-digest')]).toEqual([
      200,
      '2048',
      digest,
    ])
    expect(await status('DELETE', path)).toBe(202)
    expect([await status('GET', path), await status('HEAD', path)]).toEqual([404, 404])
  })

  test.each(ways)('%s: a wrong digest', async (_, push) => {
    const { bytes } = blob()
    const { digest } = blob()
    expect((await push(bytes, digest)).status).toBe(400)
    expect(await status('GET', `${repository}/blobs/${digest}`)).toBe(404)
    expect(await status('GET', `${repository}/blobs/${sha(bytes, algorithm)}`)).toBe(404)
  })

  test('nothing at all, pushed in each way', async () => {
    const digest = sha('', algorithm)
    const none = new Uint8Array()
    for (const push of [ways[0]![1], ways[1]![1]]) {
      expect((await push(none, digest)).status).toBe(201)
      const got = await call('GET', `${repository}/blobs/${digest}`)
      expect([got.status, await got.text(), got.headers.get('content-length')]).toEqual([200, '', '0'])
    }
  })

  test('mounted: from a repository, from anywhere, from nowhere', async () => {
    const { bytes, digest } = blob()
    expect((await ways[0]![1](bytes, digest)).status).toBe(201)
    const mount = (to: string, from: string, what = digest) => call('POST', `${to}/blobs/uploads/?mount=${what}${from}`)
    for (const [to, from] of [
      [`${repository}/mounted`, `&from=${repository}`],
      [`${repository}/anonymous`, ''],
    ] as const) {
      const mounted = await mount(to, from)
      expect(mounted.status).toBe(201)
      expect(sha(await (await call('GET', mounted.headers.get('location')!)).bytes(), algorithm)).toBe(digest)
    }
    const missing = await mount(`${repository}/mounted`, `&from=${repository}`, blob().digest)
    expect([missing.status, missing.headers.get('location')]).toEqual([202, expect.stringContaining('/blobs/uploads/')])
  })

  test('an upload that is cancelled', async () => {
    const location = await open(repository)
    expect((await call('PATCH', location, 'x')).status).toBe(202)
    expect(await status('DELETE', location)).toBe(204)
    expect([await status('GET', location), (await call('PATCH', location, 'x')).status]).toEqual([404, 404])
  })

  test('ranges', async () => {
    const { bytes, digest } = blob()
    expect((await ways[1]![1](bytes, digest)).status).toBe(201)
    for (const [range, start, end] of [
      ['500-1499', 500, 1500],
      ['500-', 500, 2048],
      ['-500', 1548, 2048],
      ['2000-5000', 2000, 2048],
      ['0-0', 0, 1],
    ] as const) {
      const got = await call('GET', `${repository}/blobs/${digest}`, undefined, { range: `bytes=${range}` })
      const { headers } = got
      expect([got.status, headers.get('content-length'), headers.get('content-range')]).toEqual([
        206,
        String(end - start),
        `bytes ${start}-${end - 1}/2048`,
      ])
      expect(Buffer.compare(await got.bytes(), bytes.subarray(start, end))).toBe(0)
    }
    for (const range of ['500-0', '5000-10000', '2048-', '-0']) {
      const got = await call('GET', `${repository}/blobs/${digest}`, undefined, { range: `bytes=${range}` })
      expect([range, got.status, got.headers.get('content-range')]).toEqual([range, 416, 'bytes */2048'])
    }
    const other = await call('GET', `${repository}/blobs/${digest}`, undefined, {
      range: 'bytes=0-4',
      'if-range': '"another"',
    })
    expect([other.status, (await other.bytes()).length]).toEqual([200, 2048])
    const same = await call('GET', `${repository}/blobs/${digest}`, undefined, {
      range: 'bytes=0-4',
      'if-range': `"${digest}"`,
    })
    expect([same.status, (await same.bytes()).length]).toEqual([206, 5])
    const known = await call('GET', `${repository}/blobs/${digest}`, undefined, {
      'if-none-match': `W/"x", "${digest}"`,
    })
    expect([known.status, await known.text()]).toEqual([304, ''])
  })
})

/** What a kind of image consists of; the last manifest is the one that gets the tag. */
class Content {
  readonly blobs: (readonly [Descriptor, string])[] = []
  readonly manifests: (readonly [Descriptor, string])[] = []
  readonly algorithm: Algorithm

  constructor(algorithm: Algorithm = 'sha256') {
    this.algorithm = algorithm
  }

  blob(text: string, mediaType = LAYER): Descriptor {
    const descriptor = this.describe(text, mediaType)
    this.blobs.push([descriptor, text])
    return descriptor
  }

  describe(text: string, mediaType: string): Descriptor {
    return { mediaType, digest: sha(text, this.algorithm), size: Buffer.byteLength(text) }
  }

  manifest(value: object, mediaType = IMAGE): Descriptor {
    const text = JSON.stringify({ schemaVersion: 2, mediaType, ...value })
    const descriptor = this.describe(text, mediaType)
    this.manifests.push([descriptor, text])
    return descriptor
  }

  config(): Descriptor {
    const rootfs = { type: 'layers', diff_ids: [] }
    return this.blob(
      JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs, id: randomBytes(8).toString('hex') }),
      CONFIG,
    )
  }

  layer(): Descriptor {
    return this.blob(randomBytes(400).toString('hex'))
  }

  image(more: object = {}): Descriptor {
    return this.manifest({ config: this.config(), layers: [this.layer(), this.layer()], ...more })
  }
}

const PLATFORM = { architecture: 'amd64', os: 'linux' }
const KINDS: [string, (content: Content) => unknown][] = [
  ['an image', content => content.image()],
  [
    'an image without compression',
    c => c.manifest({ config: c.config(), layers: [{ ...c.layer(), mediaType: LAYER.slice(0, -5) }] }),
  ],
  ['an image without layers', c => c.manifest({ config: c.config(), layers: [] })],
  [
    'layers that must not be distributed',
    c => {
      const mediaType = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'
      c.manifest({
        config: c.config(),
        layers: [{ ...c.describe('elsewhere', mediaType), urls: ['https://example.com/x'] }],
      })
    },
  ],
  ['an index', c => c.manifest({ manifests: [{ ...c.image(), platform: PLATFORM }, c.image()] }, INDEX)],
  ['an index in an index', c => c.manifest({ manifests: [c.manifest({ manifests: [c.image()] }, INDEX)] }, INDEX)],
  ['an empty index', c => c.manifest({ manifests: [] }, INDEX)],
  ['an artifact', c => c.manifest({ artifactType: 'application/x', config: c.blob('{}', EMPTY), layers: [c.layer()] })],
  [
    'an artifact without layers',
    c => c.manifest({ artifactType: 'application/x', config: c.blob('{}', EMPTY), layers: [c.blob('{}', EMPTY)] }),
  ],
  [
    'an index of artifacts',
    c => c.manifest({ artifactType: 'application/x', manifests: [c.image({ artifactType: 'application/y' })] }, INDEX),
  ],
  [
    'artifacts with a subject',
    c => {
      const subject = c.image()
      c.image({ subject, artifactType: 'application/x', annotations: { a: 'b' } })
      c.image({ subject })
      c.manifest({ manifests: [], subject, artifactType: 'application/z' }, INDEX)
    },
  ],
  [
    'a subject that is not there',
    c => c.image({ subject: c.describe('not there', IMAGE), artifactType: 'application/x' }),
  ],
  ['fields that nobody knows', c => c.image({ 'org.example': { a: [1, null] }, annotations: { '': 'x' } })],
  ['descriptors with data', c => c.manifest({ config: { ...c.blob('{}', EMPTY), data: 'e30=' }, layers: [c.layer()] })],
  ['a large manifest', c => c.image({ annotations: { large: 'x'.repeat(4_000_000) } })],
  [
    'sparse ones',
    c => {
      c.manifest({ config: c.config(), layers: [c.describe('missing', LAYER)] })
      c.manifest({ manifests: [c.image(), { ...c.describe('missing', IMAGE), platform: PLATFORM }] }, INDEX)
    },
  ],
]

describe.each(['sha256', 'sha512'] as const)('content by %s', algorithm => {
  test.each(KINDS)('%s: pushed, listed, pulled, deleted', async (name, make) => {
    const repository = `content/${algorithm}/${name.replaceAll(' ', '-')}`
    const content = new Content(algorithm)
    make(content)
    for (const [{ digest }, text] of content.blobs)
      expect((await call('POST', `${repository}/blobs/uploads/?digest=${digest}`, text)).status).toBe(201)
    const tags: [string, Descriptor, string][] = []
    for (const [i, [descriptor, text]] of content.manifests.entries()) {
      const { digest, mediaType } = descriptor
      const { subject } = JSON.parse(text) as { subject?: Descriptor }
      const put = await call('PUT', `${repository}/manifests/${digest}?tag=t${i}&tag=T${i}`, text, {
        'content-type': mediaType,
      })
      const { headers } = put
      expect([put.status, headers.get('docker-content-digest'), headers.get('oci-subject')]).toEqual([
        201,
        digest,
        subject?.digest ?? null,
      ])
      expect(headers.get('oci-tag')).toBe(`t${i}, T${i}`)
      expect(await (await call('GET', headers.get('location')!)).text()).toBe(text)
      tags.push([`t${i}`, descriptor, text], [`T${i}`, descriptor, text])
      if (algorithm === 'sha512') continue
      expect((await call('PUT', `${repository}/manifests/own${i}`, text, { 'content-type': mediaType })).status).toBe(
        201,
      )
      tags.push([`own${i}`, descriptor, text])
    }
    for (const [tag, { digest, mediaType, size }, text] of tags)
      for (const reference of [tag, digest]) {
        const head = await call('HEAD', `${repository}/manifests/${reference}`)
        const got = await call('GET', `${repository}/manifests/${reference}`)
        for (const { status, headers } of [head, got])
          expect([
            status,
            headers.get('content-type'),
            headers.get('content-length'),
            headers.get('docker-content-digest'),
          ]).toEqual([200, mediaType, String(size), digest])
        expect(await got.text()).toBe(text)
      }
    const names = tags.map(([tag]) => tag).sort()
    const list = async (query = '') =>
      ((await (await call('GET', `${repository}/tags/list${query}`)).json()) as { tags: string[] }).tags
    expect(await list()).toEqual(names)
    for (const last of names) expect(await list(`?last=${last}`)).toEqual(names.filter(each => each > last))
    await checkReferrers(repository, content)

    for (const [tag] of tags) {
      expect(await status('DELETE', `${repository}/manifests/${tag}`)).toBe(202)
      expect(await status('GET', `${repository}/manifests/${tag}`)).toBe(404)
    }
    expect(await list()).toEqual([])
    for (const [{ digest }] of content.manifests) {
      expect(await status('DELETE', `${repository}/manifests/${digest}`)).toBe(202)
      expect([
        await status('GET', `${repository}/manifests/${digest}`),
        await status('DELETE', `${repository}/manifests/${digest}`),
      ]).toEqual([404, 404])
    }
    for (const digest of new Set(content.blobs.map(([each]) => each.digest))) {
      expect(await status('DELETE', `${repository}/blobs/${digest}`)).toBe(202)
      expect(await status('HEAD', `${repository}/blobs/${digest}`)).toBe(404)
    }
    await checkReferrers(repository, new Content())
  })
})

/** The referrers of everything that is a subject, all of them and by type. */
async function checkReferrers(repository: string, content: Content): Promise<void> {
  const bySubject = new Map<string, Descriptor[]>()
  for (const [{ mediaType, digest, size }, text] of content.manifests) {
    const json = JSON.parse(text) as {
      subject?: Descriptor
      artifactType?: string
      annotations?: object
      config?: Descriptor
    }
    if (json.subject === undefined) continue
    const artifactType = json.artifactType ?? json.config?.mediaType
    const shown = {
      mediaType,
      digest,
      size,
      ...(artifactType && { artifactType }),
      ...(json.annotations && { annotations: json.annotations }),
    }
    bySubject.set(json.subject.digest, [...(bySubject.get(json.subject.digest) ?? []), shown])
  }
  for (const [subject, all] of bySubject) {
    for (const type of [undefined, ...all.map(each => each['artifactType'] as string)]) {
      const query = type === undefined ? '' : `?artifactType=${encodeURIComponent(type)}`
      const response = await call('GET', `${repository}/referrers/${subject}${query}`)
      expect([response.status, response.headers.get('content-type')]).toEqual([200, INDEX])
      expect(response.headers.get('oci-filters-applied')).toBe(type === undefined ? null : 'artifactType')
      const { manifests } = (await response.json()) as { manifests: Descriptor[] }
      const wanted = all.filter(each => type === undefined || each['artifactType'] === type)
      expect(manifests.sort(byDigest)).toEqual(wanted.sort(byDigest))
    }
  }
}

function byDigest(a: Descriptor, b: Descriptor): number {
  return a.digest < b.digest ? -1 : 1
}
