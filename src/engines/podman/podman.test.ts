import { describe, expect, test } from 'bun:test'
import { formatPlatform, parsePlatform } from '../../oci/platform.ts'
import type { RunAbility } from '../engine.ts'
import { StepEvents } from '../step-events.ts'
import { NO_SETTINGS } from '../steps.ts'
import { cellOf, shortEvents } from '../testing/cells.ts'
import { podmanFailure } from './failure.ts'
import { podmanLacks } from './lacks.ts'
import { PlainSteps } from './plain-steps.ts'
import { type Podman, parseInfo, podmanAbilities } from './probe.ts'

const info = (host: object): string =>
  JSON.stringify({ host: { arch: 'amd64', buildahVersion: '1.28.2', ...host }, version: { Version: '4.3.1' } })

const here = () => ({ how: 'native' as const })

describe('what podman info says', () => {
  test('versions, platform, whether another machine does the work', () => {
    expect(parseInfo(info({ serviceIsRemote: false }), false)).toEqual({
      command: ['podman'],
      version: '4.3.1',
      buildah: [1, 28],
      remote: false,
      platform: { os: 'linux', architecture: 'amd64' },
    })
    const remote = parseInfo(info({ arch: 'arm64', serviceIsRemote: true, emulatedArchitectures: ['linux/amd64', 7] }))!
    expect(remote).toMatchObject({ remote: true, platform: { architecture: 'arm64' } })
    const { runs } = podmanAbilities(remote, here)
    const how = (name: string) => runs!(parsePlatform(name))
    expect([how('linux/arm64'), how('linux/amd64'), how('linux/s390x')].map(one => (one as RunAbility).how)).toEqual([
      ...(['native', 'emulated', 'no'] as const),
    ])
  })

  test('on this machine it runs what the machine runs; of a service that does not say it nothing is known', () => {
    expect(podmanAbilities(parseInfo(info({}), false)!, here).runs).toBe(here)
    expect(podmanAbilities(parseInfo(info({ serviceIsRemote: true }), false)!, here)).toEqual({ problems: [] })
  })

  test('crun with both versions of cgroups is only replaced by what is there', () => {
    const { command } = parseInfo(info({ ociRuntime: { name: 'crun' } }), true)!
    expect([['podman'], ['podman', '--runtime', 'runc']]).toContainEqual([...command])
    expect(parseInfo(info({ ociRuntime: { name: 'crun' }, serviceIsRemote: true }), true)!.command).toEqual(['podman'])
  })

  test('anything else is not understood', () => {
    for (const text of ['', '{}', '[]', 'null', '{"host":{}}', info({ buildahVersion: 'x' })])
      expect(parseInfo(text)).toBeUndefined()
  })
})

async function stepsOf(dockerfile: string) {
  const cell = await cellOf(dockerfile)
  const { emit, lines } = shortEvents()
  const stages = [...cell.lowered.stages.values()].sort((a, b) => a.index - b.index)
  return { cell, lines, steps: new PlainSteps(stages, new StepEvents(cell, () => false, emit)) }
}

describe('what podman build writes', () => {
  test('steps of several stages, output, what comes from the cache', async () => {
    const { steps, lines } = await stepsOf(
      'FROM a AS build\nENV A=b\nRUN make\nWORKDIR /app\nFROM b\nWORKDIR /\nCOPY --from=build /o /o\nLABEL x=y\nRUN test\n',
    )
    const said = `[1/2] STEP 1/4: FROM localhost/x:1 AS build
[1/2] STEP 2/4: ENV A=b
--> 11
[1/2] STEP 3/4: RUN make
cc main.c
STEP by step
--> 22
[1/2] STEP 4/4: WORKDIR /app
--> Using cache 33
--> 33
[2/2] STEP 1/5: FROM localhost/y:1
[2/2] STEP 2/5: WORKDIR /
[2/2] STEP 3/5: COPY --from=build /o /o
--> 44
[2/2] STEP 4/5: LABEL x=y
[2/2] STEP 5/5: RUN test
[2/2] COMMIT result
--> 55
5566778899`
    for (const line of said.split('\n')) steps.line(line)
    steps.end()
    expect(lines).toEqual([
      '[1/4] RUN make :3',
      '1| cc main.c',
      '1| STEP by step',
      '1. true',
      '[2/4] WORKDIR /app :4 =',
      '[3/4] COPY --from=build /o /o :7',
      '[4/4] RUN test :9',
      '4. true',
    ])
  })

  test('one stage has no number; a step that is silent is told of after a moment', async () => {
    const { steps, lines } = await stepsOf('FROM a\nRUN make\n')
    steps.line('STEP 1/2: FROM localhost/x:1')
    steps.line('STEP 2/2: RUN make')
    expect(lines).toEqual([])
    while (lines.length === 0) await new Promise(resolve => setTimeout(resolve, 10))
    steps.error('on standard error')
    expect(lines).toEqual(['[1/1] RUN make :2', '1| on standard error'])
  })

  test('steps that are not known are no steps', async () => {
    const { steps, lines } = await stepsOf('FROM a\nRUN make\n')
    for (const line of ['[7/9] STEP 2/2: RUN make', 'STEP 2/2: COPY a b', 'STEP 2/2: ', '--> x']) steps.line(line)
    steps.end()
    expect(lines).toEqual([])
  })
})

