import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { ArchimageError } from '../errors/error.ts'
import type { Dockerfile, Instruction } from './ast.ts'
import { parseDockerfile } from './parse.ts'

const parse = (text: string): Dockerfile => parseDockerfile(text, 'Dockerfile')
/** The instructions of the only stage. */
const body = (text: string): readonly Instruction[] => parse(`FROM scratch\n${text}`).stages[0]!.instructions
const errorOf = (text: string | Uint8Array): ArchimageError => {
  try {
    parseDockerfile(text, 'Dockerfile')
  } catch (error) {
    if (error instanceof ArchimageError && error.code === 'DOCKERFILE_INVALID') return error
    throw error
  }
  throw new Error(`no error for ${text}`)
}

describe('lines', () => {
  test('continuations are joined, comments and empty lines in them vanish, blanks after the escape too', () => {
    const [run] = body('  RUN a \\\n    b \\ \t\n# comment\n   # another\n\n \t\n  c\nRUN d')
    expect(run).toMatchObject({
      kind: 'run',
      original: 'RUN a     b   c',
      command: { form: 'shell', text: 'a     b   c' },
      emptyLines: [6, 7],
      range: { start: { line: 2, column: 3 }, end: { line: 8, column: 3 } },
    })
  })

  test('an escaped escape is no continuation, nor is one in the middle', () => {
    expect(body('RUN a \\\\\nRUN b \\ c').map(({ original }) => original)).toEqual(['RUN a \\\\', 'RUN b \\ c'])
  })

  test('a continuation at the end of the file ends there', () => {
    expect(body('RUN a \\')).toMatchObject([{ command: { text: 'a' } }])
    expect(body('RUN a \\\n# the end\n')).toMatchObject([{ command: { text: 'a' } }])
  })

  test('the escape directive changes the continuation', () => {
    const { escape: token, stages } = parse('# escape=`\nFROM scratch\nCOPY a `\n  C:\\b\\\n')
    expect(token).toBe('`')
    expect(stages[0]!.instructions).toMatchObject([{ sources: ['a'], dest: 'C:\\b\\' }])
  })

  test('a byte order mark and carriage returns do not matter', () => {
    const bytes = new TextEncoder().encode('\ufeff# escape=`\r\nFROM scratch\r\nRUN a `\r\n  b\r\n')
    const { stages, lines } = parseDockerfile(bytes, 'Dockerfile')
    expect(stages[0]!.instructions).toMatchObject([{ original: 'RUN a   b' }])
    expect(lines).toEqual(['# escape=`', 'FROM scratch', 'RUN a `', '  b'])
  })

  test('comments above an instruction belong to it, until an empty one', () => {
    const text = '# lost\n#\n# one\n\n  # two\nFROM scratch AS x\n# three\nRUN a'
    const { stages } = parse(text)
    // BuildKit keeps the "#" of a comment that is indented.
    expect(stages[0]!.from.comments).toEqual(['one', '# two'])
    expect(stages[0]!.instructions[0]!.comments).toEqual(['three'])
  })

  test('ranges are those of the file', () => {
    const [copy] = body('  COPY --from=a \\\n    --link \\\n  x /y')
    expect(copy!.range).toEqual({ start: { line: 2, column: 3 }, end: { line: 4, column: 6 } })
    expect(copy!.flags).toEqual([
      { name: 'from', value: 'a', range: { start: { line: 2, column: 8 }, end: { line: 2, column: 15 } } },
      { name: 'link', range: { start: { line: 3, column: 5 }, end: { line: 3, column: 10 } } },
    ])
  })
})

