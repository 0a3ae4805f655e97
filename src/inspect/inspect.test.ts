import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isArchimageError } from '../errors/error.ts'
import { sha256 } from '../oci/digest.ts'
import {
  type Descriptor,
  describe as descriptorOf,
  encodeImageManifest,
  encodeIndex,
  type Manifest,
  parseManifest,
} from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { openStore, type Store } from '../store/store.ts'
import { layoutTransport } from '../transports/layout.ts'
import { storeTransport } from '../transports/store.ts'
import { bodyOf, imageOf, indexOf, layerOf, putAll } from '../transports/testing/images.ts'
import type { Transport } from '../transports/transport.ts'
import { describeImage } from './describe.ts'
import { differenceOf } from './difference.ts'
import { templateFields } from './fields.ts'
import { changedFiles, rootOfImage } from './files.ts'
import { imageFor, narrow } from './narrow.ts'
import { readImage } from './read.ts'
import { readReferrers } from './referrers.ts'
import { readStatements } from './statements.ts'

const AMD64 = { os: 'linux', architecture: 'amd64' }
const ARM64 = { os: 'linux', architecture: 'arm64' }
let home: string
let store: Store
let app: Transport
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'archimage-inspect-'))
  store = openStore({ home })
  app = storeTransport(store, 'docker.io/demo/app')
})
afterAll(() => {
  store.close()
  rmSync(home, { recursive: true, force: true })
})

const putJson = (value: unknown): Descriptor => {
  const bytes = Buffer.from(JSON.stringify(value))
  return { mediaType: 'application/vnd.in-toto+json', digest: store.put(bytes), size: bytes.length }
}
const put = (manifest: { readonly raw: Uint8Array }) => store.put(manifest.raw)
const inspect = async (name: string) => describeImage((await readImage(app, name))!, name, 'store')
const failure = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    error => error,
  )

/** An index of two platforms with an attestation of the first, and an entry that is not there. */
async function attested(): Promise<void> {
  const image = indexOf('attested', [AMD64, ARM64])
  await putAll(app, image)
  const [index] = image.manifests
  const statement = { ...putJson({ predicateType: 'x', predicate: { builder: 'me' } }) }
  const layers = [{ ...statement, annotations: { 'in-toto.io/predicate-type': 'https://slsa.dev/provenance/v1' } }]
  const attestation = encodeImageManifest({ docker: false, config: { ...putJson({}), mediaType: OCI.config }, layers })
  put(attestation)
  const [first] = (index as Extract<typeof index, { kind: 'index' }>).manifests
  const top = encodeIndex({
    docker: false,
    manifests: [
      ...(index as Extract<typeof index, { kind: 'index' }>).manifests,
      {
        ...descriptorOf(attestation),
        platform: { os: 'unknown', architecture: 'unknown' },
        annotations: {
          'vnd.docker.reference.type': 'attestation-manifest',
          'vnd.docker.reference.digest': first!.digest,
        },
      },
      { mediaType: OCI.manifest, digest: sha256('gone'), size: 4, platform: { os: 'linux', architecture: 's390x' } },
    ],
    annotations: { 'org.opencontainers.image.title': 'App' },
  })
  await app.putManifest(top, 'attested')
}

