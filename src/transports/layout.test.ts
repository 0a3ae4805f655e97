import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sha256 } from '../oci/digest.ts'
import { describe as descriptorOf, encodeImageManifest, parseManifest } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { layoutTransport } from './layout.ts'
import { bodyOf, imageOf, indexOf, putAll, readAll } from './testing/images.ts'

let folder: string
let out: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'archimage-layout-'))
  out = join(folder, 'out')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const PLATFORMS = [
  { os: 'linux', architecture: 'amd64' },
  { os: 'linux', architecture: 'arm64' },
]
const failure = async (work: () => unknown): Promise<unknown> => {
  try {
    return await work()
  } catch (error) {
    return error
  }
}
const entries = (): Record<string, unknown>[] => JSON.parse(readFileSync(join(out, 'index.json'), 'utf8')).manifests

describe('what is written', () => {
  test('is read back whole, by tag, whole name and digest', async () => {
    const image = indexOf('a', PLATFORMS)
    const to = layoutTransport(out)
    await putAll(to, image, 'registry.example.com/app:1.0')
    await putAll(to, imageOf('b'), 'v1')
    await to.commit()
    const from = layoutTransport(out)
    const expected = new Map([
      ...image.manifests.map(one => [one.digest, Buffer.from(one.raw)] as const),
      ...image.blobs.map(({ descriptor, bytes }) => [descriptor.digest, Buffer.from(bytes)] as const),
    ])
    for (const name of ['registry.example.com/app:1.0', '1.0', image.manifests[0]!.digest])
      expect(await readAll(from, name)).toEqual(expected as Map<string, Buffer>)
    expect(await Array.fromAsync(from.tags())).toEqual(['registry.example.com/app:1.0', 'v1'])
    expect(await from.head('v1')).toEqual(descriptorOf(imageOf('b').manifests[0]!))
    expect(JSON.parse(readFileSync(join(out, 'oci-layout'), 'utf8'))).toEqual({ imageLayoutVersion: '1.0.0' })
    expect(readdirSync(out).sort()).toEqual(['blobs', 'index.json', 'oci-layout'])
  })

  test('replaces its own name, keeps other entries, unknown fields and names of others', async () => {
    const [a, b] = [imageOf('a'), imageOf('b')]
    await putAll(layoutTransport(out), a, 'v1')
    const path = join(out, 'index.json')
    const index = JSON.parse(readFileSync(path, 'utf8'))
    const strange = { ...descriptorOf(a.manifests[0]!), 'x-own': [1], annotations: { other: 'yes' } }
    writeFileSync(path, JSON.stringify({ ...index, 'x-field': { a: 1 }, manifests: [strange, ...index.manifests] }))
    await putAll(layoutTransport(out), b, 'v1')
    await putAll(layoutTransport(out), b, 'v2')
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ 'x-field': { a: 1 }, schemaVersion: 2 })
    expect(entries().map(entry => [entry['digest'], entry['annotations'], entry['x-own']])).toEqual([
      [a.manifests[0]!.digest, { other: 'yes' }, [1]],
      [b.manifests[0]!.digest, { 'org.opencontainers.image.ref.name': 'v1' }, undefined],
      [b.manifests[0]!.digest, { 'org.opencontainers.image.ref.name': 'v2' }, undefined],
    ])
  })

  test('is not written again', async () => {
    const image = imageOf('a')
    await putAll(layoutTransport(out), image, 'v1')
    for (const { descriptor } of image.blobs)
      expect(await layoutTransport(out).putBlob(descriptor, () => Promise.reject(new Error('not asked for')))).toBe(
        'exists',
      )
  })

  test('by digest only gets an entry at commit when nothing leads to it', async () => {
    const to = layoutTransport(out)
    await putAll(to, indexOf('a', PLATFORMS), 'v1')
    const alone = imageOf('alone').manifests[0]!
    await to.putManifest(alone)
    expect(entries().map(entry => entry['digest'])).not.toContain(alone.digest)
    await to.commit()
    await to.commit()
    expect(entries().map(entry => entry['digest'])).toEqual([
      indexOf('a', PLATFORMS).manifests[0]!.digest,
      alone.digest,
    ])
  })

  test('must be what was promised', async () => {
    const bytes = Buffer.from('hello world')
    const descriptor = { mediaType: OCI.layer, digest: sha256(bytes), size: bytes.length }
    const to = layoutTransport(out)
    const mismatch = expect.objectContaining({ code: 'DIGEST_MISMATCH' })
    for (const wrong of ['hello worle', 'hello', 'hello world and more'])
      expect(await failure(() => to.putBlob(descriptor, bodyOf(Buffer.from(wrong))))).toEqual(mismatch)
    expect(await failure(() => to.putBlob(descriptor, bodyOf(Buffer.from('hello')), { checked: true }))).toEqual(
      mismatch,
    )
    expect(readdirSync(join(out, 'blobs/sha256'))).toEqual([])
    expect(readdirSync(out).sort()).toEqual(['blobs', 'oci-layout'])
    const seen: number[] = []
    expect(await to.putBlob(descriptor, bodyOf(bytes, 5), { progress: n => void seen.push(n) })).toBe('uploaded')
    expect(seen).toEqual([5, 10, 11])
    expect(
      await failure(() =>
        to.putBlob({ ...descriptor, digest: sha256('x') }, bodyOf(bytes), { signal: AbortSignal.abort() }),
      ),
    ).toMatchObject({ code: 'CANCELLED' })
  })

  test('does not go among other things, nor through links', async () => {
    mkdirSync(out)
    writeFileSync(join(out, 'notes.txt'), '')
    const { descriptor, bytes } = imageOf('a').blobs[0]!
    expect(await failure(() => layoutTransport(out).putBlob(descriptor, bodyOf(bytes)))).toMatchObject({
      code: 'USAGE',
    })
    expect(readdirSync(out)).toEqual(['notes.txt'])
    rmSync(join(out, 'notes.txt'))
    symlinkSync(folder, join(out, 'blobs'))
    expect(await failure(() => layoutTransport(out).putBlob(descriptor, bodyOf(bytes)))).toMatchObject({
      code: 'CONTEXT_INVALID',
    })
    expect(readdirSync(folder)).toEqual(['out'])
    writeFileSync(join(folder, 'file'), '')
    expect(await failure(() => layoutTransport(join(folder, 'file')).putBlob(descriptor, bodyOf(bytes)))).toMatchObject(
      { code: 'USAGE' },
    )
  })

  test('what killed processes left goes after a day', async () => {
    await putAll(layoutTransport(out), imageOf('a'), 'v1')
    const [old, young] = ['.blob.1-0123456789ab.tmp', '.blob.1-0123456789ac.tmp'].map(name => join(out, name))
    for (const path of [old!, young!]) writeFileSync(path, '')
    utimesSync(old!, 1, 1)
    const to = layoutTransport(out)
    await putAll(to, imageOf('b'), 'v2')
    await to.commit()
    expect(readdirSync(out).filter(name => name.endsWith('.tmp'))).toEqual(['.blob.1-0123456789ac.tmp'])
  })
})

