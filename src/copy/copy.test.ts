import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sha256 } from '../oci/digest.ts'
import { describe as descriptorOf, encodeImageManifest, encodeIndex, type ImageIndex } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { parsePlatform } from '../oci/platform.ts'
import { type FaultyRegistry, startFaultyRegistry } from '../registry/faulty/start.ts'
import { openRegistry, type Registry } from '../registry/registry.ts'
import { layoutTransport } from '../transports/layout.ts'
import { bodyOf, imageOf, indexOf, putAll, readAll, type TestImage } from '../transports/testing/images.ts'
import { copy } from './copy.ts'
import type { CopyEvent, CopyImage, CopyOptions, Place } from './request.ts'

let source: FaultyRegistry
let target: FaultyRegistry
let registry: Registry
let folder: string
const events: CopyEvent[] = []

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'archimage-copy-'))
  ;[source, target] = await Promise.all([startFaultyRegistry(), startFaultyRegistry()])
  registry = openRegistry({ env: { HOME: folder }, tuning: { backoff: 1 } })
  events.length = 0
})
afterEach(async () => {
  await Promise.all([source.close(), target.close()])
  rmSync(folder, { recursive: true, force: true })
})

const place = (at: FaultyRegistry, repository: string): Place => ({
  transport: registry.repository(`${at.address}/${repository}`),
  label: `${at.address}/${repository}`,
  site: { registry: at.address, repository },
})
const run = (images: readonly CopyImage[], signal = new AbortController().signal) =>
  copy(images, { signal, emit: event => events.push(event) })
const one = (name: string, options: CopyOptions = {}, tags = ['v1']): CopyImage => ({
  source: place(source, 'from/app'),
  name,
  target: place(target, 'to/app'),
  tags,
  options,
})
const put = (image: TestImage, name = 'v1') => putAll(place(source, 'from/app').transport, image, name)
const gets = (at: FaultyRegistry) => at.requests.filter(({ method }) => method === 'GET').map(({ path }) => path)
const puts = (at: FaultyRegistry) =>
  at.requests.filter(({ method, path }) => method === 'PUT' && path.includes('/manifests/')).map(({ path }) => path)
const platforms = ['linux/amd64', 'linux/arm64'].map(parsePlatform)

describe('an index of two platforms', () => {
  test('goes over with all bytes, and a second time costs a HEAD at each end', async () => {
    const image = indexOf('app', platforms)
    await put(image)
    const result = await run([one('v1')])
    expect(result.images).toMatchObject([{ state: 'copied', digest: image.manifests[0]!.digest }])
    expect(result.blobs).toMatchObject({ sent: 4, mounted: 0, there: 0 })
    const [from, to] = [place(source, 'from/app').transport, place(target, 'to/app').transport]
    expect(await readAll(to, 'v1')).toEqual(await readAll(from, 'v1'))
    // tags last
    expect(puts(target).at(-1)).toBe('/v2/to/app/manifests/v1')
    expect(puts(target)).toHaveLength(3)

    source.requests.length = target.requests.length = 0
    expect((await run([one('v1')])).images).toMatchObject([{ state: 'same' }])
    expect(source.requests.map(({ method }) => method)).toEqual(['HEAD'])
    expect(target.requests.map(({ method }) => method)).toEqual(['HEAD'])
  })

  test('another tag for what is there is one PUT', async () => {
    await put(indexOf('app', platforms))
    await run([one('v1')])
    source.requests.length = target.requests.length = 0
    expect((await run([one('v1', {}, ['v1', 'latest'])])).images).toMatchObject([{ state: 'copied' }])
    expect(puts(target)).toEqual(['/v2/to/app/manifests/latest'])
    expect(gets(source).filter(path => path.includes('/blobs/'))).toEqual([])
  })

  test('by digest, without a tag', async () => {
    const image = indexOf('app', platforms)
    await put(image)
    const { digest } = image.manifests[0]!
    expect((await run([one(digest, {}, [])])).images).toMatchObject([{ state: 'copied', digest }])
    expect(puts(target).at(-1)).toBe(`/v2/to/app/manifests/${digest}`)
    expect((await run([one(digest, {}, [])])).images).toMatchObject([{ state: 'same', digest }])
  })

  test('what does not exist names its side', async () => {
    const { images } = await run([one('nothing')])
    expect(images[0]!.error).toMatchObject({ code: 'NOT_FOUND', message: expect.stringMatching(/^source: .*nothing/) })
    expect(puts(target)).toEqual([])
  })

  test('a mistyped tag is answered with the one that was meant', async () => {
    await put(indexOf('app', platforms))
    const { images } = await run([one('v11')])
    expect(images[0]!.error).toMatchObject({ code: 'NOT_FOUND', hint: 'did you mean "v1"?' })
  })
})

