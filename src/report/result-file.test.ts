import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RunEvent } from '../run/events.ts'
import { startReport } from './report.ts'
import { ResultFile, writeResult } from './result-file.ts'
import { AMD64, ARM64, cell, digestOf, failedRun } from './sample-run.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'archimage-result-'))
})
afterEach(() => {
  chmodSync(root, 0o700)
  rmSync(root, { recursive: true, force: true })
})

const read = () => JSON.parse(readFileSync(join(root, '.archimage/result.json'), 'utf8'))
const started: RunEvent = { type: 'run-started', cells: [cell('a', AMD64), cell('a', ARM64)], jobs: 1, project: 'demo' }
const ended = (platform: string): RunEvent => ({
  ...{
    type: 'cell-ended',
    cell: cell('a', platform),
    state: 'built',
    reason: 'new',
    seconds: 1,
    digest: digestOf('a'),
  },
})
const states = (): string[] => read().cells.map((one: { state: string }) => one.state)

describe('writeResult', () => {
  test('the file is the result, the folder hides itself, nothing else is left', () => {
    expect(writeResult(failedRun, root)).toBe(join(root, '.archimage/result.json'))
    expect(read()).toEqual(failedRun)
    expect(readdirSync(join(root, '.archimage')).sort()).toEqual(['.gitignore', 'result.json'])
    expect(readFileSync(join(root, '.archimage/.gitignore'), 'utf8')).toBe('*\n')
  })

  test('an own .gitignore stays', () => {
    mkdirSync(join(root, '.archimage'))
    writeFileSync(join(root, '.archimage/.gitignore'), 'mine\n')
    writeResult(failedRun, root)
    expect(readFileSync(join(root, '.archimage/.gitignore'), 'utf8')).toBe('mine\n')
  })

  test('replaces a link instead of following it, and does not enter one', () => {
    writeFileSync(join(root, 'victim'), 'untouched')
    mkdirSync(join(root, '.archimage'))
    symlinkSync('../victim', join(root, '.archimage/result.json'))
    writeResult(failedRun, root)
    expect(readFileSync(join(root, 'victim'), 'utf8')).toBe('untouched')

    rmSync(join(root, '.archimage'), { recursive: true })
    mkdirSync(join(root, 'outside'))
    symlinkSync('outside', join(root, '.archimage'))
    expect(() => writeResult(failedRun, root)).toThrow(/\.archimage is not a folder/)
    expect(readdirSync(join(root, 'outside'))).toEqual([])
  })
})

describe('ResultFile', () => {
  test('is there while the run goes on, not more often than every 100 ms', () => {
    let time = 0
    const file = new ResultFile(root, () => time)
    file.emit(started)
    expect(states()).toEqual(['not-run', 'not-run'])
    file.emit(ended(AMD64))
    expect(states()).toEqual(['not-run', 'not-run'])
    time = 150
    file.emit({ type: 'cell-log', cell: cell('a', ARM64), text: 'x' })
    file.close()
    expect(states()).toEqual(['built', 'not-run'])
    expect(read()).toMatchObject({ complete: false, exitCode: 1, project: 'demo' })
  })

  test('what could not be written at once comes later', async () => {
    const file = new ResultFile(root)
    file.emit(started)
    file.emit(ended(AMD64))
    file.emit(ended(ARM64))
    while (states().includes('not-run')) await new Promise(resolve => setTimeout(resolve, 10))
    file.close()
  })

  test('in the end it is the result, also after close', () => {
    const file = new ResultFile(root, () => 0)
    for (const event of [started, ended(AMD64), { type: 'run-ended', result: failedRun } as const]) file.emit(event)
    file.close()
    expect(read()).toEqual(failedRun)
  })

  test('a place that cannot be written is an error of the end only', () => {
    writeFileSync(join(root, '.archimage'), '')
    const file = new ResultFile(root, () => 0)
    file.emit(started)
    file.emit(ended(AMD64))
    expect(() => file.emit({ type: 'run-ended', result: failedRun })).toThrow(/not a folder/)
    file.close()
  })

  test('no run, no file', () => {
    new ResultFile(root).close()
    expect(existsSync(join(root, '.archimage'))).toBe(false)
  })
})

test('startReport: where nothing can be written, one warning says so and the run ends as it would', () => {
  writeFileSync(join(root, '.archimage'), '')
  let text = ''
  const stream = { write: (part: string) => (text += part) }
  const report = startReport({ mode: 'plain', stream, env: {}, root })
  const log: RunEvent = { type: 'cell-log', cell: cell('a', AMD64), text: 'words\n' }
  const result = { ...failedRun, warnings: [] }
  for (const event of [started, log, ended(AMD64), { type: 'run-ended', result } as const]) report.emit(event)
  report.close()
  expect(text.match(/warning: /g)).toHaveLength(1)
  expect(text).toMatch(/warning: no result file: .*\.archimage is not a folder/)
  expect(text).toContain(' 1 warning ')
  expect(readFileSync(join(root, '.archimage'), 'utf8')).toBe('')
})

test('startReport: screen, logs and result tell the same failure', () => {
  let text = ''
  const stream = { write: (part: string) => (text += part) }
  const report = startReport({ mode: 'quiet', stream, env: {}, root })
  const failure = { code: 'STEP_FAILED', message: 'it broke' }
  report.emit(started)
  report.emit({ type: 'cell-log', cell: cell('a', AMD64), text: 'last words\n' })
  report.emit({ type: 'cell-ended', cell: cell('a', AMD64), state: 'failed', reason: '', seconds: 1, failure })
  const { emulated, engine } = { emulated: false, engine: 'native' }
  const one = { ...cell('a', AMD64), state: 'failed', reason: '', seconds: 1, emulated, engine, failure } as const
  report.emit({ type: 'run-ended', result: { ...failedRun, cells: [one], services: [] } })
  report.close()
  expect(read().cells[0].failure).toEqual({
    ...failure,
    log: ['last words'],
    logFile: '.archimage/logs/a-linux-amd64.log',
  })
  expect(text).toContain('| last words\n  whole log: .archimage/logs/a-linux-amd64.log')
})
