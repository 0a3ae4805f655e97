import { describe, expect, test } from 'bun:test'
import { isArchimageError } from '../errors/error.ts'
import { type IgnoreState, parseIgnoreFile } from './ignore.ts'
import moby from './ignore.vectors.json' with { type: 'json' }

const bytes = (text: string): Buffer => Buffer.from(text)

/** Whether each path is ignored when parents come before children, as a walk has them; undefined for a refused file. */
function walk(text: string, paths: readonly string[]): boolean[] | undefined {
  try {
    const rules = parseIgnoreFile(bytes(text), '.dockerignore')
    const states = new Map<string, IgnoreState>()
    return paths.map(path => {
      if (rules === undefined) return false
      const slash = path.lastIndexOf('/')
      const parent = slash < 0 ? rules.root : states.get(path.slice(0, slash))!
      const state = rules.descend(path, parent)
      expect(rules.ignores(path, parent)).toBe(state.ignored)
      states.set(path, state)
      return state.ignored
    })
  } catch (error) {
    if (isArchimageError(error) && error.code === 'CONTEXT_INVALID') return undefined
    throw error
  }
}

const ignored = (text: string, path: string): boolean => {
  const parts = path.split('/')
  return walk(
    text,
    parts.map((_, i) => parts.slice(0, i + 1).join('/')),
  )!.at(-1)!
}

test('agrees with moby/patternmatcher on random files', () => {
  expect(moby.vectors.length).toBeGreaterThan(300)
  for (const [text, bits] of moby.vectors as [string, string][]) {
    const mine = walk(text, moby.paths)
    expect([text, mine === undefined ? 'error' : mine.map(Number).join('')]).toEqual([text, bits])
  }
})

describe('by hand, from the Dockerfile reference', () => {
  test('*/temp*, */*/temp*, temp?', () => {
    expect(ignored('*/temp*', 'somedir/temporary.txt')).toBe(true)
    expect(ignored('*/temp*', 'temp')).toBe(false)
    expect(ignored('*/*/temp*', 'somedir/subdir/temporary.txt')).toBe(true)
    expect(ignored('temp?', 'tempa')).toBe(true)
    expect(ignored('temp?', 'temp')).toBe(false)
  })
  test('the last line that matches decides', () => {
    expect(ignored('*.md\n!README*.md\nREADME-secret.md', 'README-secret.md')).toBe(true)
    expect(ignored('*.md\n!README*.md\nREADME-secret.md', 'README-x.md')).toBe(false)
    expect(ignored('*.md\nREADME-secret.md\n!README*.md', 'README-secret.md')).toBe(false)
  })
  test('a # that is not in the first column is no comment', () => {
    expect(ignored('#a\n #b', '#a')).toBe(false)
    expect(ignored('#a\n #b', '#b')).toBe(true)
  })
  test('a BOM, white space, leading slashes and dots go', () => {
    expect(ignored('\ufeff  /a/./b/ \r\n', 'a/b')).toBe(true)
    expect(ignored('a/../c', 'c')).toBe(true)
  })
  test('braces and bars are what they look like', () => {
    expect(ignored('*.{js,ts}', 'a.{js,ts}')).toBe(true)
    expect(ignored('*.{js,ts}', 'a.js')).toBe(false)
    expect(ignored('*a|b', 'b')).toBe(false)
  })
})

test('a lone ! and a malformed pattern are errors with their line', () => {
  for (const [text, line] of [
    ['a\n!\n', 2],
    ['a\n\n[b', 3],
    ['\\', 1],
  ] as const) {
    let caught: unknown
    try {
      parseIgnoreFile(bytes(text), 'f')
    } catch (error) {
      caught = error
    }
    expect(isArchimageError(caught) && [caught.code, caught.place?.line]).toEqual(['CONTEXT_INVALID', line])
  }
})

test('names that are not UTF-8 match themselves', () => {
  const rules = parseIgnoreFile(Buffer.from([0x61, 0xff]), 'f')!
  expect(rules.ignores('a\udcff', rules.root)).toBe(true)
  expect(rules.ignores('a\ufffd', rules.root)).toBe(false)
})

test('a pattern made to be slow is not', () => {
  const rules = parseIgnoreFile(bytes(`${'*a'.repeat(40)}b\n**/${'a*/**/'.repeat(10)}c\n!x`), 'f')!
  expect(rules.ignores('a'.repeat(250), rules.root)).toBe(false)
  expect(rules.ignores(`${'a'.repeat(200)}b`, rules.root)).toBe(true)
  expect(rules.ignores('a/'.repeat(100), rules.root)).toBe(false)
})

test('nor one with few repetitions over a long path', () => {
  const deep = `${'a/'.repeat(2000)}b`
  for (const pattern of ['**/**/**/x', '**/a**/a**/x', '**a**/a**/a?x']) {
    const rules = parseIgnoreFile(bytes(pattern), 'f')!
    expect(rules.ignores(deep, rules.root)).toBe(false)
    expect(rules.ignores(`${deep}/x`, rules.root)).toBe(pattern !== '**a**/a**/a?x')
    expect(rules.ignores(`${deep}/a/a/aax`, rules.root)).toBe(pattern !== '**/**/**/x')
  }
})

test('whether something below an ignored directory may be kept', () => {
  const rules = parseIgnoreFile(bytes('*\n!src/app\n!docs/**'), 'f')!
  expect(['src', 'src/app', 'docs', 'docs/a', 'srcs', 'other'].map(path => rules.mayKeepBelow(path))).toEqual([
    true,
    true,
    true,
    false,
    false,
    false,
  ])
  expect(parseIgnoreFile(bytes('*\n!**/*.md'), 'f')!.mayKeepBelow('anything')).toBe(true)
  expect(parseIgnoreFile(bytes('# nothing\n\n'), 'f')).toBeUndefined()
})
