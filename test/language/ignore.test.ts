import { describe, expect, test } from 'bun:test'
import { isArchimageError } from '../../src/errors/error.ts'
import { requirePeers } from '../peers/require.ts'
import { ignoredPaths } from './differential.ts'
import { askBuildKit } from './oracle.ts'

/** A .dockerignore, paths that it leaves out, and paths that it keeps; without paths it is refused. */
interface Vector {
  readonly name: string
  readonly file: string
  readonly out?: readonly string[]
  readonly kept?: readonly string[]
}

const of = (name: string, file: string, out: readonly string[], kept: readonly string[] = []): Vector => ({
  ...{ name, file, out, kept },
})

/** The rows of ignore files: what the Dockerfile reference says of each, right and wrong. */
const ROWS: Readonly<Record<string, readonly Vector[]>> = {
  comments: [
    of('in the first column', '# a\na', ['a'], ['# a', 'b']),
    of('not behind a blank', ' #a', ['#a']),
    of('escaped', '\\#a', ['#a']),
    of('not at the end of a line', 'a #b', ['a #b'], ['a']),
  ],
  lines: [
    of('blanks around go', '  a \t', ['a'], [' a']),
    of('blanks inside stay', 'a b', ['a b'], ['a', 'b']),
    of('a byte order mark goes', '\ufeffa', ['a']),
    of('carriage returns go', 'a\r\nb\r\n', ['a', 'b']),
    of('empty ones are nothing', '\n\n  \na', ['a'], ['b']),
    of('nothing at all', '', [], ['a']),
    of('. is the context, which stays', '.', [], ['a']),
    of('/ too', '/', [], ['a']),
  ],
  paths: [
    of('a leading slash is nothing', '/a', ['a', 'a/b'], ['b/a']),
    of('nor is a trailing one', 'a/', ['a', 'a/b'], ['ab']),
    of('they are cleaned', './a//b/../c', ['a/c'], ['a/b']),
    of('.. leads out', '../a', [], ['a', 'b/a']),
    of('what is below goes too', 'a/b', ['a/b', 'a/b/c', 'a/b/c/d'], ['a', 'a/c']),
    of('only the whole name', 'a', ['a'], ['ab', 'b/a']),
  ],
  wildcards: [
    of('* within a name', '*.md', ['a.md', '.md'], ['a/b.md', 'a.mdx']),
    of('* in a folder', '*/temp*', ['x/temp', 'x/temporary/y'], ['temp', 'x/y/temp']),
    of('two levels', '*/*/temp*', ['x/y/temp.txt'], ['x/temp']),
    of('? is one character', 'a?', ['ab', 'aé'], ['a', 'abc', 'a/b']),
    of('a class', 'a[bc]', ['ab', 'ac'], ['ad', 'a']),
    of('a class that is not', 'a[^bc]', ['ad'], ['ab']),
    of('a range', '[a-c]', ['b'], ['d']),
    of('escaped', 'a\\*', ['a*'], ['ab']),
    of('** in front', '**/a', ['a', 'b/a', 'b/c/a', 'b/a/c'], ['ab']),
    of('** in the middle', 'a/**/b', ['a/b', 'a/c/b', 'a/c/d/b'], ['b', 'ab']),
    of('** at the end', 'a/**', ['a/b', 'a/b/c'], ['a', 'b']),
    of('** alone', '**', ['a', 'a/b']),
    of('**.go', '**.go', ['a.go', 'b/a.go'], ['a.c']),
    of('**/*.go', '**/*.go', ['a.go', 'b/c/a.go'], ['b/go']),
    of('what means something in regular expressions does not', 'a.b+(c)$', ['a.b+(c)$'], ['aab+(c)$', 'a.bb(c)$']),
    of('upper and lower case differ', 'A', ['A'], ['a']),
  ],
  exceptions: [
    of('keep what a line above leaves out', '*.md\n!README.md', ['a.md'], ['README.md']),
    of('the last that fits decides', '*.md\n!README*.md\nREADME-secret.md', ['README-secret.md'], ['README.md']),
    of('also the other way round', 'README-secret.md\n!README*.md', [], ['README-secret.md']),
    of('inside of a folder that is left out', 'a\n!a/b', ['a', 'a/c'], ['a/b', 'a/b/c']),
    of('and out again', 'a\n!a/b\na/b/c', ['a', 'a/b/c'], ['a/b', 'a/b/d']),
    of('of everything', '*\n!a', ['b'], ['a', 'a/b']),
    of('with **', '**\n!**/*.go', ['a', 'a/b'], ['a/b.go', 'c.go']),
    of('blanks behind the mark go', '*\n! a', ['b'], ['a']),
    of('alone they leave nothing out', '!a', [], ['a', 'b']),
  ],
  'what is wrong': [
    { name: '! alone', file: 'a\n!' },
    { name: 'an open class', file: 'a[' },
    { name: 'an empty class', file: '[]' },
    { name: 'a backslash at the end', file: 'a\\' },
  ],
}

const paths = ({ out = [], kept = [] }: Vector): string[] => {
  const all = [...out, ...kept].flatMap(path => {
    const parts = path.split('/')
    return parts.map((_, i) => parts.slice(0, i + 1).join('/'))
  })
  return [...new Set(all)]
}

for (const [row, vectors] of Object.entries(ROWS))
  describe(`ignore files: ${row}`, () => {
    test.each(vectors.map(one => [one.name, one] as const))('%s', (_, vector) => {
      const { file, out, kept } = vector
      if (out === undefined) return expect(refused(file)).toBe(true)
      const all = paths(vector)
      const ignored = ignoredPaths(file, all)
      expect(all.filter((path, i) => ignored[i] && [...out, ...(kept ?? [])].includes(path)).sort()).toEqual(
        [...out].sort(),
      )
    })
  })

function refused(file: string): boolean {
  try {
    ignoredPaths(file, [])
    return false
  } catch (error) {
    return isArchimageError(error) && error.code === 'CONTEXT_INVALID' && error.place?.line !== undefined
  }
}

requirePeers('dockerfile-oracle')('ignore files: moby agrees with every vector', async () => {
  const vectors = Object.values(ROWS).flat()
  // A path that every pattern has to be asked about.
  const answers = await askBuildKit(
    vectors.map(one => ({ ask: 'match', patterns: one.file, paths: one.out ? paths(one) : ['a', 'a.b'] })),
  )
  const wrong = vectors.filter((vector, i) => {
    const { error, matched } = answers[i]!
    if (vector.out === undefined) return error === undefined
    const flags = matched as readonly boolean[]
    const ignored = paths(vector).filter(
      (path, j) => flags[j] && [...vector.out!, ...(vector.kept ?? [])].includes(path),
    )
    return ignored.sort().join('\n') !== [...vector.out].sort().join('\n')
  })
  expect(wrong).toEqual([])
})
