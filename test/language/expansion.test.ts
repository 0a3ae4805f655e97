import { describe, expect, test } from 'bun:test'
import { expandHeredoc, expandWord, expandWords } from '../../src/dockerfile/expand.ts'
import { isArchimageError } from '../../src/errors/error.ts'
import { requirePeers } from '../peers/require.ts'
import { askBuildKit } from './oracle.ts'

const ENV: Readonly<Record<string, string>> = {
  x: 'value',
  empty: '',
  two: 'a b',
  path: '/usr/lib/foo.tar.gz',
  dots: 'a.b.c',
  star: 'a*b?c',
  slash: 'a\\b',
  lines: 'one\ntwo',
  quotes: `it's "so"`,
  ü: 'wide',
}

/** A word and its value; null where it is refused. With a third part: the escape character, or `heredoc` or `words`. */
type Vector = readonly [word: string, value: string | readonly string[] | null, how?: '`' | 'heredoc' | 'words']

/** The rows of variable expansion: what the Dockerfile reference and POSIX say of each, right and wrong. */
const ROWS: Readonly<Record<string, readonly Vector[]>> = {
  '$x ${x}': [
    ['$x', 'value'],
    ['${x}', 'value'],
    ['a$x', 'avalue'],
    ['a${x}b', 'avalueb'],
    ['$xy', ''],
    ['$x/y', 'value/y'],
    ['$x-y', 'value-y'],
    ['$unset', ''],
    ['${unset}', ''],
    ['$empty', ''],
    ['$ü', 'wide'],
    ['$x$x', 'valuevalue'],
    ['$', '$'],
    ['a$', 'a$'],
    ['$.', '$.'],
    ['$/x', '$/x'],
    ['${}', null],
    ['${.}', null],
    ['${:}', null],
    ['${{x}}', null],
    ['${x', null],
    ['${', null],
    ['${x y}', null],
    ['$quotes', `it's "so"`],
    ['$lines', 'one\ntwo'],
  ],
  ':- -': [
    ['${unset:-d}', 'd'],
    ['${empty:-d}', 'd'],
    ['${x:-d}', 'value'],
    ['${unset-d}', 'd'],
    ['${empty-d}', ''],
    ['${x-d}', 'value'],
    ['${unset:-}', ''],
    ['${unset:-$x}', 'value'],
    ['${unset:-${empty:-${x}}}', 'value'],
    ['${unset:-a b}', 'a b'],
    ['${unset:-"a b"}', 'a b'],
    ["${unset:-'$x'}", '$x'],
    ['${unset:-a:b}', 'a:b'],
    ['${unset:-\\}}', '}'],
    ['${unset:-d', null],
  ],
  ':+ +': [
    ['${x:+a}', 'a'],
    ['${empty:+a}', ''],
    ['${unset:+a}', ''],
    ['${x+a}', 'a'],
    ['${empty+a}', 'a'],
    ['${unset+a}', ''],
    ['${x:+${two}}', 'a b'],
  ],
  ':? ?': [
    ['${x:?wrong}', 'value'],
    ['${x?}', 'value'],
    ['${empty?wrong}', ''],
    ['${empty:?wrong}', null],
    ['${unset:?wrong}', null],
    ['${unset?wrong}', null],
    ['${unset?}', null],
  ],
  '# ## % %%': [
    ['${path#*/}', 'usr/lib/foo.tar.gz'],
    ['${path##*/}', 'foo.tar.gz'],
    ['${path%/*}', '/usr/lib'],
    ['${path%%/*}', ''],
    ['${path%.*}', '/usr/lib/foo.tar'],
    ['${path%%.*}', '/usr/lib/foo'],
    ['${dots#?.}', 'b.c'],
    ['${dots#b}', 'a.b.c'],
    ['${dots#}', 'a.b.c'],
    ['${dots%}', 'a.b.c'],
    ['${dots#$dots}', ''],
    ['${dots##*}', ''],
    ['${dots#*}', 'a.b.c'],
    ['${unset#x}', ''],
    ['${star#a\\*}', 'b?c'],
    ['${star%\\?c}', 'a*b'],
    ['${slash#a\\\\}', 'b'],
    ['${dots#[a]}', 'a.b.c'],
    ['${lines##*o}', 'ne\ntwo'],
    ['${x:#v}', null],
    ['${x:%v}', null],
    ['${dots#a\\.}', null],
  ],
  '/ //': [
    ['${dots/./-}', 'a-b.c'],
    ['${dots//./-}', 'a-b-c'],
    ['${dots/./}', 'ab.c'],
    ['${dots//./}', 'abc'],
    ['${path/usr/lib}', '/lib/lib/foo.tar.gz'],
    ['${path/\\/usr/}', '/lib/foo.tar.gz'],
    ['${path//\\//_}', '_usr_lib_foo.tar.gz'],
    ['${dots/z/-}', 'a.b.c'],
    ['${dots/?/X}', 'X.b.c'],
    ['${dots//?/X}', 'XXXXX'],
    ['${dots/b*/X}', 'a.X'],
    ['${dots/*b/X}', 'X.c'],
    ['${dots/./$x}', 'avalueb.c'],
    ['${dots/$dots/x}', 'x'],
    ['${unset/a/b}', ''],
    // Go's replacement templates come through with // only.
    ["${dots/b/['$0']}", 'a.[$0].c'],
    ["${dots//b/['$0']}", 'a.[b].c'],
    ["${dots//b/['$1']}", 'a.[].c'],
    ['${dots/b/[\\$]}', 'a.[\\$].c'],
    ['${dots/.', null],
    ['${dots/./-', null],
    ['${dots/\\b/x}', null],
  ],
  'other modifiers': [
    ['${x^}', null],
    ['${x,}', null],
    ['${x=d}', null],
    ['${x:=d}', null],
    ['${x@Q}', null],
    ['${x:0:2}', null],
    ['${#x}', null],
  ],
  'quotes and escapes': [
    ["'$x'", '$x'],
    ['"$x"', 'value'],
    ['"${x}"', 'value'],
    [`"it's"`, "it's"],
    [`'say "so"'`, 'say "so"'],
    ['a"b c"d', 'ab cd'],
    ["a'b c'd", 'ab cd'],
    ['\\$x', '$x'],
    ['"\\$x"', '$x'],
    ['"\\""', '"'],
    ['"a\\b"', 'a\\b'],
    ['"\\\\"', '\\'],
    ['a\\b', 'ab'],
    ['\\\\', '\\'],
    ['a\\ b', 'a b'],
    ["\\'", "'"],
    ["'a\\'", 'a\\'],
    ['a\\', 'a'],
    ['""', ''],
    ['"', null],
    ["'", null],
    ["'it's'", null],
    ['"${x"', null],
    ['`$x', '$x', '`'],
    ['a\\$x', 'a\\value', '`'],
    ['"`$x"', '$x', '`'],
    ['C:\\a', 'C:\\a', '`'],
  ],
  'positional and special parameters are empty': [
    ['$1', ''],
    ['$12', ''],
    ['$1x', 'x'],
    ['${1}', ''],
    ['$@', ''],
    ['$*', ''],
    ['$#', ''],
    ['$?', ''],
    ['$-', ''],
    ['$$', ''],
    ['$!', ''],
    ['$0', ''],
    ['${@}', ''],
    ['${1:-d}', 'd'],
    ['a$$b', 'ab'],
  ],
  'words that are split': [
    ['$two', ['a', 'b'], 'words'],
    ['"$two"', ['a b'], 'words'],
    ["'a b' c", ['a b', 'c'], 'words'],
    ['a\\ b', ['a b'], 'words'],
    ['  a\t b ', ['a', 'b'], 'words'],
    ['$empty', [], 'words'],
    ['$x$two', ['valuea', 'b'], 'words'],
    ['${two}c d', ['a', 'bc', 'd'], 'words'],
  ],
  'contents of heredocs': [
    ['$x', 'value', 'heredoc'],
    [`"$x" '$x'`, `"value" 'value'`, 'heredoc'],
    ["it's", "it's", 'heredoc'],
    ['\\$x', '$x', 'heredoc'],
    ['\\\\', '\\', 'heredoc'],
    ['a\\b', 'ab', 'heredoc'],
    ['${unset:-d}', 'd', 'heredoc'],
    ['$unset.', '.', 'heredoc'],
    ['a\n$x\n', 'a\nvalue\n', 'heredoc'],
    ['${x', null, 'heredoc'],
  ],
}

