import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { padEnd, padStart, sanitize, sanitizeText, truncate, width, wrap } from './render-text.ts'

describe('width', () => {
  // Columns as Unicode's East Asian Width and the usual terminals have them.
  const cases: [string, number][] = [
    ['plain', 5],
    ['日本語', 6],
    ['静态文件', 8],
    ['e\u0301', 1],
    ['한글', 4],
    ['ﾊ', 1],
    ['ａ', 2],
    ['👍', 2],
    ['👍🏽', 2],
    ['👨‍👩‍👧', 2],
    ['🇩🇪', 2],
    ['✔️', 2],
    ['✓✗–·…│━', 7],
    ['\x1b[31mred\x1b[39m', 3],
  ]
  for (const [text, columns] of cases) test(JSON.stringify(text), () => expect(width(text)).toBe(columns))
})

test('padding counts columns', () => {
  expect(padEnd('日本', 6)).toBe('日本  ')
  expect(padStart('日本', 6)).toBe('  日本')
  expect(padEnd('long', 2)).toBe('long')
})

describe('truncate', () => {
  test('leaves what fits', () => expect(truncate('abc', 3)).toBe('abc'))
  test('puts an ellipsis', () => expect(truncate('abcdef', 4)).toBe('abc…'))
  test('never cuts a wide character in two', () => expect(truncate('日本語', 4)).toBe('日…'))
  test('closes colours', () => expect(truncate('\x1b[31mabcdef\x1b[39m', 4)).toBe('\x1b[31mabc…\x1b[0m'))
  test('never gives more than was asked for', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.nat(20), (text, columns) => {
        expect(width(truncate(sanitize(text), columns))).toBeLessThanOrEqual(columns)
      }),
    )
  })
})

describe('wrap', () => {
  test('breaks at spaces', () => expect(wrap('one two three', 8)).toEqual(['one two', 'three']))
  test('keeps long words whole', () =>
    expect(wrap('see /a/very/long/path now', 8)).toEqual(['see', '/a/very/long/path', 'now']))
  test('keeps line breaks and indentation', () => expect(wrap('a\n  b c', 4)).toEqual(['a', '  b', '  c']))
  test('breaks wide text anywhere', () => expect(wrap('镜像构建失败', 6)).toEqual(['镜像构', '建失败']))
  test('does nothing without a width', () => expect(wrap('a b', Number.POSITIVE_INFINITY)).toEqual(['a b']))
})

describe('sanitize', () => {
  const cases: [string, string][] = [
    ['\x1b[31mred\x1b[0m', 'red'],
    ['\x9b2Jgone', 'gone'],
    ['\x1b]0;title\x07text', 'text'],
    ['\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\', 'link'],
    ['\x1bP1$qm\x1b\\text', 'text'],
    ['\x1bctext', 'text'],
    ['\x1b(Btext', 'text'],
    // What is not finished swallows nothing.
    ['\x1b]0;all the rest', '\\x1b]0;all the rest'],
    ['bell\x07', 'bell\\x07'],
    ['back\x08\x7f', 'back\\x08\\x7f'],
    ['a\nb', 'a\\x0ab'],
    ['a\tb', 'a       b'],
    ['\u202egnp.exe', '\\u202egnp.exe'],
    ['caf\udce9', 'caf\\xe9'],
    ['日本語 ✓', '日本語 ✓'],
  ]
  for (const [text, shown] of cases) test(JSON.stringify(text), () => expect(sanitize(text)).toBe(shown))

  test('nothing that it gives can control a terminal', () => {
    const nasty = fc.string({
      unit: fc.constantFrom('\x1b', '[', ']', '\x9b', '\x9d', '\x07', '3', 'm', '\\', 'P', '\r', '\u202e', 'a'),
    })
    fc.assert(
      fc.property(nasty, text => {
        expect(sanitize(text)).not.toMatch(/[\x00-\x1f\x7f-\x9f\u202e]/)
      }),
      { numRuns: 2000 },
    )
  })

  test('takes no longer than its input is long', () => {
    for (const part of ['\x1b]', '\x9d', '\x1b[', '\x1bP1', '\x9b;', '\x1b ']) {
      // Quadratic would be minutes, and the test would be ended.
      expect(sanitize(part.repeat(100_000))).toBeString()
    }
  })

  test('text of several lines keeps them', () => expect(sanitizeText('a\r\n\x1b[1mb')).toBe('a\nb'))
})