describe('platforms', () => {
  /** Three images and the attestations of the first two. */
  const attested = (): TestImage => {
    const three = ['linux/amd64', 'linux/arm64', 'linux/s390x'].map(parsePlatform)
    const images = three.map(platform => imageOf(`app ${platform.architecture}`, platform))
    const attestations = images.slice(0, 2).map(image => {
      const made = imageOf(`attestation of ${image.manifests[0]!.digest}`)
      return { made, of: image.manifests[0]!.digest }
    })
    const entries = [
      ...images.map((image, i) => descriptorOf(image.manifests[0]!, three[i])),
      ...attestations.map(({ made, of }) => ({
        ...descriptorOf(made.manifests[0]!, { os: 'unknown', architecture: 'unknown' }),
        annotations: { 'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': of },
      })),
    ]
    const all = [...images, ...attestations.map(({ made }) => made)]
    return {
      manifests: [
        encodeIndex({ docker: false, manifests: entries, annotations: { kept: 'yes' } }),
        ...all.flatMap(image => image.manifests),
      ],
      blobs: all.flatMap(image => image.blobs),
    }
  }
  const copied = async (name = 'v1') => (await place(target, 'to/app').transport.manifest(name))!

  test('several: an index of just those, with their attestations', async () => {
    const image = attested()
    await put(image)
    const [amd64, , s390x, attestation] = (image.manifests[0] as ImageIndex).manifests
    await run([one('v1', { platforms: ['linux/s390x', 'linux/amd64'].map(parsePlatform) })])
    const index = (await copied()) as ImageIndex
    expect(index.manifests).toEqual([amd64!, s390x!, attestation!])
    expect(index.annotations).toEqual({ kept: 'yes' })
    await readAll(place(target, 'to/app').transport, 'v1')
    source.requests.length = 0
    expect(
      (await run([one('v1', { platforms: ['linux/s390x', 'linux/amd64'].map(parsePlatform) })])).images,
    ).toMatchObject([{ state: 'same' }])
  })

  test('one: the image itself; with index an index of it', async () => {
    const image = attested()
    await put(image)
    const amd64 = [parsePlatform('linux/amd64')]
    await run([one('v1', { platforms: amd64 })])
    expect((await copied()).digest).toBe(image.manifests[1]!.digest)
    await run([one('v1', { platforms: amd64, index: true })])
    expect((await copied()) as ImageIndex).toMatchObject({ kind: 'index', manifests: [{}, {}] })
  })

  test('sparse: the index as it is, and only what was asked for behind it', async () => {
    target.faults.lenient = true
    const image = attested()
    await put(image)
    await run([one('v1', { platforms: [parsePlatform('linux/arm64')], sparse: true, preserveDigests: true })])
    expect((await copied()).digest).toBe(image.manifests[0]!.digest)
    expect(await place(target, 'to/app').transport.head(image.manifests[2]!.digest)).toBeDefined()
    expect(await place(target, 'to/app').transport.head(image.manifests[1]!.digest)).toBeUndefined()
  })

  test('one that is not there, and digests that would change', async () => {
    await put(attested())
    const { images } = await run([
      one('v1', { platforms: [parsePlatform('linux/arm/v7')] }),
      one('v1', { platforms: platforms, preserveDigests: true }),
    ])
    expect(images.map(({ error }) => error?.code)).toEqual(['PLATFORM_MISSING', 'USAGE'])
    expect(images[0]!.error!.hint).toContain('linux/amd64, linux/arm64, linux/s390x')
    expect(puts(target)).toEqual([])
  })

  test('an image without an index counts by its config', async () => {
    await put(imageOf('single', parsePlatform('linux/arm64')))
    const { images } = await run([
      one('v1', { platforms: [parsePlatform('linux/arm64')] }),
      one('v1', { platforms: [parsePlatform('linux/amd64')] }, ['v2']),
    ])
    expect(images.map(({ state, error }) => error?.code ?? state)).toEqual(['copied', 'PLATFORM_MISSING'])
  })
})

