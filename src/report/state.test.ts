import { describe, expect, test } from 'bun:test'
import type { RunEvent } from '../run/events.ts'
import { AMD64, ARM64, cell, digestOf, failedRun } from './sample-run.ts'
import { foldState, initialState, interimResult, type RunState, transferRate } from './state.ts'

/** Events a second apart, from second 0. */
const fold = (...events: RunEvent[]): RunState =>
  events.reduce((state, event, index) => foldState(state, event, index * 1000), initialState())

const started: RunEvent = {
  type: 'run-started',
  cells: [cell('api', AMD64), cell('api', ARM64), cell('web', AMD64)],
  jobs: 2,
  project: 'demo',
}

describe('foldState', () => {
  test('a cell from waiting to built', () => {
    const state = fold(
      started,
      { type: 'cell-started', cell: cell('api', AMD64) },
      { type: 'cell-engine', cell: cell('api', AMD64), engine: 'native', emulated: true },
      { type: 'cell-step', cell: cell('api', AMD64), step: 'COPY a b', number: 2, total: 3, cached: false },
      { type: 'cell-log', cell: cell('api', AMD64), text: 'one\ntw' },
      { type: 'cell-log', cell: cell('api', AMD64), text: 'o\n\n' },
    )
    const api = state.cells.get('api linux/amd64')!
    expect(api).toMatchObject({ state: 'running', startedAt: 1000, emulated: true, lastLine: 'two' })
    expect(api.step).toEqual({ text: 'COPY a b', number: 2, total: 3, cached: false })
    foldState(state, { type: 'cell-ended', cell: cell('api', AMD64), state: 'built', reason: 'new', seconds: 3 }, 5000)
    expect(api).toMatchObject({ state: 'built', reason: 'new', seconds: 3 })
    expect([...state.cells.values()].map(one => one.state)).toEqual(['built', 'waiting', 'waiting'])
    expect([...state.services.keys()]).toEqual(['api', 'web'])
  })

  test('a step takes the log line of the one before away', () => {
    const state = fold(
      { type: 'cell-log', cell: cell('api', AMD64), text: 'old\n' },
      { type: 'cell-step', cell: cell('api', AMD64), step: 'RUN x', number: 1, total: 1, cached: false },
    )
    expect(state.cells.get('api linux/amd64')!.lastLine).toBe('')
  })

  test('transfers have a rate and go when they are done', () => {
    const transfer = (current: number, done = false): RunEvent => ({
      ...{ type: 'transfer', id: 'x', direction: 'pull', what: 'layer', total: 100, current, done },
    })
    const state = fold(transfer(0), transfer(10), transfer(30))
    expect(transferRate(state.transfers.get('x')!, 2000)).toBe(15)
    foldState(state, transfer(100, true), 3000)
    expect(state.transfers.size).toBe(0)
  })

  test('the rate forgets what is long ago', () => {
    const state = initialState()
    for (let second = 0; second <= 20; second++) {
      const current = second <= 10 ? 0 : (second - 10) * 50
      const event: RunEvent = { type: 'transfer', id: 'x', direction: 'push', what: '', total: 0, current, done: false }
      foldState(state, event, second * 1000)
    }
    expect(transferRate(state.transfers.get('x')!, 20_000)).toBe(50)
    expect(state.transfers.get('x')!.samples.length).toBeLessThan(10)
  })

  test('tags, verifications, warnings, the end', () => {
    const state = fold(
      started,
      { type: 'tag', service: 'api', reference: 'r:5000/api:1', digest: digestOf('a'), state: 'moved' },
      { type: 'verified', service: 'api', where: 'r:5000', ok: false, problems: ['no'] },
      { type: 'warning', message: 'hm' },
      { type: 'warning', message: 'oh', cell: cell('web', AMD64) },
      { type: 'run-ended', result: failedRun },
    )
    expect(state.services.get('api')!.tags).toEqual([
      { reference: 'r:5000/api:1', digest: digestOf('a'), state: 'moved' },
    ])
    expect(state.services.get('api')!.verified).toEqual([{ where: 'r:5000', ok: false, problems: ['no'] }])
    expect(state.warnings).toEqual(['hm', 'web linux/amd64: oh'])
    expect(state.result).toBe(failedRun)
  })
})

test('the interim result names every cell and claims nothing', () => {
  const state = fold(
    started,
    { type: 'cell-started', cell: cell('api', AMD64) },
    { type: 'cell-engine', cell: cell('api', AMD64), engine: 'native', emulated: false },
    {
      ...{ type: 'cell-ended', cell: cell('api', AMD64), state: 'built', reason: 'new', seconds: 3 },
      ...{ digest: digestOf('a'), size: 7 },
    },
    { type: 'cell-started', cell: cell('api', ARM64) },
    { type: 'cell-engine', cell: cell('api', ARM64), engine: 'native', emulated: false },
    { type: 'tag', service: 'api', reference: 'r:5000/api:1', digest: digestOf('a'), state: 'moved' },
  )
  const result = interimResult(state, 9000)
  expect(result).toMatchObject({ complete: false, exitCode: 1, seconds: 9, started: '1970-01-01T00:00:00.000Z' })
  expect(result.cells.map(one => [one.state, one.reason])).toEqual([
    ['built', 'new'],
    ['not-run', 'the run had not finished it'],
    ['not-run', 'the run had not come to it'],
  ])
  expect(result.cells[0]).toMatchObject({ digest: digestOf('a'), size: 7 })
  expect(result.services.map(one => one.image)).toEqual(['r:5000/api', ''])
})