test('tags and manifests are taken away', async () => {
  const to = layoutTransport(out)
  const digest = imageOf('a').manifests[0]!.digest
  for (const name of ['v1', 'v2', 'v3']) await putAll(to, imageOf('a'), name)
  await putAll(to, imageOf('b'), 'w')
  expect(await to.deleteTag('v1')).toBe(true)
  expect(await to.deleteTag('v1')).toBe(false)
  expect(await Array.fromAsync(to.tags())).toEqual(['v2', 'v3', 'w'])
  expect(await to.deleteManifest('v2')).toBe(true)
  expect(await Array.fromAsync(to.tags())).toEqual(['w'])
  expect(await to.deleteManifest(digest)).toBe(false)
})

test('referrers: those of index.json, and those of the fallback tag', async () => {
  const to = layoutTransport(out)
  const image = imageOf('a')
  const subject = image.manifests[0]!
  await putAll(to, image, 'v1')
  const empty = Buffer.from('{}')
  const config = { mediaType: OCI.empty, digest: sha256(empty), size: 2 }
  await to.putBlob(config, bodyOf(empty))
  const signature = (type: string) => {
    const made = encodeImageManifest({
      docker: false,
      artifactType: type,
      config,
      layers: [config],
      annotations: { by: type },
    })
    return parseManifest(
      Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(made.raw).toString()), subject: descriptorOf(subject) })),
    )
  }
  await to.putManifest(signature('application/a'))
  await to.putManifest(imageOf('other').manifests[0]!)
  await to.commit()
  await to.putManifest(signature('application/b'), 'signature')
  expect(await Array.fromAsync(to.tags())).toEqual(['v1', `sha256-${subject.digest.slice(7)}`, 'signature'])
  const listed = async (artifactType?: string) =>
    (
      await Array.fromAsync(layoutTransport(out).referrers(subject.digest, { ...(artifactType && { artifactType }) }))
    ).map(({ artifactType, annotations }) => [artifactType, annotations])
  expect(await listed()).toEqual([
    ['application/a', { by: 'application/a' }],
    ['application/b', { by: 'application/b' }],
  ])
  expect(await listed('application/a')).toEqual([['application/a', { by: 'application/a' }]])
  expect(await Array.fromAsync(to.referrers(sha256('x')))).toEqual([])
})

