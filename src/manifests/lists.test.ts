import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isArchimageError } from '../errors/error.ts'
import { describe as descriptorOf, encodeImageManifest, type ImageManifest } from '../oci/manifest.ts'
import { DOCKER, OCI } from '../oci/media-types.ts'
import { parsePlatform } from '../oci/platform.ts'
import { openStore } from '../store/store.ts'
import { parseAnnotation } from './annotations.ts'
import { makeIndex, platformName } from './edit.ts'
import {
  addMembers,
  annotateList,
  applyAnnotations,
  chooseEntries,
  findList,
  type List,
  listName,
  mustFindList,
  saveList,
} from './lists.ts'
import type { Member } from './members.ts'

const home = mkdtempSync(join(tmpdir(), 'archimage-lists-'))
const store = openStore({ home })
afterAll(() => {
  store.close()
  rmSync(home, { recursive: true, force: true })
})

const place = { transport: {} as never, label: 'a registry', site: { registry: 'r.example.com', repository: 'app' } }
const empty: List = {
  name: 'docker.io/library/list:latest',
  index: makeIndex({ manifests: [] }),
  names: {},
  annotations: {},
}

/** An image with these bytes in its config, as what it is said to be. */
function member(content: string, platform: string, docker = false): Member {
  const config = Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64', author: content }))
  const manifest: ImageManifest = encodeImageManifest({
    docker,
    config: { mediaType: docker ? DOCKER.config : OCI.config, digest: store.put(config), size: config.length },
    layers: [],
  })
  store.put(manifest.raw)
  return { entry: { ...descriptorOf(manifest), platform: parsePlatform(platform) }, manifest, config, place }
}

const platforms = (list: List): string[] => list.index.manifests.map(platformName)
const digests = (list: List): string[] => list.index.manifests.map(({ digest }) => digest)

function refusal(work: () => unknown): { code: string; message: string; hint: string | undefined } {
  try {
    work()
  } catch (error) {
    if (isArchimageError(error)) return { code: error.code, message: error.message, hint: error.hint }
    throw error
  }
  throw new Error('accepted')
}

const [AMD, ARM] = ['docker.io/library/app:amd', 'docker.io/library/app:arm']
const [a1, a2, b1] = [member('a1', 'linux/amd64'), member('a2', 'linux/amd64'), member('b1', 'linux/arm64')]

describe('names of members', () => {
  test('a name that leads elsewhere now is looked at anew, in its place', () => {
    const list = addMembers(addMembers(empty, AMD, [a1]), ARM, [b1])
    const again = addMembers(list, AMD, [a2])
    expect(digests(again)).toEqual([a2.entry.digest, b1.entry.digest])
    expect(chooseEntries(again, 'app:amd').entries.map(({ digest }) => digest)).toEqual([a2.entry.digest])
  })

  test('the same name twice for two platforms of an index stays both; looked at anew, what it has lost goes', () => {
    const both = addMembers(addMembers(empty, AMD, [a1]), AMD, [b1])
    expect(platforms(both)).toEqual(['linux/amd64', 'linux/arm64'])
    expect(platforms(addMembers(both, AMD, [b1], { fresh: true }))).toEqual(['linux/arm64'])
  })

  test('two names for one platform are an error that names both', () => {
    const list = addMembers(empty, AMD, [a1])
    expect(refusal(() => addMembers(list, ARM, [a2])).message).toBe(
      'app:arm is an image for linux/amd64, and the list has one already: app:amd',
    )
    expect(digests(addMembers(list, ARM, [a2], { existing: 'replace' }))).toEqual([a2.entry.digest])
    expect(digests(addMembers(list, ARM, [a2], { existing: 'keep-both' }))).toHaveLength(2)
  })

  test('two names of one digest become two platforms when one of them is said to be another', () => {
    const list = addMembers(addMembers(empty, AMD, [a1]), ARM, [a1])
    expect(digests(list)).toHaveLength(1)
    const { list: split, entries } = annotateList(list, chooseEntries(list, ARM), { architecture: 'arm64' })
    expect(platforms(split)).toEqual(['linux/amd64', 'linux/arm64'])
    expect(new Set(digests(split)).size).toBe(1)
    expect(entries.map(platformName)).toEqual(['linux/arm64'])
    expect(chooseEntries(split, ARM).entries.map(platformName)).toEqual(['linux/arm64'])
    expect(chooseEntries(split, AMD).entries.map(platformName)).toEqual(['linux/amd64'])
  })

  test('what was said of a digest stays when it is looked at again', () => {
    const list = annotateList(addMembers(empty, AMD, [a1]), { entries: [a1.entry], name: AMD }, { variant: 'v3' }).list
    expect(platforms(addMembers(list, AMD, [a1], { fresh: true }))).toEqual(['linux/amd64/v3'])
  })
})

