import { describe, expect, test } from 'bun:test'
import { ArchimageError } from './error.ts'
import { renderError } from './render.ts'
import { renderExcerpt } from './render-excerpt.ts'
import { PLAIN_STYLE, styleFor, wantsColor, wantsUnicode } from './render-style.ts'

const place = {
  file: 'api/Dockerfile',
  line: 2,
  column: 3,
  excerpt: ['FROM scratch', '  COPYY a /b', 'CMD ["/b"]'],
  excerptLine: 1,
}

describe('an expected error', () => {
  test('has place, marked excerpt, cause and remedy, and no stack', () => {
    const error = new ArchimageError('DOCKERFILE_INVALID', '"COPYY" is not an instruction', {
      hint: 'did you mean "COPY"?',
      place,
      cause: new Error('something below'),
    })
    expect(renderError(error)).toBe(
      [
        'error: "COPYY" is not an instruction',
        '  api/Dockerfile:2:3',
        '      1 │ FROM scratch',
        '  >>> 2 │   COPYY a /b',
        '        │   ^',
        '      3 │ CMD ["/b"]',
        '  because: something below',
        '  → did you mean "COPY"?',
      ].join('\n'),
    )
  })

  test('a cause that says nothing new is left out', () => {
    const error = new ArchimageError('NO_SPACE', 'writing x: disk full', { cause: new Error('disk full') })
    expect(renderError(error)).toBe('error: writing x: disk full')
  })

  test('a chain of causes that goes in a circle ends', () => {
    const a = new Error('a')
    const b = new Error('b', { cause: a })
    a.cause = b
    expect(renderError(new ArchimageError('USAGE', 'x', { cause: a }))).toBe('error: x\n  because: a\n  because: b')
  })

  test('parts are listed below it', () => {
    const parts = [new ArchimageError('USAGE', 'one', { hint: 'do it' }), new ArchimageError('USAGE', 'two')]
    expect(renderError(new ArchimageError('CELL_FAILED', 'both failed', { parts })).split('\n')).toEqual([
      'error: both failed',
      '',
      '  error: one',
      '    → do it',
      '',
      '  error: two',
    ])
  })

  test('wraps to the width, in ASCII where asked', () => {
    const error = new ArchimageError('USAGE', 'the command line is wrong', { hint: 'see the help of build' })
    expect(renderError(error, { columns: 18, unicode: false }).split('\n')).toEqual([
      'error: the command',
      '  line is wrong',
      '  > see the help',
      '    of build',
    ])
  })

  test('control sequences of a stranger do not come through', () => {
    const error = new ArchimageError('REGISTRY_ANSWER', 'it says \x1b[2Jx\x07', { place: { file: 'a\x1b[31mb' } })
    expect(renderError(error)).toBe('error: it says x\\x07\n  ab')
  })

  test('colours close what they open', () => {
    const text = renderError(new ArchimageError('USAGE', 'no', { place, hint: 'yes' }), { color: true })
    expect(text).toContain('\x1b[31merror:\x1b[39m')
    expect(text.replace(/\x1b\[(1|2|3[1-6])m[^\x1b\n]*\x1b\[(22|39)m/g, '')).not.toContain('\x1b')
  })

  test('interrupting is not an error to explain', () => {
    expect(renderError(new ArchimageError('CANCELLED', 'interrupted'))).toBe('interrupted')
  })
})

describe('a bug', () => {
  test('has its stack, the version and how to report it', () => {
    const text = renderError(new TypeError('x is undefined'), { version: '9.8.7' })
    expect(text).toContain('bug in archimage')
    expect(text).toContain('TypeError: x is undefined')
    expect(text).toContain('render.test.ts')
    expect(text).toContain('archimage 9.8.7')
  })

  test('what is thrown need not be an Error', () => expect(renderError('oops')).toContain('thrown: oops'))

  test('credentials in it are redacted', () => {
    expect(renderError(new Error('GET https://me:pass@host/v2'))).not.toContain('pass')
  })
})

describe('excerpt', () => {
  const lines = Array.from({ length: 30 }, (_, index) => `line ${index + 1}`)

  test('shows three lines around, all of the place marked, numbers aligned', () => {
    expect(renderExcerpt({ lines, first: 1, line: 9, endLine: 10 }, PLAIN_STYLE)).toEqual([
      '       6 │ line 6',
      '       7 │ line 7',
      '       8 │ line 8',
      '  >>>  9 │ line 9',
      '         │ ^^^^^^',
      '  >>> 10 │ line 10',
      '      11 │ line 11',
      '      12 │ line 12',
      '      13 │ line 13',
    ])
  })

  test('the caret stands below its column behind tabs and wide characters', () => {
    const [line, caret] = renderExcerpt({ lines: ['\t日 x'], first: 1, line: 1, column: 4 }, PLAIN_STYLE)
    expect(line).toBe('  >>> 1 │         日 x')
    expect(caret).toBe('        │            ^')
  })

  test('a place that the excerpt does not hold shows nothing', () => {
    expect(renderExcerpt({ lines, first: 1, line: 99 }, PLAIN_STYLE)).toEqual([])
  })
})

describe('style', () => {
  test('NO_COLOR and FORCE_COLOR', () => {
    expect(wantsColor(true, {})).toBe(true)
    expect(wantsColor(false, {})).toBe(false)
    expect(wantsColor(true, { NO_COLOR: '1' })).toBe(false)
    expect(wantsColor(true, { NO_COLOR: '' })).toBe(true)
    expect(wantsColor(false, { FORCE_COLOR: '1' })).toBe(true)
    expect(wantsColor(true, { FORCE_COLOR: '0' })).toBe(false)
    expect(wantsColor(false, { FORCE_COLOR: '1', NO_COLOR: '1' })).toBe(true)
    expect(wantsColor(true, { TERM: 'dumb' })).toBe(false)
  })

  test('Unicode where the locale is UTF-8, LC_ALL first', () => {
    expect(wantsUnicode({ LANG: 'zh_CN.UTF-8' }, 'linux')).toBe(true)
    expect(wantsUnicode({ LANG: 'C.utf8' }, 'linux')).toBe(true)
    expect(wantsUnicode({ LANG: 'C.UTF-8', LC_ALL: 'C' }, 'linux')).toBe(false)
    expect(wantsUnicode({}, 'linux')).toBe(false)
    expect(wantsUnicode({}, 'darwin')).toBe(true)
  })

  test('nothing wraps where there is no terminal', () => {
    expect(styleFor({ columns: 40 }, {}).columns).toBe(Number.POSITIVE_INFINITY)
    expect(styleFor({ isTTY: true, columns: 40 }, {}).columns).toBe(40)
  })
})
