import fc from 'fast-check'

/** Random input for the properties, the fuzzer and the comparison with BuildKit: near enough to the language to get deep into it. */

const NAMES = [
  'a',
  'b',
  'A',
  'empty',
  'unset',
  '_x1',
  'é',
  '1',
  '12',
  '@',
  '*',
  '#',
  '?',
  '-',
  '$',
  '!',
  '0',
  'path',
  'line',
]

/** Values for the variables of `word`. */
export const VARIABLES: Readonly<Record<string, string>> = {
  a: 'foo',
  b: 'foo bar  baz',
  A: '/usr/lib/x.tar.gz',
  empty: '',
  _x1: 'q\'u"o',
  é: 'ü€𝒳',
  path: 'a/b/c.d*e?[f]',
  line: 'l1\nl2\n',
  '1': 'one',
}

const CHARACTERS = [
  ...[
    'a',
    'b',
    ' ',
    '  ',
    '\t',
    '\n',
    'foo',
    '/',
    '*',
    '?',
    '\\',
    '\\\\',
    '`',
    "'",
    '"',
    '$',
    '$$',
    '{',
    '}',
    ':',
    '<',
    '<<',
  ],
  ...[
    '<< ',
    'é',
    '𝒳',
    '[',
    ']',
    '.',
    '+',
    '-',
    '#',
    '%',
    '^',
    '|',
    '(',
    ')',
    '\\*',
    '\\?',
    '\\}',
    '\\/',
    '\\$',
    '\\"',
    "\\'",
  ],
  ...['$1', '$0', '${1}', '${name}', '\ufeff', '\0', '\u0085', '\u00a0', '\u2028', '0', '1', ',', '=', '!'],
]

const name = fc.constantFrom(...NAMES)
const character = fc.constantFrom(...CHARACTERS)
const MODIFIERS = [':-', '-', ':+', '+', ':?', '?', '#', '##', '%', '%%', ':#', ':%', ':', '=', '^', '@']

/** Words with variables in all forms, quotes and escapes, most of them well formed. */
export const word: fc.Arbitrary<string> = fc.letrec<{ word: string; part: string }>(tie => ({
  part: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    { weight: 4, arbitrary: character },
    { weight: 2, arbitrary: name.map(one => `$${one}`) },
    { weight: 2, arbitrary: name.map(one => `\${${one}}`) },
    {
      weight: 3,
      arbitrary: fc
        .tuple(name, fc.constantFrom(...MODIFIERS), tie('word'))
        .map(([one, modifier, rest]) => `\${${one}${modifier}${rest}}`),
    },
    {
      weight: 3,
      arbitrary: fc
        .tuple(name, fc.constantFrom('/', '//'), tie('word'), tie('word'))
        .map(([one, slash, pattern, by]) => `\${${one}${slash}${pattern}/${by}}`),
    },
    { weight: 1, arbitrary: tie('word').map(inner => `"${inner}"`) },
    { weight: 1, arbitrary: tie('word').map(inner => `'${inner}'`) },
  ),
  word: fc.array(tie('part'), { maxLength: 5 }).map(parts => parts.join('')),
})).word

const KEYWORDS = (
  'ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR ' +
  'copy Run oNbUiLd fRoM RUNN'
).split(' ')

const FLAGS = [
  ...[
    '--from=a',
    '--from=0',
    '--from=alpine:3',
    '--chown=1:2',
    '--chown="a b"',
    '--chmod=755',
    '--chmod=u+x',
    '--link',
    '--link=false',
  ],
  ...[
    '--link=',
    '--link=maybe',
    '--parents',
    '--exclude=*.md',
    '--exclude=x',
    '--checksum=sha256:0',
    '--keep-git-dir',
    '--unpack=true',
  ],
  ...[
    '--platform=linux/amd64',
    '--platform=$BUILDPLATFORM',
    '--mount=type=cache,target=/x',
    '--mount=type=secret,id=a',
    '--mount=',
  ],
  ...[
    '--mount=type=bind,from=a,target=/y',
    '--mount="type=tmpfs,target=/t"',
    '--mount=from=$a,target=/x',
    '--network=none',
  ],
  ...[
    '--network=x',
    '--security=insecure',
    '--device=a.com/b=c',
    '--device=a,required',
    '--interval=1s',
    '--interval=1',
    '--timeout=1h2m',
  ],
  ...[
    '--start-period=0',
    '--start-interval=5ms',
    '--retries=3',
    '--retries=-1',
    '--retries=x',
    '--',
    '--unknown',
    '--chmood=1',
    '--x=\\ y',
    "--x='",
  ],
]

