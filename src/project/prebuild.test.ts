import { afterAll, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isArchimageError } from '../errors/error.ts'
import { parsePlatform } from '../oci/platform.ts'
import { expandNames, prebuildEnvironment, runPrebuild } from './prebuild.ts'
import type { Service } from './project.ts'

const root = realpathSync(mkdtempSync(join(tmpdir(), 'archimage-prebuild-')))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const service = (prebuild?: string | readonly string[], context = root): Service => ({
  name: 'api',
  image: 'api',
  context,
  dockerfile: '',
  dockerfiles: {},
  platforms: [],
  args: {},
  labels: {},
  annotations: {},
  buildContexts: {},
  timestamps: 'content',
  modes: 'context',
  because: '',
  ...(prebuild === undefined ? {} : { prebuild }),
})
const arm = parsePlatform('linux/arm/v6')

async function run(prebuild?: string | readonly string[], platform = arm): Promise<string[]> {
  const lines: string[] = []
  await runPrebuild(service(prebuild), platform, { onLine: line => lines.push(line) })
  return lines
}

test('what a command sees of its platform', () => {
  expect(prebuildEnvironment(arm)).toEqual({
    GOOS: 'linux',
    GOARCH: 'arm',
    GOARM: '6',
    TARGETPLATFORM: 'linux/arm/v6',
    TARGETOS: 'linux',
    TARGETARCH: 'arm',
    TARGETVARIANT: 'v6',
  })
  expect(prebuildEnvironment(parsePlatform('amd64/v3'))).toMatchObject({ GOARCH: 'amd64', GOAMD64: 'v3' })
  expect(prebuildEnvironment(parsePlatform('windows/amd64'))).toMatchObject({ GOOS: 'windows', TARGETVARIANT: '' })
})

test('names in a list are replaced by us', () => {
  const env = { A: '1', B_2: 'two words' }
  expect(expandNames('$A-${B_2}/$C$ $1 ${ $$A', env)).toBe('1-two words/$ $1 ${ $1')
})

test.skipIf(process.platform === 'win32')('a text goes through sh, in the context; a list does not', async () => {
  expect(await run('echo "$GOOS/$GOARCH/$GOARM"; pwd; echo err >&2')).toEqual(
    expect.arrayContaining(['linux/arm/6', root, 'err']),
  )
  expect(await run(['echo', '$TARGETPLATFORM;', '`id`', '${TARGETVARIANT}'])).toEqual(['linux/arm/v6; `id` v6'])
  expect(await run()).toEqual([])
})

async function failure(work: Promise<unknown>) {
  try {
    await work
  } catch (error) {
    if (isArchimageError(error)) return error
    throw error
  }
  throw new Error('it did not fail')
}

test.skipIf(process.platform === 'win32')('a failure names the command and its last lines', async () => {
  const error = await failure(run('for i in $(seq 30); do echo line $i; done; exit 3'))
  expect(error.code).toBe('PREBUILD_FAILED')
  expect(error.message).toBe('prebuild of api for linux/arm/v6 ended with exit code 3')
  expect((error.details['log'] as string[]).at(-1)).toBe('line 30')
  expect((error.details['log'] as string[]).length).toBe(20)
  expect((await failure(run(['/no/such/program']))).message).toContain('could not start')
  expect((await failure(runPrebuild(service('true', '/no/such/folder'), arm))).code).toBe('PREBUILD_FAILED')
  expect((await failure(run('kill -9 $$'))).message).toContain('SIGKILL')
})

test.skipIf(process.platform === 'win32')('an abort ends all that it started', async () => {
  const controller = new AbortController()
  const marker = join(root, 'late')
  const work = runPrebuild(service(`echo up; (sleep 1; touch ${marker}) & wait`), arm, {
    signal: controller.signal,
    onLine: () => controller.abort(),
  })
  expect((await failure(work)).code).toBe('CANCELLED')
  await Bun.sleep(1300)
  expect(existsSync(marker)).toBe(false)
  expect((await failure(runPrebuild(service('true'), arm, { signal: controller.signal }))).code).toBe('CANCELLED')
})
