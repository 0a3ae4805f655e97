import { describe, expect, test } from 'bun:test'
import { secret } from '../errors/redact.ts'
import type { RunEvent } from '../run/events.ts'
import type { ReportStream } from './frame.ts'
import { heartbeat } from './plain.ts'
import { createReporter, type ReportMode, resolveAuto } from './reporter.ts'
import { AMD64, ARM64, cell, cellResult, digestOf, failedRun } from './sample-run.ts'
import { Screen } from './screen.ts'
import { foldState, initialState } from './state.ts'

const api = cell('api', ARM64)
const digest = digestOf('a')
const run: readonly RunEvent[] = [
  { type: 'run-started', cells: [cell('api', AMD64), api], jobs: 2, project: 'demo' },
  { type: 'phase', phase: 'build' },
  { type: 'cell-started', cell: api },
  { type: 'cell-engine', cell: api, engine: 'native', emulated: true },
  { type: 'cell-step', cell: api, step: 'COPY a b', number: 1, total: 2, line: 3, cached: true },
  { type: 'cell-step', cell: api, step: 'RUN make', number: 2, total: 2, line: 4, cached: false },
  { type: 'cell-log', cell: api, text: '\x1b[32mcc\x1b[0m main.c\r\n10%\r50%\r100%\nbell\x07 and ' },
  { type: 'cell-log', cell: api, text: 'no end' },
  { type: 'cell-ended', cell: api, state: 'built', reason: 'main.c changed', seconds: 2.5, digest, size: 4_200_000 },
  { type: 'transfer', id: '1', direction: 'push', what: 'layer', current: 5, total: 5, done: true },
  { type: 'transfer', id: '2', direction: 'pull', what: 'a big layer', current: 2e8, total: 2e8, done: true },
  { type: 'tag', service: 'api', reference: 'r/api:1', digest, state: 'moved' },
  { type: 'verified', service: 'api', where: 'r', ok: true, problems: [] },
  { type: 'warning', message: 'nginx is\nthe registry’s', cell: api },
]

const collect = (
  mode: ReportMode,
  events: readonly RunEvent[],
  env: Record<string, string> = { LANG: 'C.UTF-8' },
): string => {
  let text = ''
  const stream: ReportStream = { write: part => (text += part) }
  const reporter = createReporter({ mode, stream, env, now: () => 0 })
  for (const event of events) reporter.emit(event)
  reporter.close()
  reporter.close()
  return text
}

describe('auto', () => {
  const terminal = { write() {}, isTTY: true }
  test('the tree on a terminal, lines elsewhere', () => {
    expect(resolveAuto(terminal, { TERM: 'xterm' })).toBe('tty')
    expect(resolveAuto(terminal, { TERM: 'dumb' })).toBe('plain')
    expect(resolveAuto(terminal, { TERM: 'xterm', CI: 'true' })).toBe('plain')
    expect(resolveAuto(terminal, { TERM: 'xterm', CI: '' })).toBe('tty')
    expect(resolveAuto({ write() {} }, { TERM: 'xterm' })).toBe('plain')
  })
})

describe('plain', () => {
  test('a large layer is told with the cell that wrote it, where there is but one', () => {
    const step = (platform: string, text: string): RunEvent => ({
      ...{ type: 'cell-step', cell: cell('api', platform), step: text, number: 1, total: 1, cached: false },
    })
    const wrote = (what: string): RunEvent => ({
      ...{ type: 'transfer', id: what, direction: 'write', what, current: 2e7, total: 2e7, done: true },
    })
    const both = [step(AMD64, 'COPY . .'), step(ARM64, 'COPY . .'), wrote('COPY . .')]
    const events = [step(AMD64, 'COPY a .'), wrote('COPY a .'), ...both]
    const lines = collect('plain', events).split('\n')
    expect(lines.filter(line => line.includes('wrote'))).toEqual([
      'api linux/amd64 | wrote 20.0 MB: COPY a .',
      'wrote 20.0 MB: COPY . .',
    ])
  })

  test('a line per change, each with its cell, nothing raw', () => {
    expect(collect('plain', run).split('\n')).toEqual([
      'demo: 2 cells of 1 service, 2 at a time',
      'building',
      'api linux/arm64 | started',
      'api linux/arm64 | by native, emulated',
      'api linux/arm64 | [1/2] COPY a b (cached)',
      'api linux/arm64 | [2/2] RUN make',
      'api linux/arm64 | cc main.c',
      'api linux/arm64 | 100%',
      'api linux/arm64 | bell\\x07 and no end',
      'api linux/arm64 | built in 2.5s: main.c changed, sha256:aaaaaaaaaaaa, 4.2 MB',
      'pulled 200 MB: a big layer',
      'api | r/api:1 moved, sha256:aaaaaaaaaaaa',
      'api | read back from r: as built',
      'api linux/arm64 | warning: nginx is',
      'api linux/arm64 | the registry’s',
      '',
    ])
  })

  test('ends with matrix and failures', () => {
    const text = collect('plain', [{ type: 'run-ended', result: failedRun }])
    expect(text.indexOf('6 of 10 cells right')).toBeGreaterThan(0)
    expect(text.indexOf('✗ api linux/arm64, linux/arm/v7 failed')).toBeGreaterThan(text.indexOf('6 of 10 cells right'))
  })

  test('colours only where they are forced', () => {
    expect(collect('plain', run)).not.toContain('\x1b')
    expect(collect('plain', run, { FORCE_COLOR: '1' })).toContain('\x1b[36mapi linux/arm64\x1b[39m | started')
  })

  test('the heartbeat names what runs, and is silent when nothing does', () => {
    const state = initialState()
    for (const event of run.slice(0, 6)) foldState(state, event, 1000)
    foldState(
      state,
      { type: 'transfer', id: '1', direction: 'pull', what: 'base', current: 5, total: 50, done: false },
      1000,
    )
    expect(heartbeat(state, 31_000)).toBe(
      'still running after 30s: api linux/arm64 [2/2] RUN make (30s), pulling base (5 B of 50 B)',
    )
    expect(heartbeat(initialState(), 31_000)).toBeUndefined()
  })
})