const ARGUMENTS = [
  ...[
    'a',
    'b c',
    'k=v',
    'k=v l=w',
    'k="v w" l=\'x y\'',
    'k v w',
    'k=',
    '=v',
    'k=v l',
    '["a", "b"]',
    '["a", 1]',
    '[]',
    '["a"',
    '[ "x" ] y',
  ],
  ...[
    'scratch',
    'scratch AS a',
    'scratch as B',
    'a',
    'a AS 1x',
    'alpine:3 AS a b',
    '$a',
    '${a:-b}',
    'CMD x',
    'CMD ["x"]',
    'NONE',
    'NONE x',
    'CMD',
  ],
  ...[
    '80',
    '80/udp 443',
    '8000-8002/tcp',
    '80 53 1',
    '/x',
    '/x/ y',
    'a b c/',
    '. /',
    '*.go src/',
    '<<EOF /x',
    '<<EOF <<-"B" /x/',
    'cat <<EOF',
  ],
  ...[
    '<<"EOF"',
    '3<<EOF cat',
    '<<-EOF',
    '<<EOF',
    'x <<',
    '<<E F',
    '["<<EOF", "/x"]',
    'RUN x',
    'COPY a b',
    'COPY <<EOF /y',
    'ONBUILD RUN x',
    'FROM x',
  ],
  ...[
    'SIGTERM',
    '9',
    'app:app',
    '"q"',
    "'q",
    '\\',
    'a\\',
    '`',
    'é ü',
    '\u00a0x',
    'x\u0085',
    '#x',
    'a #b',
    '\t',
    '',
    'A=$a B=${b} C',
    'a= b=""',
  ],
]

const keyword = fc.constantFrom(...KEYWORDS)
const argument = fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...ARGUMENTS) }, { weight: 1, arbitrary: word })
const blank = fc.constantFrom(' ', '  ', '\t', '\v', '\u00a0', '')
const ending = fc.constantFrom(
  '\n',
  '\n',
  '\n',
  '\n',
  '\r\n',
  '\\\n',
  '\\ \t\n',
  '`\n',
  ' \\\n',
  '\\\\\n',
  '\\\n\n',
  '\\\n# c\n',
  '\\\n  # c\n',
  '',
)
const instruction = fc
  .tuple(
    fc.constantFrom('', '', '', ' ', '\t'),
    keyword,
    fc.constantFrom(' ', ' ', ' ', '  ', '\t', ''),
    fc.array(
      fc.constantFrom(...FLAGS).map(flag => `${flag} `),
      { maxLength: 2 },
    ),
    argument,
    ending,
  )
  .map(([indent, verb, gap, flags, rest, end]) => `${indent}${verb}${gap}${flags.join('')}${rest}${end}`)
const LINES = [
  ...[
    '\n',
    ' \n',
    '# comment\n',
    '  # comment\n',
    '#\n',
    'EOF\n',
    '\tEOF\n',
    'B\n',
    ' EOF\n',
    'EOF',
    '# escape=`\n',
    '# syntax=docker/dockerfile:1\n',
  ],
  ...[
    '# check=skip=all\n',
    '#!shebang\n',
    '# Escape = \\\n',
    '# escape=x\n',
    '# other=x\n',
    '// syntax=x\n',
    '\ufeff',
    'FROM scratch\n',
    'FROM scratch AS a\n',
  ],
  ...[
    'COPY <<EOF /x\nline $a\n\tEOF\nEOF\n',
    'RUN <<-EOF\n\tx\n\tEOF\n',
    "COPY <<A <<'B' /d/\n1\nA\n2\nB\n",
    'ONBUILD COPY <<EOF /x\nEOF\n',
  ],
]
const line = fc.oneof(
  { weight: 5, arbitrary: instruction },
  { weight: 2, arbitrary: fc.constantFrom(...LINES) },
  {
    weight: 1,
    arbitrary: fc.array(fc.oneof(character, argument, blank), { maxLength: 4 }).map(parts => `${parts.join('')}\n`),
  },
)