describe('directives', () => {
  test('are found at the top, in any case, with blanks', () => {
    const { directives } = parse(
      '# Syntax = docker/dockerfile:1 \n#escape=\\\n# check=skip=all;error=true\nFROM scratch',
    )
    expect(directives).toEqual({
      syntax: { value: 'docker/dockerfile:1', line: 1 },
      escape: { value: '\\', line: 2 },
      check: { value: 'skip=all;error=true', line: 3 },
    })
  })

  test.each(['# a comment', '', '# unknown=x', 'ARG a'])('end at %p', line => {
    const { escape: token, directives } = parse(`# syntax=x\n${line}\n# escape=\`\nFROM scratch`)
    expect(token).toBe('\\')
    expect(Object.keys(directives)).toEqual(['syntax'])
  })

  test('are no comments of the instruction below', () => {
    expect(parse('# syntax=x\n# about\nFROM scratch').stages[0]!.from.comments).toEqual(['about'])
  })

  test('a #! line hides escape only', () => {
    const { escape: token, directives } = parse('#!/usr/bin/env x\n# escape=`\n# check=skip=all\nFROM scratch')
    expect(token).toBe('\\')
    expect(Object.keys(directives)).toEqual(['check'])
  })

  test('twice is an error, and so is another escape character', () => {
    expect(errorOf('# syntax=a\n# SYNTAX=b\nFROM scratch')).toMatchObject({
      message: 'only one syntax parser directive can be used',
      place: { line: 2 },
    })
    expect(errorOf('# escape=x\nFROM scratch').place?.line).toBe(1)
  })
})

describe('forms', () => {
  test.each([
    ['CMD ["a", "b c"]', { form: 'exec', args: ['a', 'b c'] }],
    ['CMD  [ "\\u00e9" ] ', { form: 'exec', args: ['é'] }],
    ['CMD []', { form: 'exec', args: [] }],
    ['CMD ["a", "b"] c', { form: 'shell', text: '["a", "b"] c' }],
    [`CMD ['a']`, { form: 'shell', text: `['a']` }],
    ['CMD ["a"', { form: 'shell', text: '["a"' }],
    ['CMD ["a",]', { form: 'shell', text: '["a",]' }],
    ['CMD [ -f x ] && y', { form: 'shell', text: '[ -f x ] && y' }],
    ['CMD "a b"', { form: 'shell', text: '"a b"' }],
    ['CMD', { form: 'shell', text: '' }],
  ])('%p', (line, command) => {
    expect(body(line)).toMatchObject([{ command }])
  })

  test('an array of other things than strings is an error', () => {
    for (const line of ['CMD ["a", 1]', 'RUN [null]', 'COPY ["a", ["b"], "/"]', 'HEALTHCHECK CMD [true]'])
      expect(errorOf(`FROM scratch\n${line}`)).toMatchObject({
        place: { line: 2 },
        message: expect.stringContaining('strings'),
      })
  })
})

describe('flags', () => {
  test('lose quotes and escapes, and end at a bare --', () => {
    expect(body('COPY --from="a b" --exclude=\'x y\' --exclude=z\\ w --chown=1 -- --x /y')).toMatchObject([
      { from: 'a b', excludes: ['x y', 'z w'], chown: '1', sources: ['--x'], dest: '/y' },
    ])
  })

  test('may hold letters of any alphabet', () => {
    expect(body('COPY --exclude=größe --chown=ü a b')).toMatchObject([{ excludes: ['größe'], chown: 'ü' }])
  })

  test('of two values', () => {
    expect(body('COPY --link --parents=FALSE a b')).toMatchObject([{ link: true, parents: false }])
    expect(body('ADD --keep-git-dir=false --unpack a b')).toMatchObject([
      { keepGitDir: false, unpack: true, link: false },
    ])
    expect(body('ADD a b')[0]).not.toHaveProperty('unpack')
  })

  test.each([
    ['COPY --chmdo=1 a b', '--chmdo', 'did you mean "--chmod"?'],
    ['ADD --from=x a b', '--from', 'COPY has it'],
    ['WORKDIR --x /a', '--x', 'takes no flags'],
    ['COPY --link= a b', '--link=', '--link=true'],
    ['COPY --link=yes a b', 'true or false', undefined],
    ['COPY --from a b', '--from', '--from=…'],
    ['COPY --from=a --from=b a b', 'twice', undefined],
    ['RUN --network=hots x', 'hots', 'did you mean "host"?'],
    ['RUN --security=none x', 'none', 'sandbox, insecure'],
    ['RUN --device=a,b x', '"b"', undefined],
    ['RUN --mount=type=bind,from=$X x', 'variables', 'FROM image:$TAG AS name'],
    ['RUN --mount=type=\\"x y', 'quotes', undefined],
    ['ONBUILD --x RUN a', '--x', undefined],
  ])('%p is refused', (line, message, hint) => {
    const error = errorOf(`FROM scratch\n${line}`)
    expect(error.message).toContain(message)
    if (hint) expect(error.hint).toContain(hint)
    expect(error.place).toMatchObject({ file: 'Dockerfile', line: 2, excerpt: ['FROM scratch', line], excerptLine: 1 })
  })

  test('repeated where that means something', () => {
    expect(body('RUN --mount=type=ssh --device=a/b=c --mount=type=secret,id=x --device=d/e=f y')).toMatchObject([
      { mounts: ['type=ssh', 'type=secret,id=x'], devices: ['a/b=c', 'd/e=f'] },
    ])
  })
})

