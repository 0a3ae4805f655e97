import { expect, test } from 'bun:test'
import { parseDockerfile } from '../dockerfile/parse.ts'
import type { PlannedCell } from './graph.ts'
import { unusedArguments } from './unused-arguments.ts'

const cell = (name: string, text: string, args: Readonly<Record<string, string>> = {}): PlannedCell =>
  ({ service: { name, args }, dockerfile: parseDockerfile(text, `${name}/Dockerfile`) }) as unknown as PlannedCell

test('arguments that no ARG takes are told, with what was meant', () => {
  const api = cell('api', 'ARG GO_VERSION\nFROM scratch\nARG PORT=1\n')
  expect(unusedArguments([api], ['GO_VERSION', 'PORT'])).toEqual([])
  expect(unusedArguments([api], ['GO_VERSOIN', 'QUITE_ELSE'])).toEqual([
    '--build-arg GO_VERSOIN: no ARG of api/Dockerfile takes it (did you mean "GO_VERSION"?)',
    '--build-arg QUITE_ELSE: no ARG of api/Dockerfile takes it',
  ])
})

test('one that any Dockerfile of the run takes is used; so is one of a trigger', () => {
  const cells = [cell('a', 'FROM scratch\nARG A\n'), cell('b', 'FROM scratch\nONBUILD ARG B\n')]
  expect(unusedArguments(cells, ['A', 'B', 'C'])).toEqual([
    '--build-arg C: no ARG of any Dockerfile takes it (did you mean "A"?)',
  ])
})

test('those of a service are for its own Dockerfile', () => {
  const cells = [cell('a', 'FROM scratch\nARG A\n', { A: '1', VERSION: '2' }), cell('b', 'FROM scratch\nARG VERSION\n')]
  expect(unusedArguments(cells, [])).toEqual(['args of a: no ARG of a/Dockerfile takes VERSION'])
})

test('what means something without ARG is never told', () => {
  const names = [
    'HTTP_PROXY',
    'no_proxy',
    'BUILDKIT_SYNTAX',
    'SOURCE_DATE_EPOCH',
    'TARGETARCH',
    'TARGETSTAGE',
    'BUILDPLATFORM',
  ]
  expect(unusedArguments([cell('a', 'FROM scratch\n')], names)).toEqual([])
})