/** Dockerfiles of some lines, right ones and wrong ones. */
export const dockerfile: fc.Arbitrary<string> = fc
  .tuple(
    fc.constantFrom('FROM scratch\n', 'FROM scratch\n', 'FROM scratch AS a\n', ''),
    fc.array(line, { maxLength: 6 }),
  )
  .map(([first, lines]) => first + lines.join(''))

/** Any bytes at all. */
export const bytes: fc.Arbitrary<Uint8Array> = fc.uint8Array({ maxLength: 200 })

const C = fc.constantFrom
const IGNORE = [
  ...[
    'a',
    'b',
    'ab',
    'c.md',
    '.git',
    'x',
    '*',
    '**',
    '?',
    '[ab]',
    '[^a]',
    '[a-c]',
    '\\*',
    '\\',
    '[',
    ']',
    '[]',
    '^',
    '.',
    '..',
    '+',
    '(',
  ],
  ...[
    '$',
    '-',
    'é',
    ' ',
    '!',
    '#',
    '/',
    '//',
    '**/',
    '/**',
    'a*',
    '*.md',
    '?b',
    '\\a',
    '[[:alpha:]]',
    '[\\d]',
    '\\d',
    '\\b',
    '𝒳',
    '\u0085',
    ')',
  ],
]
const ignoreLine = fc
  .tuple(
    C('', '', '', '!', '! ', '/', ' ', '#', '\\#'),
    fc.array(C(...IGNORE), { maxLength: 5 }),
    C('', '', '/', ' ', '\r'),
  )
  .map(([before, parts, after]) => before + parts.join('') + after)
const FILE_NAMES = [
  'a',
  'b',
  'ab',
  'c.md',
  '.git',
  'x',
  'a*',
  'é',
  'a b',
  'c',
  '^',
  '+',
  '!a',
  'd',
  '*',
  '𝒳',
  '[',
  '\\',
  '#x',
  'a$',
  '(',
]

/** A .dockerignore, and paths that a walk meets, parents first. */
export const ignoring = fc.record({
  file: fc.array(ignoreLine, { minLength: 1, maxLength: 5 }).map(lines => lines.join('\n')),
  paths: fc
    .array(fc.array(C(...FILE_NAMES), { minLength: 1, maxLength: 4 }), { maxLength: 6 })
    .map(paths => [...new Set(paths.flatMap(parts => parts.map((_, i) => parts.slice(0, i + 1).join('/'))))]),
})

const GLOB = [
  ...[
    'a',
    'b',
    'ab',
    '.',
    '*',
    '**',
    '?',
    '[ab]',
    '[^a]',
    '[a-c]',
    '[c-a]',
    '[^',
    '[a',
    '[]',
    '[]a]',
    '[a-]',
    '[-a]',
    '[\\]]',
    '\\*',
    '\\',
  ],
  ...['\\\\', '[', ']', '^', '-', 'é', '[é-ü]', '[^/]', '/'],
]
const GLOB_NAMES = ['a', 'b', 'c', '.', '*', '?', '[', ']', '\\', '^', '-', 'é', '/', 'ab']

/** A pattern of filepath.Match, and names. */
export const globbing = fc.record({
  pattern: fc.array(C(...GLOB), { maxLength: 6 }).map(parts => parts.join('')),
  names: fc.array(
    fc.array(C(...GLOB_NAMES), { maxLength: 6 }).map(parts => parts.join('')),
    { minLength: 1, maxLength: 6 },
  ),
})
