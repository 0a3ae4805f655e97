import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import {
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
import type { Failure, RunEvent } from '../run/events.ts'
import { LogFiles, logFileName } from './log-files.ts'
import { AMD64, ARM64, cell, cellResult, failedRun } from './sample-run.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'archimage-logs-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const api = cell('api', ARM64)
const path = (): string => join(root, '.archimage/logs/api-linux-arm64.log')
const log = (text: string): RunEvent => ({ type: 'cell-log', cell: api, text })
const step = (text: string, number = 1): RunEvent => ({
  type: 'cell-step',
  cell: api,
  step: text,
  number,
  total: 2,
  cached: false,
})
const failure: Failure = { code: 'STEP_FAILED', message: 'no' }
const ended: RunEvent = { type: 'cell-ended', cell: api, state: 'failed', reason: '', seconds: 1, failure }

describe('log files', () => {
  test('hold the lines of the steps that said something, clean', () => {
    const logs = new LogFiles(root)
    for (const event of [step('FROM x'), step('RUN make', 2), log('one\x1b[2J\ntw'), log('o')]) logs.emit(event)
    logs.emit(ended)
    expect(readFileSync(path(), 'utf8')).toBe('[2/2] RUN make\none\ntwo\n')
    expect(readFileSync(join(root, '.archimage/.gitignore'), 'utf8')).toBe('*\n')
  })

  test('a cell that says nothing has none', () => {
    const logs = new LogFiles(root)
    for (const event of [step('FROM x'), ended]) logs.emit(event)
    expect(existsSync(join(root, '.archimage'))).toBe(false)
  })

  test('failures get the last 20 lines and the file, here and in the result', () => {
    const logs = new LogFiles(root)
    logs.emit(log(Array.from({ length: 30 }, (_, index) => `line ${index}\n`).join('')))
    const lines = Array.from({ length: 20 }, (_, index) => `line ${index + 10}`)
    const known = { ...failure, log: lines, logFile: '.archimage/logs/api-linux-arm64.log' }
    expect(logs.emit(ended)).toMatchObject({ failure: known })
    const cells = [cellResult('api', ARM64, { state: 'failed', failure }), cellResult('api', AMD64)]
    const end = logs.emit({ type: 'run-ended', result: { ...failedRun, cells } })
    expect(end).toMatchObject({ result: { cells: [{ failure: known }, cells[1]] } })
  })

  test('those of a former run go when a run starts, others stay', () => {
    mkdirSync(join(root, '.archimage/logs'), { recursive: true })
    writeFileSync(path(), 'old')
    writeFileSync(join(root, '.archimage/logs/other.log'), 'other')
    new LogFiles(root).emit({ type: 'run-started', cells: [api], jobs: 1, project: 'x' })
    expect(readdirSync(join(root, '.archimage/logs'))).toEqual(['other.log'])
  })

  test('a link in the place of file or folder leads nowhere', () => {
    const outside = join(root, 'outside')
    mkdirSync(outside)
    writeFileSync(join(outside, 'victim'), 'untouched')
    mkdirSync(join(root, '.archimage/logs'), { recursive: true })
    symlinkSync(join(outside, 'victim'), path())
    new LogFiles(root).emit(log('x\n'))
    expect(readFileSync(join(outside, 'victim'), 'utf8')).toBe('untouched')
    expect(readFileSync(path(), 'utf8')).toBe('x\n')

    rmSync(join(root, '.archimage'), { recursive: true })
    symlinkSync(outside, join(root, '.archimage'))
    const logs = new LogFiles(root)
    logs.emit({ type: 'run-started', cells: [api], jobs: 1, project: 'x' })
    logs.emit(log('x\n'))
    expect(logs.emit(ended)).toMatchObject({ failure: { log: ['x'] } })
    expect(readdirSync(outside)).toEqual(['victim'])
  })

  test('without a root a failure still has its last lines', () => {
    const logs = new LogFiles(undefined)
    logs.emit({ type: 'run-started', cells: [api], jobs: 1, project: 'x' })
    logs.emit(log('x\n'))
    const { failure } = logs.emit(ended) as RunEvent & { type: 'cell-ended' }
    expect(failure).toMatchObject({ log: ['x'] })
    expect(failure).not.toHaveProperty('logFile')
    expect(readdirSync(root)).toEqual([])
  })

  test('closing in the middle keeps what there is', () => {
    const logs = new LogFiles(root)
    logs.emit(log('x\n'))
    logs.close()
    logs.close()
    expect(readFileSync(path(), 'utf8')).toBe('x\n')
  })
})

test('names of log files are plain, and different for different cells', () => {
  expect(logFileName(cell('api', 'linux/arm/v7'))).toBe('api-linux-arm-v7.log')
  expect(logFileName(cell('api', 'windows(10.0.20348)/amd64'))).toBe('api-windows-10.0.20348-amd64.log')
  const names = ['a/b', 'a_b', '../a_b', 'A_B', '..', ''].map(name => logFileName(cell(name, AMD64)))
  expect(new Set(names.map(name => name.toLowerCase())).size).toBe(6)
  for (const name of names) expect(name).toMatch(/^[A-Za-z0-9_-][A-Za-z0-9._-]*$/)
})