describe('instructions', () => {
  test('keywords in any case, with any blanks', () => {
    expect(body('cOpY\ta\f b')).toMatchObject([{ keyword: 'COPY', written: 'cOpY', sources: ['a'], dest: 'b' }])
  })

  test('FROM', () => {
    const { stages, globalArgs } = parse(
      'ARG V=1\nFROM --platform=$BUILDPLATFORM a:$V as Build-1.x\nARG V\nFROM b\nFROM Build-1.x',
    )
    expect(globalArgs).toMatchObject([{ args: [{ key: 'V', value: '1' }] }])
    expect(stages).toMatchObject([
      {
        index: 0,
        name: 'build-1.x',
        from: { image: 'a:$V', platform: '$BUILDPLATFORM', alias: { as: 'as', name: 'Build-1.x' } },
        instructions: [{ kind: 'arg' }],
      },
      { index: 1, from: { image: 'b' } },
      { index: 2, from: { image: 'Build-1.x' } },
    ])
    expect(stages[1]).not.toHaveProperty('name')
  })

  test('ENV and LABEL', () => {
    expect(body(`ENV a=1 b="x y" c='z' d=a\\ b e=`)).toMatchObject([
      {
        legacy: false,
        pairs: [
          { key: 'a', value: '1' },
          { key: 'b', value: '"x y"' },
          { key: 'c', value: `'z'` },
          { key: 'd', value: 'a\\ b' },
          { key: 'e', value: '' },
        ],
      },
    ])
    expect(body('ENV  key   a b=c  d ')).toMatchObject([{ legacy: true, pairs: [{ key: 'key', value: 'a b=c  d' }] }])
    expect(body('LABEL "a.b"=c \\\n  d=e')).toMatchObject([{ kind: 'label', pairs: [{ key: '"a.b"' }, { key: 'd' }] }])
  })

  test('ARG takes several', () => {
    expect(body('ARG a b=1 c="x y" d=')).toMatchObject([
      { args: [{ key: 'a' }, { key: 'b', value: '1' }, { key: 'c', value: '"x y"' }, { key: 'd', value: '' }] },
    ])
  })

  test('EXPOSE is sorted, VOLUME trimmed', () => {
    expect(body('EXPOSE 80 443/udp 100-200\nVOLUME /a /b\nVOLUME [" /c ", "/d"]')).toMatchObject([
      { ports: ['100-200', '443/udp', '80'] },
      { paths: ['/a', '/b'] },
      { paths: ['/c', '/d'] },
    ])
  })

  test('HEALTHCHECK', () => {
    expect(
      body(
        'HEALTHCHECK --interval=1m30s --timeout=0 --start-period= --start-interval=1ms --retries=3 CMD curl -f x\n' +
          'healthcheck none\nHEALTHCHECK cmd ["a", "b"]',
      ),
    ).toMatchObject([
      {
        none: false,
        command: { form: 'shell', text: 'curl -f x' },
        interval: 90e9,
        timeout: 0,
        startPeriod: 0,
        startInterval: 1e6,
        retries: 3,
      },
      { none: true },
      { command: { form: 'exec', args: ['a', 'b'] } },
    ])
    expect(body('HEALTHCHECK CMD x')[0]).not.toHaveProperty('interval')
  })

  test('ONBUILD holds its expression and the instruction', () => {
    const [onbuild] = body('  OnBuild   COPY --link a \\\n  /b ')
    expect(onbuild).toMatchObject({
      expression: 'COPY --link a   /b ',
      instruction: { kind: 'copy', link: true, dest: '/b', range: { start: { line: 2, column: 13 } } },
    })
  })

  test('the rest', () => {
    expect(
      body('WORKDIR /a b\nUSER $U\nSTOPSIGNAL SIGTERM\nSHELL ["sh", "-c"]\nMAINTAINER me <m@x>\nENTRYPOINT x'),
    ).toMatchObject([
      { path: '/a b' },
      { user: '$U' },
      { signal: 'SIGTERM' },
      { args: ['sh', '-c'] },
      { name: 'me <m@x>' },
      { kind: 'entrypoint', command: { form: 'shell', text: 'x' } },
    ])
  })

  test('flags of ARG, STOPSIGNAL and HEALTHCHECK NONE are ignored, as in BuildKit', () => {
    expect(body('ARG --x a\nSTOPSIGNAL --y 9\nHEALTHCHECK --z NONE')).toMatchObject([
      { args: [{ key: 'a' }] },
      { signal: '9' },
      { none: true },
    ])
  })

  test.each([
    ['CPOY a b', 'CPOY', 'did you mean "COPY"?'],
    ['&& make', '&&', 'continuation'],
    ['FROM', 'image', undefined],
    ['FROM a AS', 'one or three', undefined],
    ['FROM a as 1x', '1x', 'begin with a letter'],
    ['FROM a --platform=x', 'one or three', 'before the image'],
    ['COPY a', 'at least two', undefined],
    ['COPY ["a"]', 'at least two', undefined],
    ['ENV', 'at least one', undefined],
    ['ENV a', 'two arguments', 'ENV a=value'],
    ['ENV a=b c', '"c"', 'quotes'],
    ['ENV =x', 'blank', undefined],
    ['ARG', 'at least one', undefined],
    ['ARG =x', 'blank', undefined],
    ['WORKDIR', 'exactly one', undefined],
    ['USER', 'exactly one', undefined],
    ['STOPSIGNAL', 'exactly one', undefined],
    ['MAINTAINER', 'exactly one', undefined],
    ['EXPOSE', 'at least one', undefined],
    ['VOLUME [""]', 'empty', undefined],
    ['SHELL', 'at least one', undefined],
    ['SHELL bash -c', 'JSON', '["/bin/bash", "-c"]'],
    ['HEALTHCHECK', 'at least one', undefined],
    ['HEALTHCHECK CMD', 'missing command', undefined],
    ['HEALTHCHECK NONE x', 'no arguments', undefined],
    ['HEALTHCHECK curl x', 'curl', 'HEALTHCHECK CMD'],
    ['HEALTHCHECK --interval=5 CMD x', '5', '30s'],
    ['HEALTHCHECK --interval=1us CMD x', '1ms', undefined],
    ['HEALTHCHECK --retries=-1 CMD x', 'negative', undefined],
    ['HEALTHCHECK --retries=x CMD x', 'number', undefined],
    ['ONBUILD', 'at least one', undefined],
    ['ONBUILD ONBUILD RUN x', 'ONBUILD', undefined],
    ['ONBUILD FROM x', 'FROM', undefined],
    ['ONBUILD MAINTAINER x', 'MAINTAINER', undefined],
    ['ONBUILD COPY a', 'at least two', undefined],
  ])('%p is refused', (line, message, hint) => {
    const error = errorOf(`FROM scratch\n\n${line}\nRUN x`)
    expect(error.message).toContain(message)
    if (hint) expect(error.hint).toContain(hint)
    expect(error.place).toMatchObject({
      line: 3,
      endLine: 3,
      excerptLine: 1,
      excerpt: ['FROM scratch', '', line, 'RUN x'],
    })
  })
})

