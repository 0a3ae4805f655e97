import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { ArchimageError } from '../errors/error.ts'
import { expandHeredoc, expandWord, expandWords } from './expand.ts'

const VALUES: Readonly<Record<string, string>> = {
  HOME: '/root',
  EMPTY: '',
  FILE: 'lib/a.tar.gz',
  ABAB: 'abab',
  SPACED: ' one  two ',
  LINES: 'first\nsecond',
  STAR: 'a*b?c\\d',
  Größe: 'groß',
  FACE: '😀x😀',
}
const env = { get: (name: string) => (Object.hasOwn(VALUES, name) ? VALUES[name] : undefined) }

const value = (word: string, escaper: '\\' | '`' = '\\'): string => {
  try {
    return expandWord(word, env, { escape: escaper }).value
  } catch (error) {
    if (error instanceof ArchimageError && error.code === 'DOCKERFILE_INVALID') return 'ERROR'
    throw error
  }
}

describe('a word', () => {
  test.each([
    // quotes and escapes
    ['plain', 'plain'],
    [`a'b c'd`, 'ab cd'],
    [`a"b c"d`, 'ab cd'],
    [`'$HOME\\n'`, '$HOME\\n'],
    ['"$HOME"', '/root'],
    ['\\$HOME', '$HOME'],
    ['"\\$HOME \\" \\\\ \\n"', '$HOME " \\ \\n'],
    ['a\\bc', 'abc'],
    ['end\\', 'end'],
    [`it\\'s`, `it's`],
    [`it's`, 'ERROR'],
    ['"open', 'ERROR'],
    ['a<<b <c', 'a<<b <c'],
    // names
    ['$HOME/x', '/root/x'],
    ['${HOME}x', '/rootx'],
    ['$UNSET.', '.'],
    ['$Größe', 'groß'],
    ['$.', '$.'],
    ['$', '$'],
    ['100%$', '100%$'],
    ['${}', 'ERROR'],
    ['${.}', 'ERROR'],
    ['${HOME', 'ERROR'],
    ['${', 'ERROR'],
    ['${{HOME}}', 'ERROR'],
    ['$1$12x$@$*$#$?$-$$$!$0.', 'x.'],
    ['${1}${@}.', '.'],
    // defaults
    ['${UNSET:-d}', 'd'],
    ['${EMPTY:-d}', 'd'],
    ['${HOME:-d}', '/root'],
    ['${UNSET-d}', 'd'],
    ['${EMPTY-d}', ''],
    ['${UNSET:+a}.', '.'],
    ['${EMPTY:+a}.', '.'],
    ['${HOME:+a}.', 'a.'],
    ['${EMPTY+a}.', 'a.'],
    ['${UNSET+a}.', '.'],
    ['${UNSET:?}', 'ERROR'],
    ['${EMPTY:?}', 'ERROR'],
    ['${EMPTY?}', ''],
    ['${UNSET?why}', 'ERROR'],
    ['${HOME:?why}', '/root'],
    ['${UNSET:-${EMPTY:-$HOME}}', '/root'],
    ['${UNSET:-"a b"c}', 'a bc'],
    ['${HOME:x}', 'ERROR'],
    ['${HOME,,}', 'ERROR'],
    ['${HOME:#/}', 'ERROR'],
    // prefixes and suffixes
    ['${FILE#*/}', 'a.tar.gz'],
    ['${FILE#*a}', '.tar.gz'],
    ['${FILE##*a}', 'r.gz'],
    ['${FILE%.*}', 'lib/a.tar'],
    ['${FILE%%.*}', 'lib/a'],
    ['${FILE#nope}', 'lib/a.tar.gz'],
    ['${FILE%?gz}', 'lib/a.tar'],
    ['${ABAB##*b}', ''],
    ['${ABAB%%a*}', ''],
    ['${STAR#a\\*}', 'b?c\\d'],
    ['${STAR%\\\\d}', 'a*b?c'],
    ['${STAR#a\\x}', 'ERROR'],
    ['${FACE#?}', 'x😀'],
    ['${FACE%?}', '😀x'],
    ['${LINES%%s*}', 'first\n'],
    ['${LINES##*d}', 'first\nsecond'],
    // replacement
    ['${ABAB/b/X}', 'aXab'],
    ['${ABAB//b/X}', 'aXaX'],
    ['${ABAB/a*b/X}', 'X'],
    ['${ABAB//\\*/X}', 'abab'],
    ['${FILE/\\//-}', 'lib-a.tar.gz'],
    ['${HOME/root/$FILE}', '/lib/a.tar.gz'],
    ['${ABAB/b}', 'ERROR'],
    ['${UNSET/a/b}.', '.'],
  ])('%p gives %p', (word, expected) => {
    expect(value(word)).toBe(expected)
  })

  test('with ` as the escape character, \\ is an ordinary one', () => {
    expect(value('C:\\dir\\$HOME', '`')).toBe('C:\\dir\\/root')
    expect(value('`$HOME', '`')).toBe('$HOME')
    expect(value('"a`"b"', '`')).toBe('a"b')
  })

  test('// interprets $ in its replacement as regular expressions of Go do, / does not', () => {
    expect(value("${ABAB//b/'$0$0'}")).toBe('abbabb')
    expect(value("${ABAB//b/'$1-$$-$name'}")).toBe('a-$-a-$-')
    expect(value("${ABAB/b/'$0$$'}")).toBe('a$0$$ab')
  })

  test('an empty match right after another one is none', () => {
    const baac = { get: () => 'baac' }
    expect(expandWord('${x//*/-}', baac).value).toBe('-')
    expect(expandWord('${x//a*/-}', baac).value).toBe('b-')
  })

  test('names what was set and what was not', () => {
    const { matched, unmatched } = expandWord('$HOME ${NOPE:-x} $NOPE $OTHER', env)
    expect(matched).toEqual(['HOME'])
    expect(unmatched).toEqual(['NOPE', 'OTHER'])
  })

  test('keepUnset and keepQuotes leave what they say', () => {
    const options = { keepQuotes: true, keepUnset: true }
    expect(expandWord(`'a' "$HOME" $NOPE \${NOPE:-d} \${NOPE/a/b}`, env, options).value).toBe(
      `'a' "/root" $NOPE \${NOPE:-d} \${NOPE/a/b}`,
    )
  })

  test('on windows names are upper case', () => {
    expect(expandWord('$Home', env, { windows: true }).value).toBe('/root')
    expect(value('$Home')).toBe('')
  })

  test('an error says what, and where', () => {
    const place = { file: 'Dockerfile', line: 3 }
    try {
      expandWord('${UNSET:?set me}', env, { place })
      expect.unreachable()
    } catch (error) {
      expect(error).toMatchObject({ code: 'DOCKERFILE_INVALID', place, message: expect.stringContaining('set me') })
    }
  })
})

