import { describe, expect, test } from 'bun:test'
import { posix } from 'node:path'
import fc from 'fast-check'
import { clean, join, nameOf, parentOf } from './posix.ts'

const BYTE = '\udcff'

describe('paths', () => {
  test("clean is Go's path.Clean", () => {
    // The table of Go's path_test.go, in our words.
    for (const [given, wanted] of [
      ['', '.'],
      ['abc/def', 'abc/def'],
      ['/', '/'],
      ['//', '/'],
      ['abc/', 'abc'],
      ['abc//def//ghi', 'abc/def/ghi'],
      ['abc/./../def', 'def'],
      ['abc/../../././../def', '../../def'],
      ['/../abc', '/abc'],
      ['abc/..', '.'],
      ['..', '..'],
      ['/..', '/'],
    ] as const)
      expect(clean(given)).toBe(wanted)
  })

  test('clean and join agree with node for text', () => {
    const path = fc
      .array(fc.constantFrom('a', 'bc', '.', '..', '', 'ä'), { maxLength: 8 })
      .map(parts => parts.join('/'))
    fc.assert(
      fc.property(path, path, (a, b) => {
        expect(clean(a)).toBe(posix.normalize(a).replace(/(.)\/$/, '$1'))
        expect(join(a, b)).toBe(posix.join(a, b).replace(/(.)\/$/, '$1'))
      }),
    )
  })

  test('bytes that are not UTF-8 stay', () => {
    expect(clean(`/a/./${BYTE}/`)).toBe(`/a/${BYTE}`)
    expect(join('/', `x${BYTE}`, 'y')).toBe(`/x${BYTE}/y`)
    expect([parentOf(`a/${BYTE}/c`), nameOf(`a/${BYTE}`)]).toEqual([`a/${BYTE}`, BYTE])
  })

  test('parent and name', () => {
    expect(['', 'a', '/a', 'a/b', '/a/b'].map(parentOf)).toEqual(['', '', '', 'a', '/a'])
    expect(['', '/', 'a', '/a', 'a/b', 'a//b//'].map(nameOf)).toEqual(['', '', 'a', 'a', 'b', 'b'])
  })
})