describe('json', () => {
  test('every line is an event with its time', () => {
    const lines = collect('json', run).trimEnd().split('\n')
    const events = lines.map(line => JSON.parse(line))
    expect(events[0]).toEqual({ time: '1970-01-01T00:00:00.000Z', ...run[0] })
    expect(events.map(event => event.type).filter(type => type !== 'cell-log')).toEqual(
      run.map(event => event.type).filter(type => type !== 'cell-log'),
    )
    const logs = events.filter(event => event.type === 'cell-log')
    expect(logs.map(event => event.text).join('')).toBe('cc main.c\n100%\nbell\\x07 and no end\n')
  })

  test('holds no control character, not even those that JSON allows', () => {
    const text = collect('json', [{ type: 'warning', message: 'a\x9b2J\x7f\x1b' }])
    expect(text.trimEnd()).not.toMatch(/[\x00-\x1f\x7f-\x9f]/)
    expect(JSON.parse(text).message).toBe('a\x9b2J\x7f\x1b')
  })

  test('a secret that comes in two pieces is redacted', () => {
    secret('correct-horse-battery')
    const pieces: RunEvent[] = ['it is correct-hor', 'se-battery\n'].map(text => ({
      type: 'cell-log',
      cell: api,
      text,
    }))
    for (const mode of ['json', 'plain'] as const) {
      expect(collect(mode, pieces)).toContain('it is ***')
      expect(collect(mode, pieces)).not.toContain('correct')
    }
  })
})

describe('quiet', () => {
  test('says nothing when all is right', () => {
    const right = { ...failedRun, cells: [cellResult('a', AMD64)], services: [] }
    expect(collect('quiet', [...run, { type: 'run-ended', result: right }])).toBe('')
  })
  test('says what failed', () => {
    expect(collect('quiet', [...run, { type: 'run-ended', result: failedRun }])).toStartWith(
      '✗ api linux/arm64, linux/arm/v7 failed',
    )
  })
})

describe('tty', () => {
  test('paints by the clock, cleans up, and ends with matrix and failures', async () => {
    const screen = new Screen(100, 30)
    const reporter = createReporter({ mode: 'auto', stream: screen, env: { LANG: 'C.UTF-8' } })
    for (const event of run.slice(0, 6)) reporter.emit(event)
    expect(screen.text).toBe('')
    while (!screen.text.includes('RUN make')) await new Promise(resolve => setTimeout(resolve, 10))
    expect(screen.cursorShown).toBe(false)
    for (const event of run.slice(6)) reporter.emit(event)
    reporter.emit({ type: 'run-ended', result: failedRun })
    expect(screen.cursorShown).toBe(true)
    expect(screen.text).not.toContain('RUN make')
    expect(screen.text).toStartWith('▲ api linux/arm64: nginx is\n  the registry’s\n\n  service   linux/amd64')
    expect(screen.text).toEndWith('  - 网站 windows/amd64: interrupted')
    const end = screen.text
    reporter.close()
    expect(screen.text).toBe(end)
  })

  test('closed in the middle it leaves the terminal as it was', async () => {
    const screen = new Screen(100, 30)
    const listeners = process.listenerCount('exit')
    const reporter = createReporter({ mode: 'tty', stream: screen, env: {} })
    reporter.emit(run[0]!)
    expect(process.listenerCount('exit')).toBe(listeners + 1)
    while (screen.text === '') await new Promise(resolve => setTimeout(resolve, 10))
    reporter.close()
    expect([screen.text, screen.cursorShown, process.listenerCount('exit')]).toEqual(['', true, listeners])
  })
})
