import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe as descriptorOf } from '../oci/manifest.ts'
import { parseReference } from '../oci/reference.ts'
import { openStore, type Store } from '../store/store.ts'
import { putImage } from '../store/testing/images.ts'
import { formatLocation } from '../transports/location.ts'
import { findLocation, named, type PlaceTools, whereRepository } from './places.ts'

let home: string
let store: Store
let digest: string
let tools: PlaceTools
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'archimage-places-'))
  store = openStore({ home })
  const image = putImage(store, 'x')
  digest = image.digest
  store.tag('built:1', descriptorOf(image), 'built')
  store.tag('registry.example.com/team/built:2', descriptorOf(image), 'tagged')
  store.tag('pulled:1', descriptorOf(image), 'pulled')
  tools = {
    store: () => store,
    registry: () => {
      throw new Error('no registry is needed to know a place')
    },
    close: () => {},
  }
})
afterAll(() => {
  store.close()
  rmSync(home, { recursive: true, force: true })
})

const find = (text: string, where: Parameters<typeof findLocation>[1] = 'anywhere') =>
  formatLocation(findLocation(text, where, tools))

test('what was made here is the store’s, what was merely pulled is the registry’s', () => {
  expect(find('built:1')).toBe('store:built:1')
  expect(find('built')).toBe('docker.io/library/built')
  expect(find('registry.example.com/team/built:2')).toBe('store:registry.example.com/team/built:2')
  expect(find('pulled:1')).toBe('docker.io/library/pulled:1')
  expect(find(`built@${digest}`)).toBe(`store:built@${digest}`)
  expect(find(`pulled@${digest}`)).toBe(`docker.io/library/pulled@${digest}`)
})

test('prefixes and options decide', () => {
  expect(find('docker://built:1')).toBe('docker.io/library/built:1')
  expect(find('built:1', 'registry')).toBe('docker.io/library/built:1')
  expect(find('store:pulled:1')).toBe('store:pulled:1')
  expect(find('pulled:1', 'store')).toBe('store:pulled:1')
  expect(find('oci:folder:v1')).toBe('oci:folder:v1')
  expect(find('registry:2')).toBe('docker.io/library/registry:2')
})

test('a beginning of a digest is an image of the store', () => {
  expect(find(digest.slice(7, 15))).toBe(`store:built:1@${digest}`)
  expect(find(digest)).toBe(`store:built:1@${digest}`)
  expect(find('abcdef0')).toBe('docker.io/library/abcdef0')
  expect(find(digest.slice(7, 15), 'registry')).toBe(`docker.io/library/${digest.slice(7, 15)}`)
})

test('what is changed without a prefix is in the store', () => {
  expect(formatLocation(named('pulled:1', false))).toBe('store:pulled:1')
  expect(named('pulled:1', true)).toEqual({ kind: 'registry', reference: parseReference('pulled:1') })
  expect(named('docker://a/b', false).kind).toBe('registry')
  expect(named('oci:x:1', false).kind).toBe('oci')
})

test('a repository is the store’s when it has something of it', () => {
  const where = (text: string, how: Parameters<typeof whereRepository>[1] = 'anywhere') =>
    whereRepository(text, how, tools).kind
  expect(where('built')).toBe('store')
  expect(where('buil')).toBe('registry')
  expect(where('pulled')).toBe('registry')
  expect(where('pulled', 'store')).toBe('store')
  expect(where('docker://built')).toBe('registry')
  expect(() => where('built:1')).toThrow('names one image, not a repository')
})