describe('what inspect says', () => {
  test('platforms, layers with their steps, attestations as such, and what is missing', async () => {
    await attested()
    const found = await inspect('attested')
    expect(found.annotations).toEqual({ 'org.opencontainers.image.title': 'App' })
    expect(found.images.map(image => image.platform)).toEqual(['linux/amd64', 'linux/arm64'])
    expect(found.images[0]!.layers).toMatchObject([{ createdBy: 'test', size: 2048 }])
    expect(found.attestations).toMatchObject([
      { platform: 'linux/amd64', of: found.images[0]!.digest, predicates: ['https://slsa.dev/provenance/v1'] },
    ])
    expect(found.others).toMatchObject([
      { digest: sha256('gone'), problem: 'it is not there', platform: 'linux/s390x' },
    ])
    const top = (await readImage(app, 'attested'))!
    expect((await readStatements(top, app)).provenance).toEqual({ 'linux/amd64': { SLSA: { builder: 'me' } } })
    const fields = templateFields(top, found, top.children[0], undefined, {})
    expect(fields).toMatchObject({ Architecture: 'amd64', Platforms: ['linux/amd64', 'linux/arm64'] })
  })

  test('an index and a config that disagree', async () => {
    const image = imageOf('lie', ARM64)
    await putAll(app, image)
    const lie = encodeIndex({ docker: false, manifests: [descriptorOf(image.manifests[0]!, AMD64)] })
    await app.putManifest(lie, 'lie')
    expect((await inspect('lie')).images).toMatchObject([
      { platform: 'linux/amd64', problem: 'the index says linux/amd64, the config says linux/arm64' },
    ])
  })

  test('artifacts are no images', async () => {
    const config = { ...putJson({}), mediaType: OCI.empty }
    const layer = { ...putJson('x'), annotations: { 'org.opencontainers.image.title': 'x.txt' } }
    const manifest = encodeImageManifest({ docker: false, artifactType: 'text/x', config, layers: [layer] })
    await app.putManifest(manifest, 'artifact')
    expect(await inspect('artifact')).toMatchObject({
      images: [],
      artifactType: 'text/x',
      others: [{ size: expect.any(Number) }],
    })
  })

  test('a platform and its attestations alone; what is not there is said', async () => {
    await attested()
    const top = (await readImage(app, 'attested'))!
    const only = describeImage(narrow(top, [AMD64], 'x'), 'x', 'store')
    expect([only.images.length, only.attestations.length, only.others.length]).toEqual([1, 1, 0])
    expect(describeImage(narrow(top, [ARM64], 'x'), 'x', 'store').attestations).toEqual([])
    expect(() => imageFor(top, { os: 'linux', architecture: 'riscv64' }, 'app')).toThrow(
      /app is not there for linux\/riscv64/,
    )
  })
})

test('referrers of an image and of its platforms', async () => {
  const layout = layoutTransport(join(home, 'layout'))
  const image = indexOf('signed', [AMD64])
  await putAll(layout, image, 'signed')
  const [index, child] = image.manifests
  const sign = async (subject: Manifest, artifactType: string) => {
    const config = { ...putJson({}), mediaType: OCI.empty }
    await layout.putBlob(config, bodyOf(Buffer.from('{}')))
    const { raw } = encodeImageManifest({ docker: false, artifactType, config, layers: [] })
    const signed = { ...JSON.parse(Buffer.from(raw).toString()), subject: descriptorOf(subject) }
    await layout.putManifest(parseManifest(Buffer.from(JSON.stringify(signed))))
  }
  await sign(index!, 'a/signature')
  await sign(child!, 'an/sbom')
  await layout.commit({})
  const found = describeImage((await readImage(layout, 'signed'))!, 'signed', 'oci')
  expect(await readReferrers(found, layout)).toMatchObject([
    { of: index!.digest, artifactType: 'a/signature' },
    { of: child!.digest, artifactType: 'an/sbom', platform: 'linux/amd64' },
  ])
  const { referrers: _, ...without } = app
  expect(await failure(readReferrers(found, without))).toMatchObject({ code: 'UNSUPPORTED' })
})

describe('hostile places', () => {
  test('a config that is none spoils its image only', async () => {
    const layers = imageOf('x')
      .blobs.slice(1)
      .map(({ descriptor }) => descriptor)
    const config = { ...putJson([]), mediaType: OCI.config }
    await app.putManifest(encodeImageManifest({ docker: false, config, layers }), 'broken')
    expect((await inspect('broken')).others).toMatchObject([{ problem: expect.stringContaining('not a JSON object') }])
    const huge = { ...config, size: 2 ** 40 }
    await app.putManifest(encodeImageManifest({ docker: false, config: huge, layers }), 'huge')
    expect((await inspect('huge')).others).toMatchObject([{ problem: expect.stringContaining('more than the') }])
  })

  test('indexes of indexes end somewhere', async () => {
    let index = encodeIndex({ docker: false, manifests: [] })
    for (let i = 0; i < 6; i++) {
      put(index)
      index = encodeIndex({ docker: false, manifests: [descriptorOf(index)] })
    }
    await app.putManifest(index, 'deep')
    expect(await failure(readImage(app, 'deep'))).toMatchObject({ code: 'MANIFEST_INVALID' })
    // the same one a hundred times, at each of three levels: a million ways
    let wide = encodeIndex({ docker: false, manifests: [] })
    for (let i = 0; i < 3; i++) {
      put(wide)
      wide = encodeIndex({ docker: false, manifests: Array.from({ length: 100 }, () => descriptorOf(wide)) })
    }
    await app.putManifest(wide, 'wide')
    const error = await failure(readImage(app, 'wide'))
    expect(isArchimageError(error) && error.message).toBe('the index leads to more than 2000 manifests')
  })

  test('a document that is image and index at once is refused', async () => {
    const raw = Buffer.from(JSON.stringify({ schemaVersion: 2, config: {}, layers: [], manifests: [] }))
    const digest = store.put(raw)
    expect(await failure(readImage(app, digest))).toMatchObject({ code: 'MANIFEST_INVALID' })
    const index = encodeIndex({ docker: false, manifests: [{ mediaType: OCI.manifest, digest, size: raw.length }] })
    await app.putManifest(index, 'ambiguous')
    expect((await inspect('ambiguous')).others).toMatchObject([{ problem: expect.stringContaining('at once') }])
  })
})