const env = { get: (name: string) => (Object.hasOwn(ENV, name) ? ENV[name] : undefined) }

function ours([word, , how]: Vector): string | readonly string[] | null {
  try {
    if (how === 'words') return expandWords(word, env).words
    if (how === 'heredoc') return expandHeredoc(word, env).value
    return expandWord(word, env, how === '`' ? { escape: '`' } : {}).value
  } catch (error) {
    if (isArchimageError(error) && error.code === 'DOCKERFILE_INVALID') return null
    throw error
  }
}

for (const [row, vectors] of Object.entries(ROWS))
  describe(`expansion: ${row}`, () => {
    test.each(vectors.map(one => [one[0], one] as const))('%s', (_, vector) => {
      expect(ours(vector)).toEqual(vector[1])
    })
  })

requirePeers('dockerfile-oracle')('expansion: BuildKit agrees with every vector', async () => {
  const vectors = Object.values(ROWS).flat()
  const answers = await askBuildKit(
    vectors.map(([word, , how]) => ({
      ask: 'expand',
      word,
      env: ENV,
      escape: how === '`' ? '`' : '\\',
      skipQuotes: how === 'heredoc',
    })),
  )
  const theirs = answers.map((answer, i) =>
    answer.error !== undefined ? null : vectors[i]![2] === 'words' ? (answer['words'] ?? []) : answer['value'],
  )
  expect(theirs).toEqual(vectors.map(([, value]) => value))
})

describe('expansion: what is unset, and names', () => {
  test('names that were asked for are told, set and unset ones', () => {
    const { matched, unmatched } = expandWord('$x ${a:-$b} ${empty+$c}', env)
    expect([matched, unmatched]).toEqual([
      ['x', 'empty'],
      ['b', 'a', 'c'],
    ])
  })

  test('unset ones may stay as they are written', () => {
    expect(expandWord('$x $a ${a} ${a:-b}', env, { keepUnset: true }).value).toBe('value $a ${a} ${a:-b}')
  })

  test('an environment of Windows has its names in upper case', () => {
    const windows = { get: (name: string) => (name === 'X' ? 'upper' : undefined) }
    expect(expandWord('$x ${X} $y', windows, { windows: true }).value).toBe('upper upper ')
  })

  test('${x:?words} says the words, and names the way out', () => {
    expect(() => expandWord('${a:?give it a value}', env)).toThrow('a: give it a value')
    expect(() => expandWord('${empty:?}', env)).toThrow('empty: is not allowed to be empty')
  })
})