describe('words', () => {
  test.each([
    ['a  b', ['a', 'b']],
    ['$SPACED', ['one', 'two']],
    ['x${SPACED}y', ['x', 'one', 'two', 'y']],
    ['"$SPACED"', [' one  two ']],
    ['a\\ b c', ['a b', 'c']],
    [`'a b'c ""`, ['a bc']],
    ['$UNSET', []],
    ['80${UNSET:-80} 443', ['8080', '443']],
  ])('%p are %p', (word, expected) => {
    expect(expandWords(word, env).words).toEqual(expected)
  })
})

describe('a heredoc', () => {
  test('keeps quotes, expands variables in them, and honours \\', () => {
    const content = `'$HOME' "\${UNSET:-d}"\n\\$HOME \\\\ it's\n`
    expect(expandHeredoc(content, env).value).toBe(`'/root' "d"\n$HOME \\ it's\n`)
  })
})

describe('hostile words', () => {
  test('end with an error and not with a hang or a full stack', () => {
    expect(value('${A:-'.repeat(50_000))).toBe('ERROR')
    const long = { get: () => 'a'.repeat(200_000) }
    expect(() => expandWord(`\${x/${'*a'.repeat(2_000)}b/}`, long)).toThrow('too long')
    expect(() => expandWord('$x'.repeat(100), long)).toThrow('more than')
    expect(() => expandWord('${x//a/$x}', long)).toThrow(ArchimageError)
  })

  test('any text gives a value or DOCKERFILE_INVALID', () => {
    const piece = fc.constantFrom(...'${}:-+?#%/*\\"\'`< \n', 'HOME', '${', 'EMPTY', 'é', '😀', '\ufeff', '\ud800')
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 14 }), fc.boolean(), (pieces, backtick) => {
        const word = pieces.join('')
        value(word, backtick ? '`' : '\\')
        try {
          expandWords(word, env)
          expandHeredoc(word, env)
        } catch (error) {
          if (!(error instanceof ArchimageError)) throw error
        }
      }),
      { numRuns: 3_000 },
    )
  })

  test('a quoted text is its own value', () => {
    fc.assert(
      fc.property(fc.string(), text => {
        const quoted = `'${text.replaceAll("'", `'\\''`)}'`
        expect(value(quoted)).toBe(text)
      }),
    )
  })
})
