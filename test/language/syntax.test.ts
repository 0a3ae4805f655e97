import { describe, expect, test } from 'bun:test'
import { parseDockerfile } from '../../src/dockerfile/parse.ts'
import { checkSyntax, judgeSyntax, LANGUAGE } from '../../src/dockerfile/syntax.ts'
import { isArchimageError } from '../../src/errors/error.ts'
import { requirePeers } from '../peers/require.ts'
import { askBuildKit } from './oracle.ts'

/** The first lines of a file, and the frontend that it asks for, with the line. */
const DETECTED: readonly (readonly [name: string, text: string, reference?: string, line?: number])[] = [
  ['the first line', '# syntax=docker/dockerfile:1\n', 'docker/dockerfile:1', 1],
  ['blanks and another case', '#   SynTax  =  docker/dockerfile:1  \n', 'docker/dockerfile:1', 1],
  ['after another directive', '# escape=`\n# syntax=a/b\n', 'a/b', 2],
  ['after a byte order mark', '\ufeff# syntax=a/b\n', 'a/b', 1],
  ['after #!', '#!/usr/bin/env x\n# syntax=a/b\n', 'a/b', 2],
  ['with a command line', '# syntax=a/b --x y\n', 'a/b --x y', 1],
  ['with a carriage return', '# syntax=a/b\r\n', 'a/b', 1],
  ['the first of two', '# syntax=a/b\n# syntax=c/d\n', 'a/b', 1],
  ['not behind blanks', ' # syntax=a/b\n'],
  ['not after a comment', '# hello\n# syntax=a/b\n'],
  ['not after an empty line', '\n# syntax=a/b\n'],
  ['not without a value', '# syntax=\n'],
  ['not after an instruction', 'FROM scratch\n# syntax=a/b\n'],
]
/** Forms that only files in other languages use. */
const FOREIGN: readonly (readonly [name: string, text: string, reference: string])[] = [
  ['//', '// syntax=a/b\nx\n', 'a/b'],
  ['// after #!', '#!x\n//syntax = a/b\nx\n', 'a/b'],
  ['JSON', '{"syntax": "a/b", "x": [1]}\n', 'a/b'],
  ['JSON over several lines', '{\n "x": 1,\n "syntax": "a/b"\n}\n', 'a/b'],
]

const parse = (text: string) => parseDockerfile(text, 'Dockerfile')

function refusal(work: () => unknown): {
  code: string
  message: string
  hint: string | undefined
  line: number | undefined
} {
  try {
    work()
  } catch (error) {
    if (isArchimageError(error))
      return { code: error.code, message: error.message, hint: error.hint, line: error.place?.line }
    throw error
  }
  throw new Error('not refused')
}

describe('syntax: detected', () => {
  test.each(DETECTED.map(([name, ...rest]) => [name, rest] as const))('%s', (_, [text, reference, line]) => {
    // Twice is an error of the parser, and the file needs a stage.
    const own = text.replace('# syntax=c/d\n', '')
    const { directives } = parse(own.includes('FROM') ? own : `${own}FROM scratch\n`)
    expect(directives['syntax']).toEqual(reference === undefined ? undefined : { value: reference, line: line! })
  })

  test.each(FOREIGN)('%s', (_, text, reference) => {
    const { code, message } = refusal(() => parse(text))
    expect(code).toBe('DOCKERFILE_INVALID')
    expect(message).toContain(`"${reference}" asks for another frontend`)
  })

  requirePeers('dockerfile-oracle')('as BuildKit detects it', async () => {
    const answers = await askBuildKit(
      [...DETECTED, ...FOREIGN].map(([, text]) => ({ ask: 'syntax', dockerfile: text })),
    )
    expect(answers.slice(0, DETECTED.length).map(one => [one['cmdline'], one['line']])).toEqual(
      DETECTED.map(([, , reference, line]) => [reference, line]),
    )
    expect(answers.slice(DETECTED.length).map(one => one['ref'])).toEqual(FOREIGN.map(([, , reference]) => reference))
  })
})

describe('syntax: judged', () => {
  const [major, minor] = LANGUAGE.split('.').map(Number) as [number, number]
  test.each([
    ...[
      'docker/dockerfile',
      'docker/dockerfile:1',
      'docker.io/docker/dockerfile:latest',
      'docker/dockerfile:1-labs',
      'docker/dockerfile:labs',
    ],
    ...[
      'docker/dockerfile:1.4',
      'docker/dockerfile:1.7.1',
      'docker/dockerfile:1.0-experimental',
      'docker/dockerfile:experimental',
    ],
    ...[
      `docker/dockerfile:${LANGUAGE}`,
      `docker/dockerfile:${LANGUAGE}.3-labs`,
      'docker/dockerfile:1.5-rc2',
      'docker/dockerfile:1 --x',
    ],
    ...[
      'harbor.example.com:5000/hub/docker/dockerfile:1',
      'mirror/dockerfile:1.3',
      `docker/dockerfile:1@sha256:${'a'.repeat(64)}`,
    ],
  ])('%s is built in', reference => {
    expect(judgeSyntax(reference)).toBe('built-in')
  })

  test.each([
    ...[
      `docker/dockerfile:${major}.${minor + 1}`,
      `docker/dockerfile:${major}.${minor + 1}-labs`,
      `docker/dockerfile:${major + 1}`,
    ],
    ...[
      `docker/dockerfile:${major}.100.2`,
      'docker/dockerfile:master',
      'docker/dockerfile-upstream:master',
      'docker/dockerfile-upstream:1.2',
    ],
  ])('%s is newer', reference => {
    expect(judgeSyntax(reference)).toBe('newer')
  })

  test.each(['a/b', 'r2d4/mocker', 'ghcr.io/x/dockerfile-x:v1', 'docker/dockerfile2', 'dockerfile/x:1'])(
    '%s is another',
    reference => {
      expect(judgeSyntax(reference)).toBe('other')
    },
  )
})

describe('syntax: said', () => {
  const newer = 'asks for a newer language than docker/dockerfile'

  test('a newer language is a warning', () => {
    expect(checkSyntax(parse('# syntax=docker/dockerfile:1.99\nFROM scratch'))).toStartWith(
      'Dockerfile:1: "# syntax=docker/dockerfile:1.99" asks',
    )
    expect(checkSyntax(parse('# syntax=docker/dockerfile:1\nFROM scratch'))).toBeUndefined()
    expect(checkSyntax(parse('FROM scratch'))).toBeUndefined()
  })

  test('and stands in the hint of what is not understood', () => {
    expect(refusal(() => parse('# syntax=docker/dockerfile:1.99\nFROM scratch\nCOPY --new a b')).hint).toContain(newer)
    expect(refusal(() => parse('# syntax=docker/dockerfile:1.4\nFROM scratch\nCOPY --new a b')).hint).not.toContain(
      newer,
    )
  })

  test('another frontend is refused at its line', () => {
    expect(refusal(() => checkSyntax(parse('# escape=`\n# syntax=a/b:2\nFROM scratch')))).toMatchObject({
      code: 'UNSUPPORTED',
      line: 2,
    })
  })

  test('BUILDKIT_SYNTAX stands in for the line', () => {
    const other = parse('# syntax=a/b\nFROM scratch')
    expect(checkSyntax(other, 'docker/dockerfile:1')).toBeUndefined()
    expect(refusal(() => checkSyntax(parse('FROM scratch'), 'a/b')).message).toContain('BUILDKIT_SYNTAX=a/b')
  })
})
