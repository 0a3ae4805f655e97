import { expect, test } from 'bun:test'
import { isArchimageError } from '../errors/error.ts'
import { parseAnnotation } from './annotations.ts'

const amd64 = { os: 'linux', architecture: 'amd64' }

test('levels as buildx and regctl write them', () => {
  expect(parseAnnotation('a.b=c:d=e', 'index')).toEqual([{ level: 'index', key: 'a.b', value: 'c:d=e' }])
  expect(parseAnnotation('index:a=b', 'manifest-descriptor')).toEqual([{ level: 'index', key: 'a', value: 'b' }])
  expect(parseAnnotation('manifest[linux/amd64]:a=b', 'index')).toEqual([
    { level: 'manifest', platform: amd64, key: 'a', value: 'b' },
  ])
  expect(parseAnnotation('index,manifest-descriptor[amd64]:a=', 'index')).toEqual([
    { level: 'index', key: 'a', value: '' },
    { level: 'manifest-descriptor', platform: amd64, key: 'a', value: '' },
  ])
  expect(parseAnnotation('[*]a=b', 'index').map(one => one.level)).toEqual(['index', 'manifest'])
  expect(parseAnnotation('[linux/amd64]a=b', 'index')).toEqual([
    { level: 'manifest', platform: amd64, key: 'a', value: 'b' },
  ])
})

test.each([
  ['indx:a=b', 'did you mean "index"?'],
  ['index[linux/amd64]:a=b', undefined],
  ['a', 'for instance --annotation org.opencontainers.image.version=1.0'],
])('%s is refused', (text, hint) => {
  let error: unknown
  try {
    parseAnnotation(text, 'index')
  } catch (caught) {
    error = caught
  }
  expect(isArchimageError(error) && error.code).toBe('USAGE')
  if (hint !== undefined) expect((error as { hint: string }).hint).toBe(hint)
})
