import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sha256 } from '../oci/digest.ts'
import { describe as descriptorOf, encodeImageManifest, parseManifest } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { rememberSource } from '../store/sources.ts'
import { openStore, type Store } from '../store/store.ts'
import { putImage } from '../store/testing/images.ts'
import { storeTransport } from './store.ts'
import type { Transport } from './transport.ts'

let home: string
let store: Store
let app: Transport
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'archimage-transport-'))
  store = openStore({ home })
  app = storeTransport(store, 'docker.io/demo/app', 'loaded')
})
afterEach(() => {
  store.close()
  rmSync(home, { recursive: true, force: true })
})

const streamOf =
  (...chunks: string[]) =>
  () =>
    new ReadableStream<Uint8Array>({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(Buffer.from(chunk))
        controller.close()
      },
    })

describe('a repository of the store', () => {
  test('what is absent is undefined', async () => {
    expect(await app.manifest('latest')).toBeUndefined()
    expect(await app.manifest(sha256('x'))).toBeUndefined()
    expect(await app.head('latest')).toBeUndefined()
    expect(await app.head(sha256('x'))).toBeUndefined()
    expect(await app.hasBlob({ mediaType: OCI.layer, digest: sha256('x'), size: 1 })).toBe(false)
    expect(await app.deleteManifest!('latest')).toBe(false)
    expect(await Array.fromAsync(app.tags!())).toEqual([])
  })

  test('manifests by tag and digest, tags of this repository only', async () => {
    const image = putImage(store, 'layer')
    expect(await app.putManifest(image, 'v1')).toBe(image.digest)
    expect(await app.putManifest(image, 'v2')).toBe(image.digest)
    await storeTransport(store, 'docker.io/demo/app/sub').putManifest(image, 'v3')
    expect((await app.manifest('v1'))?.raw).toEqual(image.raw)
    expect((await app.manifest(image.digest))?.digest).toBe(image.digest)
    expect(await app.head('v2')).toEqual(descriptorOf(image))
    expect(await app.head(image.digest)).toEqual(descriptorOf(image))
    expect(await Array.fromAsync(app.tags!())).toEqual(['v1', 'v2'])
    expect(store.ref('demo/app:v1')?.origin).toBe('loaded')
    expect(await app.deleteTag!('v3')).toBe(false)
    expect(await app.deleteTag!('v1')).toBe(true)
    expect(await app.deleteManifest!(image.digest)).toBe(true)
    expect(store.refs().map(ref => ref.name)).toEqual(['docker.io/demo/app/sub:v3'])
  })

  test('what refers to an image is listed, and not pruned', async () => {
    const image = putImage(store, 'layer')
    await app.putManifest(image, 'v1')
    const config = { mediaType: OCI.empty, digest: sha256('{}'), size: 2 }
    await app.putBlob(config, streamOf('{}'))
    const signature = (type: string) => {
      const made = encodeImageManifest({ docker: false, artifactType: type, config, layers: [config] })
      const json = { ...JSON.parse(Buffer.from(made.raw).toString()), subject: descriptorOf(image) }
      return parseManifest(Buffer.from(JSON.stringify(json)))
    }
    for (const type of ['application/a', 'application/b', 'application/a']) await app.putManifest(signature(type))
    const listed = async (options = {}) =>
      (await Array.fromAsync(app.referrers!(image.digest, options))).map(one => [one.artifactType, one.digest])
    const [a, b] = ['application/a', 'application/b'].map(type => [type, signature(type).digest])
    expect(await listed()).toEqual([a!, b!])
    expect(await listed({ artifactType: 'application/b' })).toEqual([b!])
    expect(await Array.fromAsync(app.referrers!(sha256('x')))).toEqual([])
    store.prune({ all: true })
    expect(await listed()).toEqual([a!, b!])
  })

  test('blobs are checked on their way in', async () => {
    const descriptor = { mediaType: OCI.layer, digest: sha256('hello world'), size: 11 }
    const seen: number[] = []
    expect(await app.putBlob(descriptor, streamOf('hello', ' world'), { progress: n => void seen.push(n) })).toBe(
      'uploaded',
    )
    expect(seen).toEqual([5, 11])
    expect(await app.putBlob(descriptor, () => Promise.reject(new Error('not asked for')))).toBe('exists')
    expect(await new Response(await app.blob(descriptor, { start: 6 })).text()).toBe('world')
    const mismatch = expect.objectContaining({ code: 'DIGEST_MISMATCH' })
    const other = { ...descriptor, digest: sha256('hello there') }
    await expect(app.putBlob(other, streamOf('hello world'))).rejects.toEqual(mismatch)
    await expect(app.putBlob(other, streamOf('hello'))).rejects.toEqual(mismatch)
    // A source that never ends is not read to its end.
    const endless = () =>
      new ReadableStream<Uint8Array>({ pull: controller => controller.enqueue(new Uint8Array(1000)) })
    await expect(app.putBlob(other, endless)).rejects.toEqual(mismatch)
    const broken = () =>
      new ReadableStream<Uint8Array>({
        pull() {
          throw new Error('connection lost')
        },
      })
    await expect(app.putBlob(other, broken)).rejects.toThrow('connection lost')
    const stop = new AbortController()
    stop.abort()
    await expect(app.putBlob(other, streamOf('hello there'), { signal: stop.signal })).rejects.toEqual(
      expect.objectContaining({ code: 'CANCELLED' }),
    )
    expect(await app.hasBlob(other)).toBe(false)
    expect(readdirSync(join(home, 'tmp'))).toEqual([])
  })
})

test('blobs that are elsewhere only are read from where they were seen, and pruning does not forget where that is', async () => {
  const layer = Buffer.from('a layer that nobody fetched')
  const blob = { mediaType: OCI.layer, digest: sha256(layer), size: layer.length }
  const config = Buffer.from('{"os":"linux","architecture":"amd64"}')
  const manifest = encodeImageManifest({
    docker: false,
    config: { mediaType: OCI.config, digest: store.put(config), size: config.length },
    layers: [blob],
  })
  store.put(manifest.raw)
  store.tag('app:1', descriptorOf(manifest), 'built')
  rememberSource(store, [blob], 'registry.example.com/base')
  store.prune({ all: true })
  const asked: string[] = []
  const transport = storeTransport(store, 'docker.io/library/app', 'tagged', repository => {
    asked.push(repository)
    return { blob: async () => new Blob([layer]).stream() } as unknown as Transport
  })
  expect(await new Response(await transport.blob(blob)).text()).toBe(layer.toString())
  expect(asked).toEqual(['registry.example.com/base'])
})
