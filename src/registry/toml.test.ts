import { describe, expect, test } from 'bun:test'
import { isTable, parseToml, type TomlItem, type TomlValue } from './toml.ts'

function plain(value: TomlValue): unknown {
  if (isTable(value)) return Object.fromEntries([...value].map(([key, item]) => [key, plain(item.value)]))
  return Array.isArray(value) ? (value as TomlItem[]).map(item => plain(item.value)) : value
}
const read = (text: string) => plain(parseToml(text, 'f.conf'))

describe('TOML', () => {
  test('values of all kinds', () => {
    expect(
      read(`
# comment
a = "x\\ty\\u00e9\\"" # after
b = 'C:\\dir'
"quoted key" = true
n = -1_000
list = [ "one", # first
  'two', [1, 2], ]
t = { x = 1, "y" = "z" }
long = """
first \\
   second
third"""
dotted.key = false
`),
    ).toEqual({
      a: 'x\ty\u00e9"',
      b: 'C:\\dir',
      'quoted key': true,
      n: -1000,
      list: ['one', 'two', [1, 2]],
      t: { x: 1, y: 'z' },
      long: 'first second\nthird',
      dotted: { key: false },
    })
  })

  test('tables, arrays of tables, and tables inside the last of them', () => {
    expect(
      read(
        '[[registry]]\r\nprefix = "a"\r\n[[registry.mirror]]\nlocation="m1"\n[[registry.mirror]]\nlocation="m2"\n[[registry]]\nprefix="b"\n[registry.x]\ny=1\n[aliases]\n"n" = "v"',
      ),
    ).toEqual({
      registry: [
        { prefix: 'a', mirror: [{ location: 'm1' }, { location: 'm2' }] },
        { prefix: 'b', x: { y: 1 } },
      ],
      aliases: { n: 'v' },
    })
  })

  test.each([
    ['a = 1\nb =', ':2: a value is missing'],
    ['a = hello', 'strings stand in quotes'],
    ['\n\na = "x', ':3: a string is not closed'],
    ['a = 1\na = 2', ':2: "a" is given twice'],
    ['[t', 'not closed'],
    ['a = [1 2]', '"," or "]"'],
    ['a = 1 b = 2', 'was not expected'],
    ['= 1', 'a key was expected'],
    ['a = "\\q"', 'no escape'],
    [`a = ${'['.repeat(1000)}`, 'nested too deeply'],
    ['a = 1\n[[a]]', 'already a value'],
    ['a = 1979-05-27T07:32:00Z', 'not a value'],
  ])('%j is an error', (text, says) => {
    expect(() => parseToml(text, 'f.conf')).toThrow(says)
    expect(() => parseToml(text, 'f.conf')).toThrow(/^f\.conf:\d+: /)
  })
})
