import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseIgnoreFile } from '../../src/context/ignore.ts'
import { parseDockerfile } from '../../src/dockerfile/parse.ts'
import { lintDockerfile } from '../../src/lint/lint.ts'
import { RULES } from '../../src/lint/rules.ts'
import type { KnownImage } from '../../src/lint/stage-views.ts'
import { type Platform, parsePlatform } from '../../src/oci/platform.ts'
import { type Registry, startRegistry } from '../../src/registry/server/start.ts'
import { file } from '../fidelity/bases.ts'
import { push } from '../fidelity/push.ts'
import { type BuildKit, peerOrThrow, removeFolder, run, startBuildKit, temporaryFolder } from '../peers/index.ts'
import { canRun, requirePeers } from '../peers/require.ts'
import { BASES, CASES, type LintCase } from './cases.ts'

const NEEDS = ['buildkitd', 'buildctl', 'buildx', 'runc', 'root'] as const
const ALL = Object.values(CASES).flat()
const PARALLEL = 4
/** Only BuildKit's own platform, for that is what its check looks at. */
const PLATFORM = parsePlatform('linux/amd64')

/** `Rule:line: message`, sorted, each once: BuildKit says the same of one instruction several times. */
interface Checked {
  readonly findings: readonly string[]
  readonly error?: { readonly message: string; readonly line: number }
}

const folder = temporaryFolder('lint')
const outcomes = new Map(ALL.map(one => [one.name, Promise.withResolvers<Checked>()]))
let registry: Registry | undefined
let buildkit: BuildKit | undefined

const dockerfileOf = (one: LintCase): string => one.dockerfile.replaceAll('REG/', `${registry!.address}/`)
const unique = (list: readonly string[]): string[] => [...new Set(list)].sort()

interface LintResults {
  readonly warnings:
    | readonly { readonly ruleName: string; readonly detail: string; readonly location: Location }[]
    | null
  readonly buildError?: { readonly message: string; readonly location: Location }
}
interface Location {
  readonly ranges?: readonly { readonly start: { readonly line: number } }[]
}

async function byBuildKit(one: LintCase, index: number): Promise<Checked> {
  const context = join(folder, String(index))
  mkdirSync(context)
  writeFileSync(join(context, 'Dockerfile'), dockerfileOf(one))
  if (one.ignore !== undefined) writeFileSync(join(context, '.dockerignore'), one.ignore)
  const args = Object.entries(one.args ?? {}).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`])
  const target = one.target === undefined ? [] : ['--target', one.target]
  const { stdout, stderr } = await run(
    [peerOrThrow('buildx'), ...['build', '--progress=quiet', '--call=check,format=json'], ...args, ...target, context],
    { env: buildkit!.buildxEnv, timeout: 60_000 },
  )
  if (!stdout.startsWith('{')) throw new Error(`buildx said nothing: ${stdout}${stderr}`)
  const { warnings, buildError } = JSON.parse(stdout) as LintResults
  const line = (location: Location): number => location.ranges?.[0]?.start.line ?? 0
  return {
    findings: unique((warnings ?? []).map(one => `${one.ruleName}:${line(one.location)}: ${one.detail}`)),
    ...(buildError ? { error: { message: buildError.message, line: line(buildError.location) } } : {}),
  }
}

function byArchimage(one: LintCase): Checked & { readonly failing: boolean } {
  const rules = one.ignore === undefined ? undefined : parseIgnoreFile(Buffer.from(one.ignore), '.dockerignore')
  const { findings, errors, options } = lintDockerfile(parseDockerfile(dockerfileOf(one), 'Dockerfile'), {
    platforms: [PLATFORM],
    args: one.args ?? {},
    ...(one.target === undefined ? {} : { target: one.target }),
    ...(rules ? { ignored: source => rules.leavesOut(source) } : {}),
    image: known,
  })
  const own = findings.filter(finding => RULES.some(rule => rule.name === finding.rule && rule.from === 'buildkit'))
  const error = errors[0]?.error
  return {
    findings: unique(own.map(finding => `${finding.rule}:${finding.range.start.line}: ${finding.message}`)),
    ...(error ? { error: { message: error.message, line: error.place?.line ?? 0 } } : {}),
    failing: options.error && own.length > 0,
  }
}

function known(reference: string, platform: Platform): KnownImage | undefined {
  const base = BASES[reference.replace(`${registry!.address}/`, '')]
  if (base === undefined) return undefined
  const list = (key: string): readonly string[] => (base.config?.[key] as string[] | undefined) ?? []
  return {
    platform: base.platform === undefined ? platform : parsePlatform(base.platform),
    index: base.platform === undefined,
    env: list('Env'),
    shell: list('Shell').length > 0,
    onbuild: list('OnBuild'),
  }
}

beforeAll(async () => {
  for (const { promise } of outcomes.values()) promise.catch(() => {})
  if (!canRun(...NEEDS)) return
  registry = await startRegistry({ port: 0 })
  for (const [name, { platform, config }] of Object.entries(BASES)) {
    const platforms = platform === undefined ? ['amd64', 'arm64'] : [platform.slice('linux/'.length)]
    const images = platforms.map(architecture => ({
      platform: { os: 'linux', architecture },
      layers: [{ entries: [file('a', 'a\n')] }],
      ...(config ? { config } : {}),
    }))
    await push(registry.address, name, images, platform !== undefined)
  }
  buildkit = await startBuildKit({ registries: [registry.address] })
  await buildkit.buildx(['version'])
  const queue = [...ALL.entries()]
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [index, one] = next
      await byBuildKit(one, index).then(outcomes.get(one.name)!.resolve, outcomes.get(one.name)!.reject)
    }
  }
  void Promise.all(Array.from({ length: PARALLEL }, work))
}, 120_000)

afterAll(async () => {
  await buildkit?.stop()
  await registry?.close()
  await removeFolder(folder)
})

test('there are cases for every rule of BuildKit, and at least 60', () => {
  const found = new Set(ALL.flatMap(one => one.finds))
  const rules = RULES.filter(rule => rule.from === 'buildkit').map(rule => rule.name)
  expect([...found].sort()).toEqual(rules.sort())
  expect(rules.length).toBe(22)
  expect(new Set(ALL.map(one => one.name)).size).toBe(ALL.length)
  expect(ALL.length).toBeGreaterThanOrEqual(60)
})

for (const [group, cases] of Object.entries(CASES))
  describe(`checks as BuildKit makes them: ${group}`, () => {
    const checked = requirePeers(...NEEDS)
    for (const one of cases)
      checked(one.name, async () => {
        const theirs = await outcomes.get(one.name)!.promise
        const ours = byArchimage(one)
        expect(unique(theirs.findings.map(text => text.split(':')[0]!))).toEqual(unique(one.finds))
        expect(theirs.error !== undefined).toBe(one.fails !== undefined)
        if (one.fails === undefined) {
          expect({ findings: ours.findings, error: ours.error }).toEqual({
            findings: theirs.findings,
            error: undefined,
          })
          return
        }
        expect(ours.error !== undefined || ours.failing).toBe(true)
        if (one.fails > 0) expect([theirs.error!.line, ours.error?.line]).toEqual([one.fails, one.fails])
        // BuildKit stops at an error; archimage goes on with what it can still tell.
        for (const finding of theirs.findings) expect(ours.findings).toContain(finding)
      })
  })
