import { expect, test } from 'bun:test'
import { parsePlatform } from '../oci/platform.ts'
import { contextNames, namedContext } from './context-names.ts'

test('names of contexts, as they are written and short', () => {
  expect(contextNames('docker.io/library/alpine:latest')).toEqual(['docker.io/library/alpine:latest', 'alpine'])
  expect(contextNames('alpine:3')).toEqual(['alpine:3'])
  expect(contextNames('Not A Reference')).toEqual(['Not A Reference'])
  for (const name of ['scratch', 'Context']) expect(contextNames(name)).toEqual([])
})

test('a context for one platform wins', () => {
  const contexts = { n: 'all', 'n::linux/arm64': 'arm' }
  expect(namedContext(contexts, 'n', parsePlatform('linux/arm64/v8'))).toBe('arm')
  expect(namedContext(contexts, 'n', parsePlatform('linux/amd64'))).toBe('all')
  expect(namedContext(contexts, 'constructor', parsePlatform('linux/amd64'))).toBeUndefined()
})