describe('why podman build ended', () => {
  const RUN = 'FROM a\nRUN echo "a: b"; \\\n  exit 7\n'
  const failing = 'Error: building at STEP "RUN echo "a: b";   exit 7": while running runtime: '

  test('the exit code of a step', async () => {
    const { cell } = await stepsOf(RUN)
    const [op] = cell.lowered.target.ops
    expect(podmanFailure(cell, op, ['to stderr', `${failing}exit status 7`])).toMatchObject({
      code: 'STEP_FAILED',
      message: 'exit code 7',
      place: { line: 2, endLine: 3 },
      details: { exitCode: 7 },
    })
    const killed = podmanFailure(cell, op, ['container exited on killed', `${failing}exit status 1`])
    expect(killed.message).toBe('exit code 137: a program was ended by SIGKILL')
  })

  test('a runtime that cannot start anything', async () => {
    const { cell } = await stepsOf(RUN)
    const runtime = 'error running container: from /usr/bin/crun creating container for [/bin/sh]: no cgroups'
    const error = podmanFailure(cell, cell.lowered.target.ops[0], [
      runtime,
      ': exit status 1',
      `${failing}exit status 1`,
    ])
    expect(error.message).toBe(runtime)
    expect(error.details).toEqual({})
  })

  test('what is no step', async () => {
    const { cell } = await stepsOf(RUN)
    expect(podmanFailure(cell, undefined, ['Error: creating build container: image not known'])).toMatchObject({
      code: 'CELL_FAILED',
      message: 'podman could not build this: creating build container: image not known',
    })
    expect(podmanFailure(cell, undefined, []).message).toContain('does not say why')
  })
})

describe('what a podman lacks', () => {
  const old: Podman = {
    ...{ command: ['podman'], version: '4.3.1', buildah: [1, 28], remote: false },
    platform: { os: 'linux', architecture: 'amd64' },
  }
  const young: Podman = { ...old, version: '6.0.0', buildah: [1, 44] }
  const lacks = async (dockerfile: string, podman: Podman, change?: Parameters<typeof cellOf>[1]) =>
    podmanLacks(await cellOf(dockerfile, change), podman)?.message

  test('instructions and flags, with the line', async () => {
    expect(await lacks('FROM a\nRUN <<EOF\nmake\nEOF\n', old)).toBe(
      'podman 4.3.1 does not understand heredocs (src/api/Dockerfile:2)',
    )
    for (const line of [
      'COPY --link a /a',
      'COPY --parents a /a',
      'COPY --exclude=*.o a /a',
      'RUN --network=none make',
      'RUN --mount=type=secret,id=a,env=A make',
    ]) {
      expect(await lacks(`FROM a\nRUN true\n${line}\n`, old)).toContain('src/api/Dockerfile:3')
      expect(await lacks(`FROM a\nRUN true\n${line}\n`, young)).toBeUndefined()
    }
    expect(await lacks('FROM a\nADD --unpack=false a.tar /a\n', young)).toContain('--unpack')
    expect(await lacks('FROM a\nADD --unpack --exclude=x https://e.x/a.tar /a\n', old)).toBeUndefined()
    expect(await lacks('FROM a\nADD --link https://e.x/a.tar /a\n', old)).toContain('--link')
  })

  test('only where the target needs it', async () => {
    expect(await lacks('FROM a AS other\nRUN <<EOF\nmake\nEOF\nFROM b\nRUN true\n', old)).toBeUndefined()
  })

  test('other systems, stages that shall run again', async () => {
    expect(await lacks('FROM a\nCOPY a /a\n', young, { platform: 'windows/amd64' })).toContain('linux only')
    const fresh = (...names: string[]) => ({ cell: { steps: { ...NO_SETTINGS, fresh: new Set(names) } } })
    expect(await lacks('FROM a AS x\nRUN true\n', young, fresh('x'))).toBe('it has no --no-cache-filter')
    expect(await lacks('FROM a AS x\nRUN true\n', young, fresh('y'))).toBeUndefined()
    expect(
      await lacks('FROM a AS x\nRUN true\n', young, { cell: { steps: { ...NO_SETTINGS, fresh: true } } }),
    ).toBeUndefined()
  })
})

test('platforms of an old podman are spelled as everywhere', () => {
  expect(formatPlatform(parseInfo(info({ arch: 'arm64' }), false)!.platform)).toBe('linux/arm64')
})
