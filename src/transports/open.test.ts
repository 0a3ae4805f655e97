import { afterEach, beforeEach, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openRegistry } from '../registry/registry.ts'
import { openStore, type Store } from '../store/store.ts'
import { parseLocation } from './location.ts'
import { type OpenTools, openLocation } from './open.ts'
import { imageOf, putAll, readAll } from './testing/images.ts'

let folder: string
let store: Store
let tools: OpenTools
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'archimage-open-'))
  store = openStore({ home: join(folder, 'home') })
  tools = { registry: () => openRegistry({ env: {} }), store: () => store }
})
afterEach(() => {
  store.close()
  rmSync(folder, { recursive: true, force: true })
})
const at = (text: string) => parseLocation(text, () => undefined)
const failure = async (work: Promise<unknown>): Promise<unknown> => work.catch(error => error)

test('references mean a tag or digest, by default latest', async () => {
  const nameOf = async (text: string, use?: 'read' | 'write') => (await openLocation(at(text), tools, use)).name
  const digest = `sha256:${'a'.repeat(64)}`
  expect(await nameOf('127.0.0.1:1/app')).toBe('latest')
  expect(await nameOf(`127.0.0.1:1/app:1@${digest}`)).toBe(digest)
  expect(await nameOf(`127.0.0.1:1/app:1@${digest}`, 'write')).toBe('1')
  expect(await nameOf('store:app:2')).toBe('2')
})

test('from the store into a layout and back', async () => {
  const from = await openLocation(at('store:app:1'), tools, 'write')
  await putAll(from.transport, imageOf('a'), from.name)
  const to = await openLocation(at(`oci:${folder}/out:v1`), tools, 'write')
  expect(to.name).toBe('v1')
  await putAll(to.transport, imageOf('a'), to.name)
  await to.transport.commit?.()
  await to.close()
  for (const place of [`oci:${folder}/out`, `oci:${folder}/out:v1`, 'store:app:1']) {
    const { transport, name } = await openLocation(at(place), tools)
    expect((await readAll(transport, name!)).size).toBe(3)
  }
})

test('what is not there is said at once', async () => {
  expect(await failure(openLocation(at(`oci:${folder}/none`), tools))).toMatchObject({ code: 'NOT_FOUND' })
  const { transport } = await openLocation(at(`oci:${folder}/out`), tools, 'write')
  await putAll(transport, imageOf('a'), 'stable')
  expect(await failure(openLocation(at(`oci:${folder}/out:stabel`), tools))).toMatchObject({
    code: 'NOT_FOUND',
    hint: 'did you mean "stable"?',
  })
})

test('archives of both kinds, and what they are by content', async () => {
  for (const kind of ['oci-archive', 'docker-archive']) {
    const path = join(folder, `${kind}.tar`)
    const to = await openLocation(at(`${kind}:${path}:app:1`), tools, 'write')
    await putAll(to.transport, imageOf('a'), to.name)
    await to.transport.commit?.()
    await to.close()
    for (const place of [`docker-archive:${path}`, `oci-archive:${path}:app:1`, `${path}:1`]) {
      const { transport, name, close } = await openLocation(at(place), tools)
      expect((await readAll(transport, name!)).size).toBe(3)
      await close()
    }
    expect(await failure(openLocation(at(`oci-archive:${path}:app:2`), tools))).toMatchObject({
      code: 'NOT_FOUND',
      hint: 'did you mean "app:1"?',
    })
  }
})
