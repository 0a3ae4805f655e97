import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { parseDockerfile } from '../dockerfile/parse.ts'
import { isArchimageError } from '../errors/error.ts'
import { parsePlatform } from '../oci/platform.ts'
import { parseCheckOptions, withComments } from './check-options.ts'
import { lintDockerfile } from './lint.ts'
import { nearest } from './nearest.ts'
import { RULES } from './rules.ts'
import { found, lintExample } from './testing/lint-example.ts'

describe('rules show themselves', () => {
  test.each(RULES.map(rule => [rule.name, rule] as const))('%s', (name, rule) => {
    const bad = lintExample(rule.bad)
    expect(bad.findings.map(finding => finding.rule)).toContain(name)
    expect(bad.findings.every(finding => finding.rule !== name || finding.level === rule.level)).toBe(true)
    expect(lintExample(rule.good)).toMatchObject({ findings: [], errors: [] })
    expect(name).toMatch(/^[A-Z][A-Za-z]+$/)
  })

  test('names are unique', () => {
    expect(new Set(RULES.map(rule => rule.name)).size).toBe(RULES.length)
  })
})

describe('platforms', () => {
  const text = (dockerfile: string, platforms: readonly string[]) =>
    lintExample({ dockerfile, platforms }).findings.map(finding => [finding.message, finding.platforms])

  test('equal findings are one, with all platforms on which they hold', () => {
    expect(text('FROM scratch AS X\n', ['amd64', 'arm64', 'arm/v7'])).toEqual([
      ["Stage name 'X' should be lowercase", ['linux/amd64', 'linux/arm64', 'linux/arm/v7']],
    ])
  })

  test('what holds on one of them says so', () => {
    const dockerfile =
      'ARG TARGETARCH\nFROM scratch AS for-amd64\nFROM scratch AS for-arm64\nENV A=$B\nFROM for-${TARGETARCH}\n'
    const options = { platforms: ['amd64', 'arm64'].map(parsePlatform), neededOnly: true }
    const { findings } = lintDockerfile(parseDockerfile(dockerfile, 'Dockerfile'), options)
    expect(findings.map(finding => [finding.rule, finding.platforms])).toEqual([['UndefinedVar', ['linux/arm64']]])
  })

  test('errors too', () => {
    const dockerfile = parseDockerfile('FROM --platform=$TARGETVARIANT scratch\n', 'Dockerfile')
    const { errors } = lintDockerfile(dockerfile, { platforms: ['amd64', 'arm/v7'].map(parsePlatform) })
    expect(errors.map(({ error, platforms }) => [error.code, error.place?.line, platforms])).toEqual([
      ['DOCKERFILE_INVALID', 1, ['linux/amd64']],
      ['DOCKERFILE_INVALID', 1, ['linux/arm/v7']],
    ])
  })
})

describe('without images', () => {
  test('nothing is said of variables that a base may set', () => {
    expect(found('FROM golang:1\nENV A=$GOPATH\n')).toEqual([])
    expect(found('FROM golang:1 AS a\nFROM a\nENV A=$GOPATH\n')).toEqual([])
    expect(found('FROM scratch\nENV A=$GOPATH\n')).toEqual(['UndefinedVar:2'])
  })

  test('a named context may be anything', () => {
    const contexts = (name: string) => name === 'tools'
    expect(found('FROM tools\nENV A=$B\n', ['amd64'], { contexts })).toEqual([])
    expect(found('FROM scratch AS tools\nENV A=$B\nFROM tools\nENV C=$D\n', ['amd64'], { contexts })).toEqual([])
  })
})

describe('options', () => {
  test('are read as BuildKit reads them', () => {
    expect(parseCheckOptions('skip=A,B;error=true;experimental=C')).toEqual({
      skip: ['A', 'B'],
      error: true,
      experimental: ['C'],
    })
    expect(parseCheckOptions(' skip = all ; error = T ')).toEqual({ skip: 'all', error: true, experimental: [] })
    expect(parseCheckOptions('')).toEqual({ skip: [], error: false, experimental: [] })
    for (const wrong of ['A', 'skip', 'what=1', 'error=yes', 'skip=A;', 'skip=A;error=1;experimental=B;skip=C'])
      expect(typeof parseCheckOptions(wrong)).toBe(wrong.endsWith('C') ? 'object' : 'string')
  })

  test('a comment adds to them, and never takes error away', () => {
    const base = { skip: ['A'], experimental: [], error: true }
    expect(withComments(base, ['why', 'check=skip=B;error=false'])).toEqual({ ...base, skip: ['A', 'B'] })
    expect(withComments(base, ['check=skip=all'])).toEqual({ ...base, skip: 'all' })
    expect(withComments(base, ['check=nonsense', 'check=skip=B'])).toEqual(base)
  })

  test('a malformed directive is an error with its place', () => {
    const dockerfile = parseDockerfile('# syntax=docker/dockerfile:1\n# check=skp=A\nFROM scratch\n', 'Dockerfile')
    const { errors } = lintDockerfile(dockerfile)
    expect(errors.map(({ error }) => error.place?.line)).toEqual([2])
  })
})

test('suggestions: fewer than three changes, the first of the best', () => {
  expect(nearest('VERISON', ['VERSION', 'VERSIO'])).toBe('VERSION')
  expect(nearest('FOO', ['FOOBAR', 'BAR'])).toBeUndefined()
  expect(nearest('AB', ['AC', 'AD'])).toBe('AC')
  expect(nearest('A', ['A'])).toBeUndefined()
})

test('never throws, whatever is checked', () => {
  const pieces =
    '$(, ${, }, ), ", \', `, \\, ;, &&, |, [, ], case, in, =, amd64, x86_64, curl, go build, make, /, https://x/, <<E, #, -a, TARGETARCH'
  const shell = fc.array(fc.constantFrom(...pieces.split(', ')), { maxLength: 12 }).map(words => words.join(' '))
  const line = fc.oneof(
    ...[
      'FROM scratch',
      'FROM a AS B',
      'FROM --platform=$X b$Y as c',
      'ARG TARGETARCH=amd64 X=$Y',
      'ENV a $b${c:?no}',
      'ENV a=${b',
      "ENV a='",
      'COPY --from=1 a b',
      'COPY --from=$x a b',
      'COPY --chown=$a <<E /\n$b\nE',
      'RUN --mount=type=cache,target=$x make',
      'RUN --mount=from=x,"a true',
      'RUN case $A in amd64) x;; esac; curl https://x/amd64',
      'EXPOSE $a 80/TCP ::1',
      'ONBUILD ENV $',
      'WORKDIR ${x#y}',
      '# check=skip=X',
      'CMD a',
    ].map(text => fc.constant(text)),
    fc.string({ maxLength: 40 }),
    fc
      .tuple(fc.constantFrom('RUN', 'ADD', 'ENV A', 'ARG A=', 'COPY', 'FROM', '# check='), shell)
      .map(parts => parts.join(' ')),
  )
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), lines => {
      let dockerfile: ReturnType<typeof parseDockerfile>
      try {
        dockerfile = parseDockerfile(`FROM scratch\n${lines.join('\n')}\n`, 'Dockerfile')
      } catch (error) {
        expect(isArchimageError(error)).toBe(true)
        return
      }
      const { errors } = lintDockerfile(dockerfile, { platforms: ['amd64', 'arm/v7'].map(parsePlatform) })
      for (const { error } of errors) expect(error.place?.line).toBeGreaterThan(0)
    }),
    { numRuns: 3000 },
  )
})
