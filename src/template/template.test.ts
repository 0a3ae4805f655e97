import { describe, expect, test } from 'bun:test'
import { isArchimageError } from '../errors/error.ts'
import { parseTemplate } from './parse.ts'
import { renderTemplate } from './render.ts'

const DATA = {
  Name: 'demo/app:1',
  Digest: 'sha256:ab',
  Size: 1234,
  Empty: [],
  Labels: { b: '2', a: '1', 'org.x': 'y', constructor: 'mine' },
  Manifest: { mediaType: 'index', manifests: [{ platform: { os: 'linux', 'os.version': '10' } }, { size: 0 }] },
  Env: ['A=1', 'B=2'],
}

const render = (text: string): string => renderTemplate(parseTemplate(text), DATA)

describe('as Go has it', () => {
  // what Go's text/template prints for these with the same data
  const cases: readonly (readonly [string, string])[] = [
    ['', ''],
    ['plain } text', 'plain } text'],
    ['{{.Name}}', 'demo/app:1'],
    ['{{ .Size }} B', '1234 B'],
    ['{{.Env}} {{.Labels}}', '[A=1 B=2] map[a:1 b:2 constructor:mine org.x:y]'],
    ['{{.Manifest.MediaType}}', 'index'],
    ['{{range .Manifest.Manifests}}<{{.Platform.OS}}{{.Platform.OSVersion}}>{{end}}', '<linux10><>'],
    ['{{range $i, $e := .Env}}{{$i}}={{$e}};{{end}}', '0=A=1;1=B=2;'],
    ['{{range $k, $v := .Labels}}{{$k}} {{$v}},{{end}}', 'a 1,b 2,constructor mine,org.x y,'],
    ['{{range .Empty}}x{{else}}none{{end}}', 'none'],
    ['{{if .Empty}}a{{else if .Size}}b{{else}}c{{end}}', 'b'],
    ['{{with .Labels}}{{.a}}{{end}}{{with .Empty}}x{{else}}y{{end}}', '1y'],
    ['{{index .Labels "org.x"}} {{index .Labels "none"}}|{{index .Env 1}}', 'y |B=2'],
    ['{{(index .Manifest.manifests 0).Platform.os}}', 'linux'],
    ['{{len .Env}} {{len .Name}} {{len .Labels}}', '2 10 4'],
    ['{{json .Env}} {{.Labels | json}}', '["A=1","B=2"] {"b":"2","a":"1","org.x":"y","constructor":"mine"}'],
    ['{{printf "%-5s|%5d|%q|%05d|%.2f|%%|%v" "ab" 42 "x\\"" 7 1.5 .Env}}', 'ab   |   42|"x\\""|00007|1.50|%|[A=1 B=2]'],
    ['{{join .Env ", "}}', 'A=1, B=2'],
    ['{{.Name | upper | printf "<%s>"}}', '<DEMO/APP:1>'],
    ['{{if eq .Size 1 1234}}yes{{end}}{{if ne .Name "x"}}!{{end}}', 'yes!'],
    ['{{if and (gt .Size 10) (lt .Size 10000)}}in{{end}}', 'in'],
    ['{{or "" .Empty "last"}} {{and 1 0 2}} {{not .Empty}}', 'last 0 true'],
    ['a {{- /* gone */ -}} b', 'ab'],
    ['a  {{- .Size -}}  b', 'a1234b'],
    ['{{$x := 1}}{{if true}}{{$x = 2}}{{$x}}{{$x := 3}}{{$x}}{{end}}{{$x}}', '232'],
    ['{{range .Env}}{{if eq . "B=2"}}{{break}}{{end}}{{.}}{{end}}', 'A=1'],
    ['{{range .Env}}{{if eq . "A=1"}}{{continue}}{{end}}{{.}}{{end}}', 'B=2'],
    ['{{range .Env}}{{$.Digest}} {{end}}', 'sha256:ab sha256:ab '],
    ['{{`raw "x" \\n`}} {{"tab\\t."}}', 'raw "x" \\n tab\t.'],
    ['{{slice .Name 0 4}} {{slice .Env 1}}', 'demo [B=2]'],
    ['{{range 3}}{{.}}{{end}}', '012'],
    ['{{print 1 2}}{{println "x"}}', '1 2x\n'],
  ]
  for (const [text, expected] of cases) test(text || 'nothing', () => expect(render(text)).toBe(expected))
})

describe('mistakes have a place', () => {
  const cases: readonly (readonly [string, string, number, string?])[] = [
    ['{{.Nam}}', 'there is no field .Nam', 3, 'did you mean "Name"?'],
    ['ab {{.Name', 'this "{{" has no "}}"', 4],
    ['{{}}', 'there is nothing between "{{" and "}}"', 1],
    ['{{if .Name}}x', 'this "if" has no {{end}}', 3],
    ['x{{end}}', '"end" has nothing that it belongs to', 4],
    ['{{if .Name}}{{else}}{{else}}{{end}}', 'a second "else"', 23],
    ['{{jsn .}}', 'there is no function "jsn"', 3, 'did you mean "json"?'],
    ['{{$x}}', 'the variable $x does not exist here', 3],
    ['{{if true}}{{$y := 1}}{{end}}{{$y}}', 'the variable $y does not exist here', 32],
    ['{{.Name "x"}}', 'this is not a function, so nothing can be given to it', 3],
    ['{{.Name.First}}', 'a string has no field .First', 8],
    ['{{index .Env 9}}', 'the list has 2 parts, there is no number 9', 3],
    ['{{len .Size}}', 'a number has no length', 3],
    ['{{range .Name}}{{end}}', 'range goes through lists and maps, not through a string', 9],
    ['{{template "x"}}', '"template" is not supported: a template here is one piece', 3],
    ['{{break}}', '"break" stands outside of a range', 3],
    ['{{"abc}}', 'this string does not end', 3],
    ['{{json}}', 'json takes 1 value, not 0', 3],
    ['{{printf "%s"}}', '%s of printf has no value', 3],
    ['{{eq .Name 1}}', 'a string is not compared with a number', 3],
    ['{{(.Name}}', 'this "(" has no ")"', 3],
    ['{{.Name | }}', 'a value is missing', 11],
    ['{{"(".x}}', '"(" has no fields', 6],
    [`${'{{if true}}'.repeat(120)}`, 'more than 100 blocks inside each other', 1103],
    [`{{${'('.repeat(120)}`, 'this "{{" has no "}}"', 1],
  ]
  for (const [text, message, column, hint] of cases)
    test(text.slice(0, 50), () => {
      let caught: unknown
      try {
        render(text)
      } catch (error) {
        caught = error
      }
      if (!isArchimageError(caught)) throw caught ?? new Error('no error')
      expect(caught.message).toBe(`the template of --format: ${message}`)
      expect(caught.place).toMatchObject({ file: '--format', line: 1, column })
      if (hint !== undefined) expect(caught.hint).toBe(hint)
    })
})

test('fields that are asked for are known before', () => {
  expect([...parseTemplate('{{.A.B}}{{range $x := .C}}{{$x.D}}{{end}}').fields].sort()).toEqual(['A', 'B', 'C', 'D'])
})

test('what would not end, or fill the memory, is a mistake', () => {
  for (const [source, message] of [
    ['{{range 100000}}{{range 100000}}{{end}}{{end}}', 'it takes more than'],
    ['{{$x := "abcdefgh"}}{{range 60}}{{$x = print $x $x}}{{end}}', 'its text has more than'],
  ] as const)
    expect(() => renderTemplate(parseTemplate(source), DATA)).toThrow(message)
})