describe('which image is meant', () => {
  const resolve = (wanted: Parameters<ReturnType<typeof layoutTransport>['resolve']>[0]) =>
    failure(() => layoutTransport(out).resolve(wanted))

  test('the only one, the one called latest, or a name', async () => {
    const to = layoutTransport(out)
    await putAll(to, imageOf('a'))
    await to.commit()
    expect(await resolve({})).toBe(imageOf('a').manifests[0]!.digest)
    await putAll(to, imageOf('a'), 'v1')
    expect(await resolve({})).toBe('v1')
    await putAll(to, imageOf('b'), 'v2')
    expect(await resolve({})).toMatchObject({ code: 'NOT_FOUND', hint: 'choose one: v1, v2' })
    expect(await resolve({ name: 'v2' })).toBe('v2')
    expect(await resolve({ name: 'v22' })).toMatchObject({ code: 'NOT_FOUND', hint: 'did you mean "v2"?' })
    expect(await resolve({ name: 'something else' })).toMatchObject({ code: 'NOT_FOUND', hint: 'it holds v1, v2' })
    expect(await resolve({ digest: sha256('x') })).toMatchObject({ code: 'NOT_FOUND' })
    expect(await resolve({ digest: imageOf('b').manifests[0]!.digest })).toBe(imageOf('b').manifests[0]!.digest)
    await putAll(to, imageOf('c'), 'latest')
    expect(await resolve({})).toBe('latest')
  })

  test('whole names and their tags', async () => {
    const to = layoutTransport(out)
    await putAll(to, imageOf('a'), 'docker.io/library/app:1.0')
    await putAll(to, imageOf('b'), 'docker.io/library/web:1.0')
    expect((await to.manifest('app:1.0'))?.digest).toBe(imageOf('a').manifests[0]!.digest)
    expect(await failure(() => to.manifest('1.0'))).toMatchObject({ code: 'NOT_FOUND' })
    await putAll(to, imageOf('c'), '1.0')
    expect((await to.manifest('1.0'))?.digest).toBe(imageOf('c').manifests[0]!.digest)
    expect(await Array.fromAsync(to.tags())).toHaveLength(3)
  })

  test('where nothing is', async () => {
    expect(await resolve({})).toMatchObject({ code: 'NOT_FOUND' })
    mkdirSync(out)
    expect(await resolve({})).toMatchObject({ code: 'NOT_FOUND' })
    writeFileSync(join(out, 'notes'), 'of somebody')
    expect(await resolve({})).toMatchObject({ code: 'MANIFEST_INVALID' })
    writeFileSync(join(out, 'index.json'), '{"schemaVersion":2,"manifests":null}')
    expect(await resolve({})).toMatchObject({ code: 'NOT_FOUND' })
  })
})

describe('hostile layouts', () => {
  test('every blob flipped, cut, lengthened: an error every time', async () => {
    const image = indexOf('a', PLATFORMS)
    await putAll(layoutTransport(out), image, 'v1')
    const blobs = join(out, 'blobs/sha256')
    const files = readdirSync(blobs)
    expect(files).toHaveLength(7)
    for (const file of files) {
      const path = join(blobs, file)
      const bytes = readFileSync(path)
      const flipped = Buffer.from(bytes)
      flipped[bytes.length >> 1]! ^= 1
      for (const wrong of [
        flipped,
        bytes.subarray(0, -1),
        Buffer.concat([bytes, Buffer.from('\n')]),
        Buffer.alloc(0),
      ]) {
        writeFileSync(path, wrong)
        expect(await failure(() => readAll(layoutTransport(out), 'v1'))).toMatchObject({ code: 'DIGEST_MISMATCH' })
      }
      rmSync(path)
      expect(await failure(() => readAll(layoutTransport(out), 'v1'))).toBeInstanceOf(Error)
      writeFileSync(path, bytes)
    }
    expect((await readAll(layoutTransport(out), 'v1')).size).toBe(7)
  })

  test('what is no file is not read', async () => {
    const image = imageOf('a')
    await putAll(layoutTransport(out), image, 'v1')
    const path = join(out, 'blobs/sha256', image.blobs[1]!.descriptor.digest.slice(7))
    rmSync(path)
    for (const make of [
      () => execFileSync('mkfifo', [path]),
      () => mkdirSync(path),
      () => symlinkSync('/dev/zero', path),
      () => symlinkSync(path, path),
    ]) {
      make()
      expect(await failure(() => readAll(layoutTransport(out), 'v1'))).toMatchObject({
        code: expect.stringMatching(/^(MANIFEST_INVALID|DIGEST_MISMATCH|NOT_FOUND)$/),
      })
      rmSync(path, { recursive: true })
    }
  })

  test.each([
    ['{'],
    ['[]'],
    ['{"schemaVersion":1,"manifests":[]}'],
    ['{"schemaVersion":2,"manifests":[{}]}'],
    ['{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"sha256:../../../etc/passwd","size":1}]}'],
    [`{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"${sha256('')}","size":-1}]}`],
    [`{"schemaVersion":2,"config":{},"layers":[]}`],
    [' '.repeat(9 << 20)],
  ])('an index.json that is none: %#', async text => {
    mkdirSync(out)
    writeFileSync(join(out, 'index.json'), text)
    expect(await failure(() => layoutTransport(out).manifest('v1'))).toMatchObject({ code: 'MANIFEST_INVALID' })
  })

  test('a manifest whose size in index.json is another', async () => {
    await putAll(layoutTransport(out), imageOf('a'), 'v1')
    const path = join(out, 'index.json')
    writeFileSync(path, readFileSync(path, 'utf8').replace(/"size":\d+/, '"size":7'))
    expect(await failure(() => layoutTransport(out).manifest('v1'))).toMatchObject({ code: 'DIGEST_MISMATCH' })
  })
})