describe('differences', () => {
  test('fields, layers and platforms', async () => {
    const [a, b] = [indexOf('one', [AMD64, ARM64]), indexOf('two', [AMD64])]
    await putAll(app, a, 'a')
    await putAll(app, b, 'b')
    const found = differenceOf(await inspect('a'), await inspect('b'))
    expect(found).toMatchObject({ same: false, added: [], removed: ['linux/arm64'] })
    expect(found.changed).toMatchObject([
      { platform: 'linux/amd64', fields: [], layers: { common: [], removed: [{}], added: [{}] } },
    ])
    expect(differenceOf(await inspect('a'), await inspect('a'))).toMatchObject({ same: true, changed: [] })
  })

  test('steps between what both histories begin and end with', async () => {
    await putAll(app, imageOf('steps'), 'steps')
    const image = (await inspect('steps')).images[0]!
    const of = (...steps: string[]) => ({
      ...image,
      digest: sha256(steps.join()),
      config: { ...image.config, history: steps.map(created_by => ({ created_by })) },
    })
    const whole = await inspect('steps')
    const history = (a: string[], b: string[]) =>
      differenceOf({ ...whole, images: [of(...a)] }, { ...whole, images: [of(...b)] }).changed[0]!.history
    expect(history(['a', 'b', 'z'], ['a', 'x', 'b', 'z'])).toEqual({ removed: [], added: ['x'] })
    expect(history(['a', 'a'], ['a', 'a', 'a'])).toEqual({ removed: [], added: ['a'] })
    expect(history(['a'], ['b'])).toEqual({ removed: ['a'], added: ['b'] })
    expect(history(['a', 'b', 'c'], ['c'])).toEqual({ removed: ['a', 'b'], added: [] })
  })

  test('files, with what changed of each', async () => {
    await putAll(app, imageOf('one'), 'f1')
    await putAll(app, imageOf('three'), 'f2')
    const tools = { transport: app, store }
    const [before, after] = [(await readImage(app, 'f1'))!, (await readImage(app, 'f2'))!]
    const tree = await rootOfImage(before, 'f1', tools)
    expect(changedFiles(tree, await rootOfImage(after, 'f2', tools))).toEqual([
      { path: 'content', change: 'changed', type: 'file', size: 5, what: ['content, 3 → 5 bytes'] },
    ])
    expect(changedFiles(tree, tree)).toEqual([])
    const other = tree.fork()
    other.put('x/y', { ...tree.lookup('content')!, mode: 0o755 })
    other.put('content', { ...tree.lookup('content')!, mode: 0o755, uid: 5 })
    expect(changedFiles(tree, other).map(({ path, change, what }) => [path, change, ...what])).toEqual([
      ['content', 'changed', 'mode 644 → 755', 'owner 0:0 → 5:0'],
      ['x', 'added'],
      ['x/y', 'added'],
    ])
    expect(changedFiles(other, tree).map(({ path, change }) => [path, change])).toEqual([
      ['content', 'changed'],
      ['x', 'removed'],
      ['x/y', 'removed'],
    ])
  })

  test('a layer that is not what the config says', async () => {
    const layer = layerOf('content', 'lie')
    const image = imageOf('truth')
    const descriptor = { mediaType: OCI.layer, digest: store.put(layer), size: layer.length }
    const config = image.blobs[0]!
    store.put(config.bytes)
    await app.putManifest(
      encodeImageManifest({ docker: false, config: config.descriptor, layers: [descriptor] }),
      'false-layer',
    )
    const node = (await readImage(app, 'false-layer'))!
    expect(await failure(rootOfImage(node, 'x', { transport: app, store }))).toMatchObject({ code: 'DIGEST_MISMATCH' })
  })
})
