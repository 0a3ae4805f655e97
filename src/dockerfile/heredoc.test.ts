import { describe, expect, test } from 'bun:test'
import type { Instruction, RunInstruction } from './ast.ts'
import { chompTabs, heredocsIn, parseHeredoc } from './heredoc.ts'
import { parseDockerfile } from './parse.ts'
import { scriptOf } from './script.ts'

const body = (text: string): readonly Instruction[] =>
  parseDockerfile(`FROM scratch\n${text}`, 'Dockerfile').stages[0]!.instructions
const script = (text: string, windows = false): ReturnType<typeof scriptOf> =>
  scriptOf(body(text)[0] as RunInstruction, windows)

describe('a delimiter', () => {
  test.each([
    ['<<EOF', { name: 'EOF', expand: true, chomp: false, fd: 0 }],
    ['<<-EOF', { name: 'EOF', expand: true, chomp: true, fd: 0 }],
    ['3<< EOF', { name: 'EOF', expand: true, chomp: false, fd: 3 }],
    [`<<'EOF'`, { name: 'EOF', expand: false, chomp: false, fd: 0 }],
    ['<<-"EOF"', { name: 'EOF', expand: false, chomp: true, fd: 0 }],
    [`<<E'O'F`, { name: 'EOF', expand: false, chomp: false, fd: 0 }],
    [`<<it\\'s`, { name: `it's`, expand: true, chomp: false, fd: 0 }],
    [`<<'two words'`, { name: 'two words', expand: false, chomp: false, fd: 0 }],
    ['<<$EOF', { name: '$EOF', expand: true, chomp: false, fd: 0 }],
    ['<<file.txt', { name: 'file.txt', expand: true, chomp: false, fd: 0 }],
  ])('%p', (word, mark) => {
    expect(parseHeredoc(word)).toEqual(mark)
  })

  test.each(['', 'EOF', '<<', '<<-', '<EOF', '<<<EOF', '<<a b', 'x<<EOF', '<<""'])('%p is none', word => {
    expect(parseHeredoc(word)).toBeUndefined()
  })

  test('with an open quote is an error', () => {
    expect(() => parseHeredoc(`<<'EOF`)).toThrow('quote')
  })

  test.each([
    ['RUN <<A cat && <<-B x', ['A', 'B']],
    ['RUN << A', ['A']],
    [`RUN "<<A" '<<B' \\<<C`, []],
    ['RUN echo $((1<<2))', []],
    ['RUN cat <<A > ${x:0:3}', ['A']],
    [`RUN it's <<A`, []],
  ])('those of %p are %p', (line, names) => {
    expect(heredocsIn(line).map(({ name }) => name)).toEqual(names)
  })
})

describe('in a file', () => {
  test('COPY writes files named by their delimiters', () => {
    const [copy, run] = body(`COPY a <<one.txt <<-'two' b /c/\n1 $x\nEOF\none.txt\n\t\t2\n\t two\n\ttwo\nRUN x`)
    expect(copy).toMatchObject({
      sources: ['a', 'b'],
      dest: '/c/',
      files: [
        { name: 'one.txt', content: '1 $x\nEOF\n', expand: true },
        { name: 'two', content: '2\n two\n', raw: '\t\t2\n\t two\n', expand: false, chomp: true },
      ],
      range: { start: { line: 2 }, end: { line: 8 } },
    })
    expect(copy!.heredocs.map(({ range }) => [range.start.line, range.end.line])).toEqual([
      [3, 5],
      [6, 8],
    ])
    expect(run).toMatchObject({ kind: 'run', range: { start: { line: 9 } } })
  })

  test('comments and continuations in a body are text, and carriage returns stay', () => {
    expect(body('RUN <<EOF\n# a\nb \\\n\r\nEOF\r\nUSER x')).toMatchObject([
      { heredocs: [{ content: '# a\nb \\\n\r\n' }] },
      { kind: 'user' },
    ])
  })

  test('the terminator stands alone: blanks before it only as tabs of <<-', () => {
    expect(body('RUN <<EOF\n EOF\nEOF \nEOF')).toMatchObject([{ heredocs: [{ content: ' EOF\nEOF \n' }] }])
    expect(() => body('RUN <<EOF\n\tEOF\n')).toThrow('unterminated heredoc')
    expect(() => body('RUN <<-EOF\n  EOF\n')).toThrow('unterminated heredoc')
  })

  test('\\ is their escape character under escape=` too', () => {
    const text = "# escape=`\nFROM scratch\nRUN <<\\'E\n$x\n'E\n"
    expect(parseDockerfile(text, 'Dockerfile').stages[0]!.instructions).toMatchObject([
      { heredocs: [{ name: "'E", expand: true }] },
    ])
  })

  test('only RUN, COPY, ADD and ONBUILD of them have any, and not in the JSON form', () => {
    for (const line of ['USER <<X', 'RUN ["<<X"]', 'CMD <<X', 'ENV a=<<X', 'ONBUILD USER <<X'])
      expect(body(`${line}\nUSER y`)).toHaveLength(2)
    expect(body('ONBUILD RUN <<-X\n\ta\nX\nUSER y')).toMatchObject([
      { expression: 'RUN <<-X\n\ta\nX', instruction: { heredocs: [{ content: 'a\n' }] } },
      { kind: 'user' },
    ])
  })

  test('none is a destination', () => {
    expect(() => body('COPY a <<EOF\nEOF')).toThrow('destination')
  })

  test('leading tabs', () => {
    expect(chompTabs('\t\ta\n\t\n b\n\tc\td')).toBe('a\n\n b\nc\td')
  })
})

describe('the script of a RUN', () => {
  test.each([
    ['RUN a b', { kind: 'shell', text: 'a b' }],
    ['RUN ["a", "b"]', { kind: 'exec', args: ['a', 'b'] }],
    ['RUN <<EOF\na\nb $x\nEOF', { kind: 'shell', text: 'a\nb $x\n' }],
    ['RUN <<-EOF\n\ta\n\tEOF', { kind: 'shell', text: 'a\n' }],
    ['RUN <<X\n#!/usr/bin/python3\na\nX', { kind: 'file', name: 'X', content: '#!/usr/bin/python3\na\n' }],
    ['RUN <<X python3\na\nX', { kind: 'shell', text: '<<X python3\na\nX' }],
    ['RUN cat <<A <<-B\na\nA\n\tb\nB', { kind: 'shell', text: 'cat <<A <<-B\na\nA\n\tb\nB' }],
  ])('%p', (text, expected) => {
    expect(script(text)).toEqual(expected as ReturnType<typeof scriptOf>)
  })

  test('#! means nothing on windows', () => {
    expect(script('RUN <<X\n#!x\nX', true)).toEqual({ kind: 'shell', text: '#!x\n' })
  })
})
