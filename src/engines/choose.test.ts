import { describe, expect, test } from 'bun:test'
import { isArchimageError } from '../errors/error.ts'
import type { Platform } from '../oci/platform.ts'
import { Engines } from './choose.ts'
import type { Abilities, Cell, Engine, Problem } from './engine.ts'
import type { EngineName } from './names.ts'
import { abilityAmong, runOps } from './runs.ts'
import { cellOf } from './testing/cells.ts'

const cell = (dockerfile: string, platform = 'linux/arm64') => cellOf(dockerfile, { platform })

type Sketch = Partial<Abilities> & {
  lacks?: Problem
  platforms?: Readonly<Record<string, 'native' | 'emulated'>>
}

function engines(forced: EngineName | undefined, sketches: Partial<Record<EngineName, Sketch>>) {
  const asked: string[] = []
  const closed: string[] = []
  const made = new Engines(forced, new AbortController().signal, async (name): Promise<Engine> => {
    const { lacks, platforms, ...abilities } = sketches[name] ?? { problems: [{ message: 'it is not installed' }] }
    return {
      name,
      probe: async () => {
        asked.push(name)
        const runs = platforms && ((platform: Platform) => abilityAmong(platforms, platform))
        return { ...(runs ? { runs } : {}), problems: [], ...abilities }
      },
      lacks: of => (name === 'native' && runOps(of).length === 0 ? undefined : lacks),
      build: () => Promise.reject(new Error('not here')),
      close: async () => void closed.push(name),
    }
  })
  const choose = async (of: Cell) => {
    const { engine, emulated, why } = await made.choose(of, await made.candidates(of))
    return { engine: engine.name, emulated, why }
  }
  return { made, asked, closed, choose }
}

const noRun = { lacks: { message: 'it does not execute RUN steps' } }
const RUN = 'FROM a\nRUN make\n'

describe('the engine of a cell', () => {
  test('without RUN it is the native one, and nobody is asked', async () => {
    const { choose, asked } = engines(undefined, { native: noRun, docker: {} })
    expect(await choose(await cell('FROM a\nCOPY a /a\n'))).toEqual({
      ...{ engine: 'native', emulated: false, why: undefined },
    })
    expect(asked).toEqual([])
  })

  test('with RUN the next one that can, and why', async () => {
    const { choose, asked } = engines(undefined, { native: noRun, docker: {}, podman: {} })
    const chosen = { engine: 'docker', emulated: false, why: 'it does not execute RUN steps' }
    expect(await choose(await cell(RUN))).toEqual(chosen)
    expect(await choose(await cell(RUN))).toEqual(chosen)
    expect(asked).toEqual(['native', 'docker'])
  })

  test('docker is not there, podman is', async () => {
    const { choose } = engines(undefined, { native: noRun, podman: {} })
    expect(await choose(await cell(RUN))).toMatchObject({ engine: 'podman' })
  })

  test('a native engine that runs here is the only candidate', async () => {
    const { made, choose, asked } = engines(undefined, {
      native: { platforms: { 'linux/amd64': 'native', 'linux/arm64': 'emulated' } },
      docker: {},
    })
    expect(await made.candidates(await cell(RUN))).toEqual(['native'])
    expect(await choose(await cell(RUN))).toEqual({ engine: 'native', emulated: true, why: undefined })
    expect(await choose(await cell(RUN, 'linux/amd64'))).toMatchObject({ engine: 'native', emulated: false })
    expect(asked).toEqual(['native'])
  })

  test('without an emulator the cell goes where there is one; a stage of the build platform needs none', async () => {
    const { choose } = engines(undefined, {
      native: { platforms: { 'linux/amd64': 'native' } },
      docker: { platforms: { 'linux/amd64': 'native', 'linux/arm64': 'emulated' } },
    })
    expect(await choose(await cell(RUN))).toEqual({
      ...{ engine: 'docker', emulated: true, why: 'it cannot run programs of linux/arm64 here' },
    })
    const cross = 'FROM --platform=$BUILDPLATFORM a AS b\nRUN make\nFROM c\nCOPY --from=b /a /a\n'
    expect(await choose(await cell(cross))).toMatchObject({ engine: 'native', emulated: false })
  })

  test('what runs a variant runs the lower ones', async () => {
    const { choose } = engines('docker', { docker: { platforms: { 'linux/arm/v7': 'emulated' } } })
    expect(await choose(await cell(RUN, 'linux/arm/v6'))).toMatchObject({ engine: 'docker', emulated: true })
    const error = await choose(await cell(RUN, 'linux/arm64')).catch(error => error)
    expect(error.message).toContain('docker cannot build this: it cannot run programs of linux/arm64 here')
  })

  test('a builder that does not know its platforms yet is believed', async () => {
    const { choose } = engines('docker', { docker: {} })
    expect(await choose(await cell(RUN))).toMatchObject({ engine: 'docker', emulated: false })
  })

  test('forced: that one and no other', async () => {
    const lacking = { native: noRun, docker: { lacks: { message: 'it lacks this', hint: 'take another' } }, podman: {} }
    const { choose } = engines('docker', lacking)
    const error = await choose(await cell(RUN)).catch(error => error)
    expect(isArchimageError(error) && error.code).toBe('ENGINE_MISSING')
    expect(error).toMatchObject({ message: 'docker cannot build this: it lacks this', hint: 'take another' })
    expect(await engines('podman', lacking).choose(await cell('FROM a\nCOPY a /a\n'))).toEqual({
      ...{ engine: 'podman', emulated: false, why: '--engine podman' },
    })
  })

  test('none: the instruction, what each lacks, the ways out', async () => {
    const { choose } = engines(undefined, { native: noRun, docker: { lacks: { message: 'it lacks this' } } })
    const error = await choose(await cell(`FROM a\nRUN make && \\\n  make install\n`)).catch(error => error)
    expect(error).toMatchObject({
      code: 'ENGINE_MISSING',
      message: `no engine here can execute RUN make && make install
- native: it does not execute RUN steps
- docker: it lacks this
- podman: it is not installed`,
      place: { file: 'src/api/Dockerfile', line: 2, endLine: 3 },
    })
    expect(error.hint).toContain('prebuild')
  })

  test('what was asked is closed, what was not is not made', async () => {
    const { made, choose, closed } = engines(undefined, { native: noRun, docker: {} })
    await choose(await cell(RUN))
    await made.close()
    expect(closed.sort()).toEqual(['docker', 'native'])
  })
})
