import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as archimage from '../src/index.ts'
import * as language from '../src/language.ts'
import { removeFolder, temporaryFolder } from './peers/process.ts'

const folder = temporaryFolder('archimage-library')
let registry: archimage.ServedRegistry

beforeAll(async () => {
  registry = await archimage.startRegistry({ port: 0 })
  for (const name of ['base', 'app']) mkdirSync(join(folder, 'src', name), { recursive: true })
  writeFileSync(
    join(folder, 'archimage.yaml'),
    `registry: ${registry.address}/team\nplatforms: [linux/amd64, linux/arm64]\n`,
  )
  writeFileSync(join(folder, 'src/base/Dockerfile'), 'FROM scratch\nCOPY <<EOF /base\nbase\nEOF\n')
  writeFileSync(join(folder, 'src/app/Dockerfile'), 'FROM base\nARG TARGETARCH\nENV ARCH=$TARGETARCH\n')
})
afterAll(async () => {
  await registry.close()
  await removeFolder(folder)
})

test('a project is planned, built, published and read back by a program', async () => {
  const project = await archimage.loadProject({ cwd: folder })
  using store = archimage.openStore({ home: join(folder, 'store') })
  const events: archimage.RunEvent[] = []
  const tools = {
    store,
    registry: archimage.openRegistry({ env: {} }),
    emit: (event: archimage.RunEvent) => void events.push(event),
    signal: new AbortController().signal,
  }
  const request = archimage.projectRequest(project, { push: true })
  const plan = await archimage.planRun(request, tools)
  expect(plan.cells.map(cell => [cell.service, cell.action])).toEqual([
    ['base', 'build'],
    ['app', 'waits'],
    ['base', 'build'],
    ['app', 'waits'],
  ])
  const { result, images } = await archimage.run(request, tools)
  expect(result).toMatchObject({ complete: true, exitCode: 0 })
  expect(images.map(image => image.service.name)).toEqual(['app', 'base'])
  expect(events.at(-1)!.type).toBe('run-ended')
  const remote = archimage.registryTransport(tools.registry, `${registry.address}/team/app`)
  const found = await archimage.verifyImage(remote, 'latest', { platforms: archimage.parsePlatforms(['amd64,arm64']) })
  expect(found.problems).toEqual([])
  expect(found.digest).toBe(images[0]!.index.digest)
})

test('errors have codes, and a text for people', async () => {
  const failing = archimage.loadProject({ cwd: folder, projectFile: join(folder, 'nowhere.yaml') })
  const error = await failing.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(archimage.isArchimageError(error)).toBe(true)
  expect((error as archimage.ArchimageError).exit).toBe(2)
  expect(archimage.renderError(error)).toContain('nowhere.yaml')
})

test('the language of Dockerfiles alone: parse, expand, stages, lint', () => {
  const text =
    'ARG V=1\nFROM scratch AS base\nARG V\nENV A=${V:-2} B=$MISSING\nFROM scratch AS tool\nFROM base\nCOPY a-amd64 /a\n'
  const dockerfile = language.parseDockerfile(text, 'Dockerfile')
  const [base, , last] = dockerfile.stages
  const env = base!.instructions[1]!
  expect(
    env.kind === 'env' && env.pairs.map(({ value }) => language.expandWord(value, new Map([['V', '3']])).value),
  ).toEqual(['3', ''])
  const needed = language.reachableStages(dockerfile, language.targetStage(dockerfile), {
    baseOf: stage => stage.from.image,
  })
  expect(needed.map(({ stage }) => stage)).toEqual([base!, last!])
  const platforms = language.parsePlatforms(['linux/amd64,linux/arm64'])
  const { findings, errors } = language.lintDockerfile(dockerfile, { platforms })
  expect(errors).toEqual([])
  expect(findings.map(({ rule, range, platforms }) => [rule, range.start.line, platforms])).toEqual([
    ['UndefinedVar', 4, ['linux/amd64', 'linux/arm64']],
    ['HardcodedArchitecture', 7, ['linux/arm64']],
  ])
  expect(language.RULES.find(rule => rule.name === 'UndefinedVar')!.description).toContain('defined')
  expect(archimage.lintDockerfile).toBe(language.lintDockerfile)
})
