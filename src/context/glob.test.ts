import { expect, test } from 'bun:test'
import { compileGlob, hasWildcards } from './glob.ts'

// The table of Go's path/filepath/match_test.go in our words: pattern, name, result; null for a malformed pattern.
const TABLE: readonly (readonly [string, string, boolean | null])[] = [
  ['abc', 'abc', true],
  ['*', 'abc', true],
  ['*c', 'abc', true],
  ['a*', 'a', true],
  ['a*', 'ab/c', false],
  ['a*/b', 'abc/b', true],
  ['a*/b', 'a/c/b', false],
  ['a*b*c*d*e*/f', 'axbxcxdxe/f', true],
  ['a*b*c*d*e*/f', 'axbxcxdxexxx/f', true],
  ['a*b*c*d*e*/f', 'axbxcxdxe/xxx/f', false],
  ['a*b?c*x', 'abxbbxdbxebxczzx', true],
  ['a*b?c*x', 'abxbbxdbxebxczzy', false],
  ['ab[c]', 'abc', true],
  ['ab[b-d]', 'abc', true],
  ['ab[e-g]', 'abc', false],
  ['ab[^c]', 'abc', false],
  ['ab[^e-g]', 'abc', true],
  ['a\\*b', 'a*b', true],
  ['a\\*b', 'ab', false],
  ['a?b', 'a☺b', true],
  ['a[^a]b', 'a☺b', true],
  ['a???b', 'a☺b', false],
  ['[a-ζ]*', 'α', true],
  ['*[a-ζ]', 'A', false],
  ['a?b', 'a/b', false],
  ['a*b', 'a/b', false],
  ['[\\]a]', ']', true],
  ['[\\-]', '-', true],
  ['[x\\-]', 'z', false],
  ['[\\-x]', 'x', true],
  ['[]a]', ']', null],
  ['[-]', '-', null],
  ['[x-]', 'x', null],
  ['[a-b-c]', 'a', null],
  ['[', 'a', null],
  ['[^bc', 'a', null],
  ['a[', 'ab', null],
  ['*x', 'xxx', true],
  ['\\', 'a', null],
]

test("Go's table", () => {
  for (const [pattern, name, result] of TABLE)
    expect([pattern, name, compileGlob(pattern)?.(name) ?? null]).toEqual([pattern, name, result])
})

test('what COPY takes as a pattern', () => {
  expect(['a*', 'a?', '[a]', 'a\\*', 'a', 'a\\', '\\[*', ''].map(hasWildcards)).toEqual([
    true,
    true,
    true,
    false,
    false,
    false,
    true,
    false,
  ])
})

test('many stars take no time', () => {
  expect(compileGlob(`${'a*'.repeat(60)}b`)!('a'.repeat(5000))).toBe(false)
})
