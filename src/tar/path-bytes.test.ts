import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { cleanPath, comparePaths, decodePath, encodePath, fsPath } from './path-bytes.ts'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('names as bytes', () => {
  test('UTF-8 is itself, everything else is escaped byte by byte', () => {
    expect(decodePath(Buffer.from('etc/größe/文件'))).toBe('etc/größe/文件')
    expect(decodePath(hex('61 ff 62'))).toBe('a\udcffb')
    expect(decodePath(hex('e4'))).toBe('\udce4')
    // an encoded surrogate, an overlong "/", a cut sequence, a code point beyond U+10FFFF
    expect(decodePath(hex('ed a0 80'))).toBe('\udced\udca0\udc80')
    expect(decodePath(hex('c0 af'))).toBe('\udcc0\udcaf')
    expect(decodePath(hex('e2 82'))).toBe('\udce2\udc82')
    expect(decodePath(hex('f4 90 80 80'))).toBe('\udcf4\udc90\udc80\udc80')
    // U+FFFD itself and a byte order mark are names like others
    expect(decodePath(hex('ef bf bd ff'))).toBe('\ufffd\udcff')
    expect(encodePath(decodePath(hex('ef bb bf 61')))).toEqual(hex('ef bb bf 61'))
  })

  test('bytes survive the way there and back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 24 }), bytes => {
        expect(encodePath(decodePath(bytes))).toEqual(Buffer.from(bytes))
      }),
      { numRuns: 2000 },
    )
  })

  test('the order is the order of the bytes', () => {
    const anyBytes = fc.oneof(
      fc.uint8Array({ maxLength: 8 }),
      fc.string({ unit: 'grapheme' }).map(s => Buffer.from(s)),
    )
    fc.assert(
      fc.property(anyBytes, anyBytes, (a, b) => {
        expect(Math.sign(comparePaths(decodePath(a), decodePath(b)))).toBe(Buffer.compare(a, b))
      }),
      { numRuns: 2000 },
    )
    // UTF-16 has these two the other way round
    expect(comparePaths('\u{1f600}', '\uffee')).toBeGreaterThan(0)
  })

  test('node:fs gets bytes only where a string would not do', () => {
    expect(fsPath('a/ö')).toBe('a/ö')
    expect(fsPath('a\udcff')).toEqual(hex('61 ff'))
  })
})

test('names of archives are cleaned', () => {
  const cases: [string, string | undefined][] = [
    ['etc/passwd', 'etc/passwd'],
    ['./etc//passwd', 'etc/passwd'],
    ['/etc/passwd', 'etc/passwd'],
    ['usr/', 'usr'],
    ['./', ''],
    ['', ''],
    ['a/./b/../c', 'a/c'],
    ['..a/b..', '..a/b..'],
    ['.hidden', '.hidden'],
    ['a/..', ''],
    ['..', undefined],
    ['a/../../b', undefined],
    ['/../b', undefined],
  ]
  for (const [name, path] of cases) expect(cleanPath(name)).toBe(path)
})