describe('several images', () => {
  test('layers that they share go once and are mounted elsewhere', async () => {
    const image = indexOf('shared', platforms)
    await put(image)
    const images = ['a', 'b', 'c'].map(name => ({ ...one('v1'), target: place(target, `to/${name}`) }))
    const { blobs } = await run(images)
    expect(blobs).toMatchObject({ sent: 4, mounted: 8 })
    expect(gets(source).filter(path => path.includes('/blobs/'))).toHaveLength(4)
  })

  test('within one registry nothing is downloaded', async () => {
    await put(indexOf('near', platforms))
    source.requests.length = 0
    const { blobs } = await run([{ ...one('v1'), target: place(source, 'to/app') }])
    expect(blobs).toMatchObject({ sent: 0, mounted: 4 })
    expect(gets(source).filter(path => path.includes('/blobs/'))).toEqual([])
  })

  test('within one repository only the tag is written', async () => {
    await put(indexOf('here', platforms))
    source.requests.length = 0
    await run([{ ...one('v1', {}, ['v2']), target: place(source, 'from/app') }])
    expect(source.requests.filter(({ path }) => path.includes('/blobs/'))).toEqual([])
    expect(puts(source)).toEqual(['/v2/from/app/manifests/v2'])
  })

  test('one that fails does not hold up the others', async () => {
    await put(indexOf('good', platforms), 'good')
    const { images } = await run([one('bad', {}, ['bad']), one('good', {}, ['good'])])
    expect(images.map(({ state }) => state)).toEqual(['failed', 'copied'])
  })

  test('an interruption leaves no tag behind', async () => {
    await put(indexOf('slow', platforms))
    const controller = new AbortController()
    target.faults.answer = async request => {
      if (request.method === 'PUT' && request.url.includes('/manifests/')) controller.abort()
      return undefined
    }
    const { images } = await run([one('v1'), one('v1', {}, ['v2'])], controller.signal)
    expect(images.map(({ error }) => error?.code)).toEqual(['CANCELLED', 'CANCELLED'])
    delete target.faults.answer
    expect(await Array.fromAsync(place(target, 'to/app').transport.tags!())).toEqual([])
  })
})

describe('tags that are there', () => {
  test('stay, or are an error before anything goes up', async () => {
    await put(indexOf('old', platforms), 'old')
    await put(indexOf('new', platforms), 'new')
    await run([one('old')])
    target.requests.length = 0
    const { images } = await run([
      one('new', { existing: 'keep' }),
      one('new', { existing: 'refuse' }),
      one('old', { existing: 'refuse' }),
    ])
    expect(images.map(({ state, error }) => error?.code ?? state)).toEqual(['kept', 'TAG_EXISTS', 'same'])
    expect(target.requests.filter(({ method }) => method !== 'HEAD')).toEqual([])
  })

  test('that may not move are an error; nothing else of the image is lost', async () => {
    await put(indexOf('old', platforms), 'old')
    await put(indexOf('new', platforms), 'new')
    await run([one('old')])
    target.faults.refuseTag = { match: /^v1$/, status: 409, onlyMoves: true }
    const { images } = await run([one('new'), one('old')])
    expect(images.map(({ state, error }) => error?.code ?? state)).toEqual(['TAG_IMMUTABLE', 'same'])
    expect(images[0]!.error!.message).toStartWith('destination: ')
  })
})

describe('what belongs to an image', () => {
  const signature = (of: TestImage) => {
    const [top] = of.manifests
    const made = imageOf(`signature of ${top!.digest}`)
    const config = { mediaType: OCI.empty, digest: sha256('{}'), size: 2 }
    const manifest = encodeImageManifest({
      docker: false,
      artifactType: 'application/vnd.test.signature',
      config,
      layers: [made.blobs[1]!.descriptor],
    })
    const raw = Buffer.from(
      JSON.stringify({ ...JSON.parse(Buffer.from(manifest.raw).toString()), subject: descriptorOf(top!) }),
    )
    return {
      raw,
      digest: sha256(raw),
      blobs: [...made.blobs.slice(1), { descriptor: config, bytes: Buffer.from('{}') }],
    }
  }

  for (const api of [true, false])
    test(`referrers, and theirs${api ? '' : ', where nothing but tags lists them'}`, async () => {
      if (!api) target.faults.noReferrers = 404
      const { parseManifest } = await import('../oci/manifest.ts')
      const image = imageOf('signed')
      await put(image)
      const { raw, blobs } = signature(image)
      const from = place(source, 'from/app').transport
      for (const { descriptor, bytes } of blobs) await from.putBlob(descriptor, bodyOf(bytes))
      const signed = parseManifest(raw)
      await from.putManifest(signed)
      const second = signature({ manifests: [signed], blobs: [] })
      for (const { descriptor, bytes } of second.blobs) await from.putBlob(descriptor, bodyOf(bytes))
      await from.putManifest(parseManifest(second.raw))

      await run([one('v1')])
      const to = place(target, 'to/app').transport
      const { digest } = image.manifests[0]!
      expect(await Array.fromAsync(to.referrers!(digest))).toEqual([])
      expect((await run([one('v1', { referrers: true })])).images).toMatchObject([{ state: 'copied' }])
      const list = async (subject: typeof digest) =>
        (await Array.fromAsync(to.referrers!(subject))).map(one => one.digest)
      expect(await list(digest)).toEqual([signed.digest])
      expect(await list(signed.digest)).toEqual([second.digest])
      expect((await run([one('v1', { referrers: true })])).images).toMatchObject([{ state: 'same' }])
    })

  test('tags of cosign', async () => {
    const image = imageOf('signed')
    await put(image)
    const tag = `${image.manifests[0]!.digest.replace(':', '-')}.sig`
    await put(imageOf('signature'), tag)
    await put(imageOf('of another'), `sha256-${'0'.repeat(64)}.sig`)
    await run([one('v1', { digestTags: true })])
    expect((await Array.fromAsync(place(target, 'to/app').transport.tags!())).sort()).toEqual([tag, 'v1'])
    expect((await run([one('v1', { digestTags: true })])).images).toMatchObject([{ state: 'same' }])
  })
})

