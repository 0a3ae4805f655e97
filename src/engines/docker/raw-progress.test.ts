import { describe, expect, test } from 'bun:test'
import { StepEvents } from '../step-events.ts'
import { cellOf, shortEvents } from '../testing/cells.ts'
import { buildxFailure } from './failure.ts'
import { RawProgress } from './raw-progress.ts'

const TWO = 'FROM a AS build\nRUN make\nWORKDIR /app\nFROM b\nCOPY --from=build /out /out\n'

async function progressOf(dockerfile: string, fromCounts = false) {
  const cell = await cellOf(dockerfile)
  const { emit, lines } = shortEvents()
  const names = [...cell.lowered.stages.values()].sort((a, b) => a.index - b.index)
  const progress = new RawProgress(
    new Map(names.map(stage => [stage.name, stage])),
    new StepEvents(cell, ({ architecture }) => architecture !== 'amd64', emit),
    fromCounts,
  )
  const say = (status: object): boolean => progress.line(JSON.stringify(status))
  return { cell, progress, lines, say }
}

const vertex = (digest: string, name: string, more: object = {}) => ({ digest, name, ...more })
const started = '2026-11-25T15:38:07Z'
const log = (digest: string, text: string) => ({
  vertex: digest,
  stream: 1,
  data: Buffer.from(text).toString('base64'),
})

describe('status messages of BuildKit', () => {
  test('steps as they begin, what they write, those from the cache', async () => {
    const { say, lines } = await progressOf(TWO, true)
    say({
      vertexes: [
        vertex('d4', '[stage-1 2/2] COPY --from=build /out /out'),
        vertex('d1', '[build 1/3] FROM a'),
        vertex('d2', '[build 2/3] RUN make'),
        vertex('d3', '[build 3/3] WORKDIR /app'),
        vertex('d6', '[internal] load build context'),
      ],
    })
    expect(lines).toEqual([])
    say({ vertexes: [vertex('d1', '[build 1/3] FROM a', { started, completed: started, cached: true })] })
    say({ vertexes: [vertex('d2', '[build 2/3] RUN make', { started })] })
    say({ logs: [log('d2', 'cc ma'), log('d2', 'in.c\nno end'), log('d6', 'not of a step\n'), log('unknown', 'x')] })
    say({ vertexes: [vertex('d2', '', { started, completed: started })] })
    say({ vertexes: [vertex('d3', '', { started, completed: started, cached: true }), vertex('d4', '', { started })] })
    expect(lines).toEqual([
      '[1/3] RUN make :2',
      '1| cc main.c',
      '1| no end',
      '1. emulated true',
      '[2/3] WORKDIR /app :3 =',
      '[3/3] COPY --from=build /out /out :5',
    ])
  })

  test('where bases are contexts FROM has no number', async () => {
    const { say, lines } = await progressOf(TWO)
    say({
      vertexes: [
        vertex('d1', '[context archimage.invalid/base-0] OCI load from client', { started }),
        vertex('d2', '[build 1/3] RUN make', { started }),
        vertex('d3', '[build 2/3] WORKDIR /app', { started }),
        vertex('d4', '[stage-1 1/2] COPY --from=build /out /out', { started }),
      ],
    })
    expect(lines.map(line => line.slice(6))).toEqual([
      'RUN make :2',
      'WORKDIR /app :3',
      'COPY --from=build /out /out :5',
    ])
  })

  test('an only stage has no name, numbers are padded', async () => {
    const runs = Array.from({ length: 11 }, (_, i) => `RUN echo ${i}`)
    const { say, lines } = await progressOf(`FROM a\n${runs.join('\n')}\n`)
    say({ vertexes: runs.map((run, i) => vertex(`d${i}`, `[${String(i + 1).padStart(2)}/12] ${run}`, { started })) })
    expect(lines).toEqual(runs.map((run, i) => `[${i + 1}/11] ${run} :${i + 2}`))
  })

  test('what is no status, or not understood, is no step', async () => {
    const { say, progress, lines } = await progressOf(TWO)
    expect(progress.line('#5 plain progress')).toBe(false)
    expect(progress.line('{"vertexes":')).toBe(false)
    expect(progress.line('')).toBe(false)
    for (const odd of [{}, { vertexes: 1 }, { vertexes: [1, null, {}] }, { logs: [{ data: 1 }], statuses: 'x' }])
      expect(say(odd)).toBe(true)
    say({
      vertexes: [vertex('d1', '[build 9/9] RUN make', { started }), vertex('d2', '[other 1/9] RUN x', { started })],
    })
    expect(lines).toEqual([])
  })
})

