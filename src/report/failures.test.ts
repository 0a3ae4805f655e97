import { expect, test } from 'bun:test'
import type { ServiceResult } from '../run/events.ts'
import { renderFailures } from './failures.ts'
import { AMD64, ARM64, cellResult, digestOf, failedRun, missingFile } from './sample-run.ts'

test('one block per failure, those that are alike together, then what was held up', () => {
  expect(renderFailures(failedRun).join('\n')).toBe(`\
✗ api linux/arm64, linux/arm/v7 failed after 3.2s [STEP_FAILED]
  api/Dockerfile:3:6
      1 │ FROM base
      2 │ WORKDIR /app
  >>> 3 │ COPY dist/app /app
        │      ^
      4 │ CMD ["/app"]

  COPY dist/app: the context has no dist/app

  last lines of the log of linux/arm64
  │ looking for dist/app
  whole log: .archimage/logs/api-linux-arm64.log
             .archimage/logs/api-linux-arm-v7.log

  → build it first

✗ web: what is now in reg.example is not what was built
  - linux/amd64: the config says arm64

– 2 cells were not built
  - web linux/arm64: needs api, which failed
  - 网站 windows/amd64: interrupted`)
})

test('nothing to say where all is right', () => {
  expect(renderFailures({ ...failedRun, cells: [cellResult('a', AMD64)], services: [] })).toEqual([])
})

const refused = (service: string, message: string, hint = 'mend it'): ServiceResult => {
  const image = `team/${service}`
  const failure = { code: 'REGISTRY_UNREACHABLE', message, hint }
  return { ...{ service, image, digest: digestOf('b'), tags: [], verified: [] }, failure }
}

test('services that are not published for one cause share a block', () => {
  const why = (image: string, digit: string) =>
    `registry r:5000, repository ${image}: blob ${digestOf(digit)}: no answer`
  const services = [
    refused('api', why('x/team/api', 'a'), 'look at r:5000/team/api'),
    refused('web', why('x/team/web', 'c'), 'look at r:5000/team/web'),
    refused('api-v2', 'denied'),
  ]
  expect(renderFailures({ ...failedRun, cells: [], services })).toEqual([
    '✗ api, web not published [REGISTRY_UNREACHABLE]',
    '  registry r:5000, repository x/*: blob sha256:*: no answer',
    '  → look at r:5000/*',
    '',
    '✗ api-v2 not published [REGISTRY_UNREACHABLE]',
    '  denied',
    '  → mend it',
  ])
})

test('a failure of one service keeps its names', () => {
  const services = [refused('api', `pushing team/api: ${digestOf('a')} is missing`)]
  expect(renderFailures({ ...failedRun, cells: [], services })[1]).toBe(
    `  pushing team/api: ${digestOf('a')} is missing`,
  )
})

test('an interrupted run says once what was not built', () => {
  const idle = ['a', 'b', 'c'].map(name => cellResult(name, AMD64, { state: 'cancelled', reason: 'interrupted' }))
  const held = cellResult('d', AMD64, { state: 'not-run', reason: 'needs a, which was not built' })
  const run = { ...failedRun, exitCode: 130, cells: [...idle, held], services: [] }
  expect(renderFailures(run)).toEqual(['– 4 cells were not built: interrupted'])
})

test('a place that the message begins with is not repeated', () => {
  const failure = { code: 'DOCKERFILE_INVALID', message: 'api/Dockerfile has no stage "biuld"', file: 'api/Dockerfile' }
  const cells = [cellResult('api', AMD64, { state: 'failed', seconds: 1, failure })]
  expect(renderFailures({ ...failedRun, cells, services: [] })[1]).toBe('  api/Dockerfile has no stage "biuld"')
})

test('failures that differ have blocks of their own', () => {
  const cells = [
    cellResult('api', AMD64, { state: 'failed', failure: missingFile }),
    cellResult('api', ARM64, { state: 'failed', failure: { ...missingFile, message: 'another' } }),
    cellResult('web', AMD64, { state: 'failed', failure: missingFile }),
  ]
  const titles = renderFailures({ ...failedRun, cells, services: [] }).filter(line => line.startsWith('✗'))
  expect(titles.map(title => title.split(' failed')[0])).toEqual([
    '✗ api linux/amd64',
    '✗ api linux/arm64',
    '✗ web linux/amd64',
  ])
})

test('a failure of which only the reason is known', () => {
  const cells = [cellResult('a', AMD64, { state: 'failed', reason: 'it broke', seconds: 1 })]
  expect(renderFailures({ ...failedRun, cells, services: [] })).toEqual([
    '✗ a linux/amd64 failed after 1.0s [CELL_FAILED]',
    '  it broke',
  ])
})

test('a long log shows its end, and none of its control sequences', () => {
  const log = Array.from({ length: 50 }, (_, index) => `\x1b[3${index % 8}mline ${index}\x07`)
  const cells = [cellResult('a', AMD64, { state: 'failed', failure: { ...missingFile, log } })]
  const lines = renderFailures({ ...failedRun, cells, services: [] }, { columns: 40 })
  const shown = lines.filter(line => line.startsWith('  │ '))
  expect(shown).toHaveLength(20)
  expect(shown[0]).toBe('  │ line 30\\x07')
  expect(shown.at(-1)).toBe('  │ line 49\\x07')
})