describe('another format', () => {
  test("Docker's and back", async () => {
    const image = indexOf('app', platforms)
    await put(image)
    await run([one('v1', { format: 'docker' })])
    const made = (await place(target, 'to/app').transport.manifest('v1')) as ImageIndex
    expect(made.mediaType).toBe('application/vnd.docker.distribution.manifest.list.v2+json')
    const child = await place(target, 'to/app').transport.manifest(made.manifests[0]!.digest)
    expect(child).toMatchObject({
      mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
      config: { mediaType: 'application/vnd.docker.container.image.v1+json' },
      layers: [{ mediaType: 'application/vnd.docker.image.rootfs.diff.tar' }],
    })
    expect((await run([one('v1', { format: 'docker' })])).images).toMatchObject([{ state: 'same' }])
    const back = { ...one('v1', { format: 'oci' as const }, ['back']), source: place(target, 'to/app') }
    expect((await run([back])).images).toMatchObject([{ digest: image.manifests[0]!.digest }])
  })

  test('compressed, and then no more', async () => {
    const image = indexOf('app '.repeat(1000), platforms)
    await put(image)
    for (const [format, magic] of [
      ['gzip', '1f8b'],
      ['zstd', '28b52ffd'],
    ] as const) {
      const { images } = await run([one('v1', { compression: { format } }, [format])])
      expect(images[0]!.error).toBeUndefined()
      const to = place(target, 'to/app').transport
      const all = await readAll(to, format)
      const index = (await to.manifest(format)) as ImageIndex
      const child = await to.manifest(index.manifests[0]!.digest)
      if (child?.kind !== 'image') throw new Error('no image')
      expect(child.layers[0]!.mediaType).toBe(`${OCI.layer}+${format}`)
      expect(all.get(child.layers[0]!.digest)!.toString('hex')).toStartWith(magic)
      const again = { ...one(format, { compression: { format } }, ['again']), source: place(target, 'to/app') }
      expect((await run([again])).images).toMatchObject([{ digest: index.digest }])
    }
  })

  test('both compressions in one index', async () => {
    const image = indexOf('app '.repeat(1000), platforms)
    await put(image)
    const { images } = await run([one('v1', { addCompression: { format: 'zstd' } })])
    expect(images[0]!.error).toBeUndefined()
    const to = place(target, 'to/app').transport
    await readAll(to, 'v1')
    const index = (await to.manifest('v1')) as ImageIndex
    expect(index.manifests.slice(0, 2)).toEqual([...(image.manifests[0] as ImageIndex).manifests])
    expect(index.manifests.slice(2).map(({ platform, annotations }) => [platform, annotations])).toEqual(
      platforms.map(platform => [platform, { 'io.github.containers.compression.zstd': 'true' }]),
    )
    const again = {
      ...one('v1', { addCompression: { format: 'zstd' as const } }, ['v2']),
      source: place(target, 'to/app'),
    }
    expect((await run([again])).images).toMatchObject([{ digest: index.digest }])
  })

  test('what would make signatures worthless is refused', async () => {
    await put(indexOf('app', platforms))
    const { images } = await run([one('v1', { format: 'docker', referrers: true })])
    expect(images[0]!.error).toMatchObject({ code: 'USAGE' })
  })
})

test('between a registry and a layout', async () => {
  const image = indexOf('app', platforms)
  await put(image)
  const layout = (): Place => ({ transport: layoutTransport(join(folder, 'out')), label: 'oci:out' })
  const there = await run([{ ...one('v1'), target: layout() }])
  expect(there.images.map(({ error }) => error)).toEqual([undefined])
  await run([{ ...one('v1', {}, ['back']), source: layout() }])
  expect(await readAll(place(target, 'to/app').transport, 'back')).toEqual(
    await readAll(place(source, 'from/app').transport, 'v1'),
  )
})
