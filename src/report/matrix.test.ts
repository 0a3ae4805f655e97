import { describe, expect, test } from 'bun:test'
import { width } from '../errors/render-text.ts'
import type { RunResult } from '../run/events.ts'
import { formatBytes, formatSeconds } from './format.ts'
import { renderMatrix } from './matrix.ts'
import { AMD64, ARM64, cellResult, digestOf, failedRun } from './sample-run.ts'

describe('matrix', () => {
  test('a run with failures', () => {
    expect(renderMatrix(failedRun, { columns: 120 }).join('\n')).toBe(
      `\
  service   linux/amd64      linux/arm64       linux/arm/v7      windows/amd64
  base      ✓ built 1.2s ^   ✓ built 1.2s ^    ✓ built 1.2s ^    ·
  api       = unchanged      ✗ failed 3.2s ~   ✗ failed 2.0s ~   ·
  web       = unchanged @    – not run         ·                 ·
  网站      = unchanged      ·                 ·                 ■ cancelled

  ~ emulated: 2 steps, 2.9s; 2.5s of it natively: run make in a stage FROM --platform=$BUILDPLATFORM, with a compiler
  for $TARGETPLATFORM
  @ built by docker, the others by native
  ^ a base image exists for a lower variant only: linux/arm/v6

  base   reg.example/demo/base:v1   sha256:bbbbbbbbbbbb  moved
  api    reg.example/demo/api       no index: 2 of 3 platforms missing
  web    reg.example/demo/web:v1    sha256:dddddddddddd  already

  6 of 10 cells right: 3 built, 3 unchanged, 2 failed, 1 not run, 1 cancelled · 2 of 3 services published · 1 tag moved
  · 1 tag already there · 1 service not as built when read back · 1 warning · 2.4 s`,
    )
  })

  test('columns begin at the same place in every row, wide names or not', () => {
    const lines = renderMatrix(failedRun, { columns: 120 }).slice(0, 5)
    const starts = (line: string): number[] =>
      [...line.matchAll(/(?<= {3})\S/g)].map(match => width(line.slice(0, match.index)))
    for (const line of lines.slice(1)) expect(starts(line)).toEqual(starts(lines[0]!))
  })

  test('colours change no column', () => {
    const plain = renderMatrix(failedRun, { columns: 120 })
    const colored = renderMatrix(failedRun, { columns: 120, color: true })
    expect(colored.join('\n')).toContain('\x1b[32m✓ built 1.2s ^\x1b[39m')
    expect(colored.map(line => line.replace(/\x1b\[\d+m/g, ''))).toEqual(plain)
  })

  test('too narrow: a line per cell', () => {
    const lines = renderMatrix(failedRun, { columns: 50 })
    expect(lines.slice(0, 4)).toEqual([
      '  base linux/amd64    ✓ built 1.2s ^',
      '  base linux/arm64    ✓ built 1.2s ^',
      '  base linux/arm/v7   ✓ built 1.2s ^',
      '  api linux/amd64     = unchanged',
    ])
    expect(lines[9]).toBe('  网站 windows/amd64  ■ cancelled')
  })

  test('ASCII where the terminal has nothing else', () => {
    const run = { ...failedRun, cells: failedRun.cells.filter(one => one.service !== '网站') }
    const text = renderMatrix(run, { unicode: false }).join('\n')
    expect(text).toMatch(/^[\x20-\x7e\n]*$/)
    expect(text).toContain('+ built 1.2s ^')
    expect(text).toContain('x failed 3.2s ~')
    expect(text).toContain(
      '5 of 8 cells right: 3 built, 2 unchanged, 2 failed, 1 not run - 2 of 3 services published - 1 tag moved',
    )
  })

  test('a run in which all is right', () => {
    const tag = (reference: string, digest: string) => ({ reference, digest, state: 'moved' as const })
    const run: RunResult = {
      ...{ ...failedRun, complete: true, exitCode: 0, seconds: 75, warnings: [] },
      cells: [cellResult('a', AMD64, { state: 'built', seconds: 61 }), cellResult('a', ARM64)],
      services: [
        {
          ...{ service: 'a', image: 'r/a', digest: digestOf('1'), verified: [] },
          tags: [tag('r/a:1', digestOf('1')), tag('r/a:1-amd64', digestOf('2')), tag('r/a:latest', digestOf('1'))],
        },
      ],
    }
    expect(renderMatrix(run)).toEqual([
      '  service   linux/amd64     linux/arm64',
      '  a         ✓ built 1m01s   = unchanged',
      '',
      '  a   r/a:1        sha256:111111111111  moved, and 1 tag of other digests',
      '      r/a:latest   sha256:111111111111  moved',
      '',
      '  2 of 2 cells right: 1 built, 1 unchanged · 3 tags moved · 1m15s',
    ])
  })

  test('a service that was not pushed shows image and digest', () => {
    const services = [{ service: 'a', image: 'a', digest: digestOf('1'), tags: [], verified: [] }]
    const lines = renderMatrix({ ...failedRun, cells: [cellResult('a', AMD64)], services })
    expect(lines).toContain('  a   a   sha256:111111111111')
  })

  test('services that were not published say so, and the last line how many were', () => {
    const failure = { code: 'REGISTRY_UNREACHABLE', message: 'no answer' }
    const tag = (reference: string, state: 'moved' | 'restored') => ({ reference, digest: digestOf('1'), state })
    const service = (name: string) => ({ service: name, image: `r/${name}`, digest: digestOf('1'), verified: [] })
    const services = [
      { ...service('a'), tags: [tag('r/a:1', 'moved')] },
      { ...service('b'), tags: [], failure },
      { ...service('c'), tags: [tag('r/c:1', 'restored')], failure },
    ]
    const cells = services.map(one => cellResult(one.service, AMD64))
    const lines = renderMatrix({ ...failedRun, exitCode: 3, cells, services, warnings: [] })
    expect(lines.slice(5)).toEqual([
      '  a   r/a:1   sha256:111111111111  moved',
      '  b   r/b     sha256:111111111111  not published',
      '  c   r/c:1   sha256:111111111111  restored  not published',
      '',
      '  3 of 3 cells right: 3 unchanged · 1 of 3 services published · 1 tag moved · 1 tag put back · 2.4 s',
    ])
  })

  test('an interrupted run has no lines for services without an index', () => {
    const cells = [cellResult('a', AMD64), cellResult('b', AMD64, { state: 'cancelled', reason: 'interrupted' })]
    const services = ['a', 'b'].map(service => ({ service, image: service, tags: [], verified: [] }))
    const lines = renderMatrix({ ...failedRun, exitCode: 130, cells, services, warnings: [] })
    expect(lines.slice(3)).toEqual(['', '  1 of 2 cells right: 1 unchanged, 1 cancelled · 2.4 s'])
  })

  test('a run without cells does not fall over', () => {
    const lines = renderMatrix({ ...failedRun, cells: [], services: [], warnings: [] })
    expect(lines.at(-1)).toBe('  0 of 0 cells right · 2.4 s')
  })

  test('a stranger’s names cannot control the terminal', () => {
    const cells = [cellResult('a\x1b[2J\x07', 'x\x9b1A/y', { engine: 'e\x1b[1m', state: 'built' })]
    const services = [
      {
        ...{ service: 'a\x1bc', image: 'i\x07', verified: [] },
        tags: [{ reference: 'r\x1b[5m', digest: 'd:\x07', state: 'moved' as const }],
      },
    ]
    expect(renderMatrix({ ...failedRun, cells, services }).join('\n')).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/)
  })
})

test('seconds', () => {
  const shown = [0, 0.04, 1.25, 9.94, 9.96, 59.4, 59.6, 185, 3599.6, 3720].map(formatSeconds)
  expect(shown).toEqual(['0.0s', '0.0s', '1.3s', '9.9s', '10s', '59s', '1m00s', '3m05s', '1h00m', '1h02m'])
})

test('bytes', () => {
  const shown = [0, 812, 999, 1000, 4_200_000, 134_000_000, 999_600_000, 5e12].map(formatBytes)
  expect(shown).toEqual(['0 B', '812 B', '999 B', '1.0 kB', '4.2 MB', '134 MB', '1.0 GB', '5.0 TB'])
})
