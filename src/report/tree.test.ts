import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { width } from '../errors/render-text.ts'
import type { RunEvent } from '../run/events.ts'
import { AMD64, ARM64, cell } from './sample-run.ts'
import { foldState, initialState, type RunState } from './state.ts'
import { render } from './tree.ts'

const fold = (events: readonly RunEvent[]): RunState =>
  events.reduce((state, event) => foldState(state, event, 0), initialState())

const start = (services: readonly string[], platforms = [AMD64, ARM64]): RunEvent => ({
  ...{ type: 'run-started', jobs: 2, project: 'demo' },
  cells: services.flatMap(service => platforms.map(platform => cell(service, platform))),
})
const running = (service: string, platform: string): RunEvent[] => [
  { type: 'cell-started', cell: cell(service, platform) },
  { type: 'cell-engine', cell: cell(service, platform), engine: 'native', emulated: platform === ARM64 },
  { type: 'cell-step', cell: cell(service, platform), step: 'COPY dist /app', number: 2, total: 5, cached: false },
]
const ended = (service: string, platform: string, state: 'built' | 'failed' = 'built'): RunEvent => ({
  ...{ type: 'cell-ended', cell: cell(service, platform), state, reason: 'src changed', seconds: 1.5 },
})

const busy: RunEvent[] = [
  start(['base', 'api', 'web']),
  { type: 'phase', phase: 'build' },
  ended('base', AMD64),
  ended('base', ARM64),
  ...running('api', ARM64),
  { type: 'cell-log', cell: cell('api', ARM64), text: '\x1b[31mcompiling\x1b[0m\n' },
  {
    type: 'transfer',
    id: 't',
    direction: 'push',
    what: `sha256:${'e'.repeat(64)}`,
    current: 0,
    total: 80e6,
    done: false,
  },
  {
    type: 'transfer',
    id: 't',
    direction: 'push',
    what: `sha256:${'e'.repeat(64)}`,
    current: 20e6,
    total: 80e6,
    done: false,
  },
]

describe('tree', () => {
  test('services with their cells, the step with its last words, transfers', () => {
    expect(render(fold(busy), 100, 40, 2000)).toEqual([
      'demo  building · 2 of 6 cells · 1 running · 2.0s',
      '✓ base  2 built',
      '  ✓ linux/amd64   1.5s  built  src changed',
      '  ✓ linux/arm64   1.5s  built  src changed',
      '⠋ api',
      '  · linux/amd64         waiting',
      '  ⠋ linux/arm64   2.0s  2/5 COPY dist /app emulated',
      '      │ compiling',
      '· web',
      '  · linux/amd64         waiting',
      '  · linux/arm64         waiting',
      '↑ pushing ━━━━──────────── 20.0 MB of 80.0 MB  10.0 MB/s  sha256:eeeeeeeeeeee',
    ])
  })

  test('less room: services that are done take one line', () => {
    expect(render(fold(busy), 100, 11, 0)).toEqual([
      'demo  building · 2 of 6 cells · 1 running · 0.0s',
      '✓ base  2 built',
      '⠋ api',
      '  · linux/amd64         waiting',
      '  ⠋ linux/arm64   0.0s  2/5 COPY dist /app emulated',
      '      │ compiling',
      '· web',
      '  · linux/amd64         waiting',
      '  · linux/arm64         waiting',
      '↑ pushing ━━━━──────────── 20.0 MB of 80.0 MB  sha256:eeeeeeeeeeee',
    ])
  })

  test('still less: those that wait do too', () => {
    expect(render(fold(busy), 100, 8, 0)).toEqual([
      'demo  building · 2 of 6 cells · 1 running · 0.0s',
      '✓ 1 service done: base',
      '⠋ api',
      '  · linux/amd64         waiting',
      '  ⠋ linux/arm64   0.0s  2/5 COPY dist /app emulated',
      '· 1 service waiting: web',
      '↑ pushing ━━━━──────────── 20.0 MB of 80.0 MB  sha256:eeeeeeeeeeee',
    ])
  })

  test('hardly any: failed and running cells, and how many more', () => {
    const services = ['a', 'b', 'c', 'd', 'e']
    const events = [start(services), ...services.flatMap(name => running(name, AMD64)), ended('e', ARM64, 'failed')]
    expect(render(fold(events), 60, 6, 0)).toEqual([
      'demo  1 of 10 cells · 5 running · 1 failed · 0.0s',
      '✗ e  linux/arm64    1.5s  failed  src changed',
      '⠋ a  linux/amd64    0.0s  2/5 COPY dist /app',
      '  and 4 more',
    ])
  })

  test('ASCII', () => {
    expect(render(fold(busy), 100, 40, 0, { color: false, unicode: false }).join('\n')).toMatch(/^[\x20-\x7e\n]+$/)
  })

  test('publication shows at the service', () => {
    const events: RunEvent[] = [
      ...busy,
      { type: 'tag', service: 'base', reference: 'r/base:1', digest: 'sha256:a', state: 'moved' },
    ]
    expect(render(fold(events), 100, 40, 0)).toContain('✓ base  2 built  r/base:1 moved')
  })

  test('never higher or wider than the terminal, whatever runs', () => {
    const name = fc.constantFrom('a', '服务', 'x\x1b[2J', 'long-name-of-a-service')
    const event = fc.oneof(
      fc.tuple(name, fc.constantFrom(AMD64, ARM64)).map(([n, p]) => running(n, p)),
      fc.tuple(name, fc.constantFrom(AMD64, ARM64)).map(([n, p]) => [ended(n, p, 'failed')]),
      fc.tuple(name, fc.constantFrom(AMD64, ARM64)).map(([n, p]) => [ended(n, p)]),
      name.map((n): RunEvent[] => [{ type: 'cell-log', cell: cell(n, AMD64), text: `${n}\n` }]),
      fc.nat(9).map((n): RunEvent[] => [
        {
          type: 'transfer',
          id: String(n),
          direction: 'write',
          what: '层\x07',
          current: n,
          total: n % 2,
          done: false,
        },
      ]),
    )
    fc.assert(
      fc.property(
        fc.array(event),
        fc.integer({ min: 1, max: 120 }),
        fc.integer({ min: 1, max: 30 }),
        (events, columns, rows) => {
          const lines = render(fold([start(['a', '服务', 'b', 'c']), ...events.flat()]), columns, rows, 1000, {
            color: true,
            unicode: true,
          })
          expect(lines.length).toBeLessThanOrEqual(Math.max(1, rows - 1))
          for (const line of lines) {
            expect(width(line)).toBeLessThanOrEqual(Math.max(1, columns - 1))
            expect(line.replace(/\x1b\[\d+m/g, '')).not.toMatch(/[\x00-\x1f\x7f-\x9f]/)
          }
        },
      ),
    )
  })
})