test('entries by name, digest, the beginning of one, platform; else a suggestion', () => {
  const list = addMembers(addMembers(empty, AMD, [a1]), ARM, [b1])
  const chosen = (text: string): string[] => chooseEntries(list, text).entries.map(platformName)
  expect(chosen('app:amd')).toEqual(['linux/amd64'])
  expect(chosen(b1.entry.digest)).toEqual(['linux/arm64'])
  expect(chosen(b1.entry.digest.slice(7, 19))).toEqual(['linux/arm64'])
  expect(chosen(`somewhere/else@${b1.entry.digest}`)).toEqual(['linux/arm64'])
  expect(chosen('arm64')).toEqual(['linux/arm64'])
  expect(refusal(() => chosen('app:amr'))).toMatchObject({ code: 'NOT_FOUND', hint: 'did you mean "app:arm"?' })
})

describe('annotations', () => {
  const list = addMembers(addMembers(empty, AMD, [a1]), ARM, [b1])
  const read = ({ digest }: { digest: string }): ImageManifest =>
    [a1, b1].find(({ manifest }) => manifest.digest === digest)!.manifest

  test('each at its level', () => {
    const annotations = ['index:i=1', 'manifest-descriptor[arm64]:d=2', 'index-descriptor:l=3', '[*]s=4', '[arm64]m=5']
    const { list: done, now } = applyAnnotations(
      list,
      annotations.flatMap(text => parseAnnotation(text, 'index')),
      read,
    )
    expect(done.index.annotations).toEqual({ i: '1', s: '4' })
    expect(done.annotations).toEqual({ l: '3' })
    const [amd, arm] = done.index.manifests
    expect(amd!.annotations).toBeUndefined()
    expect(arm!.annotations).toEqual({ d: '2' })
    expect(now.get(a1.entry.digest)?.annotations).toEqual({ s: '4' })
    expect(now.get(b1.entry.digest)?.annotations).toEqual({ m: '5', s: '4' })
    expect([amd!.digest, arm!.digest]).toEqual([now.get(a1.entry.digest)!.digest, now.get(b1.entry.digest)!.digest])
    expect(chooseEntries(done, ARM).entries).toEqual([arm!])
  })

  test("Docker's manifests have none; a platform that is not there is said", () => {
    const docker = member('d', 'linux/amd64', true)
    const of = addMembers(empty, AMD, [docker])
    const apply = (text: string): unknown => applyAnnotations(of, parseAnnotation(text, 'index'), () => docker.manifest)
    expect(refusal(() => apply('manifest:a=b')).code).toBe('UNSUPPORTED')
    expect(refusal(() => apply('manifest[linux/arm64]:a=b')).code).toBe('NOT_FOUND')
  })
})

test('a list is kept under its name with all that was said, and is not an image that was built', () => {
  const list = { ...addMembers(empty, AMD, [a1]), name: listName('kept'), annotations: { l: '3' } }
  saveList(store, list)
  const found = findList(store, 'kept')!
  expect(found).toEqual({ ...list, origin: 'list' })
  saveList(store, { ...found, annotations: { l: '4' } })
  expect(findList(store, 'kept')!.annotations).toEqual({ l: '4' })
  expect(findList(store, 'other')).toBeUndefined()
  expect(refusal(() => mustFindList(store, 'kepd'))).toMatchObject({
    message: 'No such manifest: kepd:latest',
    hint: 'did you mean "kept"?',
  })
})