describe('a file', () => {
  test.each([
    ['', 'is empty', 'FROM'],
    ['\n\n', 'no instructions', 'FROM'],
    ['# escape=`\n# only comments\n', 'no instructions', 'FROM'],
    ['ARG a\n', 'no FROM', 'FROM'],
    ['ARG a\nRUN x\nFROM y', 'RUN stands before the first FROM', 'FROM'],
    ['\u0000'.repeat(3), 'unknown instruction', undefined],
  ])('%p: %s', (text, message, hint) => {
    const error = errorOf(text)
    expect(error.message).toContain(message)
    if (hint) expect(error.hint).toContain(hint)
    expect(error.exit).toBe(2)
  })

  test('in UTF-16 is told how to be saved', () => {
    expect(errorOf(new Uint8Array([0xff, 0xfe, 70, 0])).hint).toContain('UTF-8')
  })

  test('with a line of more than 65535 bytes is refused, one of 65535 is not', () => {
    expect(body(`RUN ${'x'.repeat(65_531)}`)).toHaveLength(1)
    expect(errorOf(`FROM scratch\nRUN ${'x'.repeat(65_532)}`).place?.line).toBe(2)
    expect(errorOf(`FROM scratch\nRUN ${'é'.repeat(32_766)}`).message).toContain('65535')
  })

  test('errors of form come before errors of meaning, wherever they stand', () => {
    expect(errorOf('CPOY a b\nFROM x\nRUN <<EOF\n').message).toContain('unterminated')
  })

  test('an error of a long instruction shows a part of it', () => {
    const { place } = errorOf(`FROM scratch\nBAD \\\n${'  x \\\n'.repeat(500)}`)
    expect(place).toMatchObject({ line: 2, endLine: 502 })
    expect(place!.excerpt!.length).toBeLessThan(20)
  })
})