describe('why a build ended', () => {
  test('the step that failed, not those that were told to stop', async () => {
    const { cell, say, progress } = await progressOf(TWO)
    const process = 'process "/bin/sh -c make" did not complete successfully: '
    say({
      vertexes: [
        vertex('d2', '[build 1/3] RUN make', { started }),
        vertex('d4', '[stage-1 1/2] COPY --from=build /out /out', { started }),
      ],
    })
    say({ vertexes: [vertex('d4', '', { started, error: 'rpc error: code = Canceled desc = context canceled' })] })
    say({ vertexes: [vertex('d2', '', { started, completed: started, error: `${process}exit code: 2` })] })
    const error = buildxFailure(cell, progress.failed, ['ERROR: failed to build: failed to solve: x'])
    expect(error).toMatchObject({
      code: 'STEP_FAILED',
      message: 'exit code 2',
      place: { file: 'src/api/Dockerfile', line: 2, endLine: 2 },
      details: { exitCode: 2 },
    })
  })

  test('older daemons say it in other words', async () => {
    const { cell, say, progress } = await progressOf(TWO, true)
    say({ vertexes: [vertex('d1', '[build 1/3] FROM a'), vertex('d2', '[build 2/3] RUN make', { started })] })
    say({
      vertexes: [vertex('d2', '', { started, error: 'executor failed running [/bin/sh -c make]: exit code: 137' })],
    })
    const error = buildxFailure(cell, progress.failed, [])
    expect(error.message).toBe('exit code 137: a program was ended by SIGKILL')
    expect(error.hint).toContain('memory')
  })

  test('a program of another architecture', async () => {
    const { cell, say, progress } = await progressOf(TWO)
    say({ vertexes: [vertex('d2', '[build 1/3] RUN make', { started, error: 'exec /bin/sh: exec format error' })] })
    expect(buildxFailure(cell, progress.failed, []).hint).toContain('emulator')
  })

  test('what is no step', async () => {
    const { cell } = await progressOf(TWO)
    const parse = [
      'Dockerfile:3',
      '--------------------',
      'ERROR: failed to build: failed to solve: dockerfile parse error on line 3: unknown flag: link',
    ]
    expect(buildxFailure(cell, undefined, parse)).toMatchObject({
      code: 'DOCKERFILE_INVALID',
      place: { line: 3 },
      message: 'docker does not understand src/api/Dockerfile: dockerfile parse error on line 3: unknown flag: link',
    })
    const gone = ['ERROR: failed to connect to the docker API at unix:///var/run/docker.sock']
    expect(buildxFailure(cell, undefined, gone)).toMatchObject({ code: 'DAEMON' })
    const full = ['ERROR: failed to solve: write /var/lib/x: no space left on device']
    expect(buildxFailure(cell, undefined, full)).toMatchObject({
      code: 'CELL_FAILED',
      hint: expect.stringContaining('prune'),
    })
    const refused = ['ERROR: granting entitlement network.host is not allowed by build daemon configuration']
    expect(buildxFailure(cell, undefined, refused).hint).toContain('--allow-insecure-entitlement network.host')
    expect(buildxFailure(cell, undefined, []).message).toContain('without saying why')
  })
})
