import { expect, test } from 'bun:test'
import { compareVersions, parseVersion, versionRange } from './version.ts'

test('versions in order', () => {
  // semver.org, section 11
  const order = [
    ...[
      '1.0.0-alpha',
      '1.0.0-alpha.1',
      '1.0.0-alpha.beta',
      '1.0.0-beta',
      '1.0.0-beta.2',
      '1.0.0-beta.11',
      '1.0.0-rc.1',
    ],
    ...['1.0.0', '1.0.1', '1.2', '1.10.0', 'v2', '2.0.0.1'],
  ].map(text => parseVersion(text)!)
  for (const [i, a] of order.entries())
    for (const [j, b] of order.entries()) expect(Math.sign(compareVersions(a, b))).toBe(Math.sign(i - j))
  for (const text of ['latest', 'v', '1.x', '1..2', '1.2-', '']) expect(parseVersion(text)).toBeUndefined()
})

const cases: readonly (readonly ['skopeo' | 'regsync', string, readonly string[], readonly string[]])[] = [
  ['skopeo', '>=3.14', ['3.14', '3.14.1', 'v4'], ['3.13.9', 'latest', '4.0.0-rc.1']],
  ['skopeo', '>= 1.2, < 2', ['1.2.0', '1.9'], ['2.0.0', '1.1']],
  ['skopeo', '^1.2.3', ['1.2.3', '1.9.0'], ['1.2.2', '2.0.0']],
  ['skopeo', '^0.2.3', ['0.2.3', '0.2.9'], ['0.3.0']],
  ['skopeo', '^0.0.3', ['0.0.3'], ['0.0.4']],
  ['skopeo', '^0.0', ['0.0.9'], ['0.1.0']],
  ['skopeo', '~1.2.3', ['1.2.3', '1.2.9'], ['1.3.0']],
  ['skopeo', '~1', ['1.0', '1.9'], ['2.0']],
  ['skopeo', '1.2', ['1.2.0', '1.2.9'], ['1.3.0']],
  ['skopeo', '1.x', ['1.0.0', '1.9.9'], ['2.0.0']],
  ['skopeo', '*', ['0.0.1', '9'], ['9.0.0-rc.1', 'x']],
  ['skopeo', '>1.2', ['1.3.0'], ['1.2.9']],
  ['skopeo', '<=1.2', ['1.2.9'], ['1.3.0']],
  ['skopeo', '!=1.2.3', ['1.2.4'], ['1.2.3']],
  ['skopeo', '1.2 - 1.4', ['1.2.0', '1.4.9'], ['1.5.0']],
  ['skopeo', '^1 || ^3', ['1.5.0', '3.0.0'], ['2.0.0']],
  ['skopeo', '>=1.0.0-rc.1', ['1.0.0-rc.2', '1.0.0'], ['1.0.0-beta']],
  ['regsync', '>=1.0.0 <2.0.0', ['1.0.0', '1.5.0-rc.1'], ['2.0.0', 'edge']],
  ['regsync', '1.2', ['1.2.0', 'v1.2'], ['1.2.1']],
  ['regsync', '~1.2.3', ['1.2.9'], ['1.3.0']],
  ['regsync', '^0.0.3', ['0.0.3'], ['0.0.4']],
]
for (const [dialect, range, inside, outside] of cases)
  test(`${dialect}: ${range}`, () => {
    const fits = versionRange(range, dialect)
    expect(inside.filter(tag => !fits(tag))).toEqual([])
    expect(outside.filter(fits)).toEqual([])
  })

test('what is no range', () => {
  for (const text of ['', 'latest', '>=x.y', '>> 1']) expect(() => versionRange(text, 'skopeo')).toThrow('not a range')
})