describe('hostile files', () => {
  test('2,000 lines with deep continuations are read in linear time', () => {
    const text = (lines: number): string =>
      `FROM scratch\nRUN a${' \\\n # x\n && b'.repeat(lines)}\nENV${' \\\n a=b'.repeat(lines)}\n`
    // Quadratic would be minutes, and the test would be ended.
    expect(parse(text(200_000)).stages[0]?.instructions.map(one => one.kind)).toEqual(['run', 'env'])
  })

  test('nesting does not fill the stack', () => {
    errorOf(`FROM scratch\n${'ONBUILD '.repeat(8_000)}RUN x`)
    expect(body(`CMD ${'['.repeat(60_000)}`)).toMatchObject([{ command: { form: 'shell' } }])
    expect(body(`RUN echo ${'${a:-'.repeat(10_000)} <<EOF`)).toMatchObject([{ heredocs: [] }])
  })

  const VALID = [
    '# syntax=docker/dockerfile:1\n# escape=`\nARG V=1\nFROM --platform=$P a:$V AS b\nRUN --mount=type=cache,target=/x a `\n  b\n',
    'FROM a\nCOPY --from=b --link --exclude="x y" c <<EOF d/\nhi $x\nEOF\nENV a=b c="d e" f=\'g\'\nLABEL a b c\nONBUILD RUN <<-E\n\tx\n\tE\n',
    'FROM a\nHEALTHCHECK --interval=5s CMD ["a","b"]\nEXPOSE 80 1-2/udp\nVOLUME ["/a"]\nSHELL ["a"]\nADD --checksum=x --unpack=false a b\nCMD a\n',
  ]
  const accepts = (text: string | Uint8Array): void => {
    try {
      const { lines, stages } = parseDockerfile(text, 'Dockerfile')
      for (const { from, instructions } of stages)
        for (const { range } of [from, ...instructions]) {
          expect(range.start.line).toBeGreaterThan(0)
          expect(range.end.line).toBeLessThanOrEqual(lines.length)
          expect(range.end.line).toBeGreaterThanOrEqual(range.start.line)
        }
    } catch (error) {
      if (!(error instanceof ArchimageError && error.code === 'DOCKERFILE_INVALID' && error.place?.file)) throw error
    }
  }

  test('any bytes give a Dockerfile or DOCKERFILE_INVALID with a place', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), accepts), { numRuns: 2_000 })
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 200 }), accepts), { numRuns: 1_000 })
  })

  test('so do mutations of valid files', () => {
    const piece = fc.constantFrom(
      '\n',
      '\\\n',
      '`\n',
      '"',
      "'",
      '[',
      ']',
      '$',
      '${',
      '<<',
      '<<E ',
      '--',
      '=',
      ' ',
      '#',
      '\r',
      '\0',
      'FROM x\n',
      'ONBUILD ',
      'E\n',
      '\u00a0',
    )
    fc.assert(
      fc.property(
        fc.constantFrom(...VALID),
        fc.array(fc.tuple(fc.nat(), fc.nat({ max: 6 }), piece), { minLength: 1, maxLength: 6 }),
        (valid, changes) => {
          let text = valid
          for (const [at, cut, insert] of changes) {
            const from = at % (text.length + 1)
            text = text.slice(0, from) + insert + text.slice(from + cut)
          }
          accepts(text)
        },
      ),
      { numRuns: 5_000 },
    )
  })
})
