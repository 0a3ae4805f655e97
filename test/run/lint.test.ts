import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { file } from '../fidelity/bases.ts'
import { type BaseImage, push } from '../fidelity/push.ts'
import { freePort } from '../peers/process.ts'
import { resultOf, Sandbox } from './command.ts'

const sandbox = new Sandbox('lint')
let registry: FaultyRegistry

const PLATFORMS = 'platforms: [linux/amd64, linux/arm64]\n'
const image = (architecture: string, config = {}): BaseImage => ({
  platform: { os: 'linux', architecture },
  layers: [{ entries: [file('a', 'a\n')] }],
  config,
})

beforeAll(async () => {
  registry = await startFaultyRegistry()
  const config = { Env: ['FROM_BASE=1'] }
  await push(registry.address, 'base:1', [image('amd64', config), image('arm64', config)])
  await push(registry.address, 'single:1', [image('amd64')], true)
})
afterAll(async () => {
  await registry.close()
  await sandbox.dispose()
})

interface Told {
  readonly location: {
    readonly sourceIndex?: number
    readonly ranges?: readonly { readonly start: { readonly line: number } }[]
  }
  readonly platforms: readonly string[]
  readonly ruleName?: string
  readonly code?: string
}
interface Results {
  readonly warnings: readonly Told[]
  readonly buildErrors?: readonly Told[]
  readonly sources: readonly { readonly filename: string }[]
}

/** `FILE:LINE Rule` of each finding, with the platforms where not all have it. */
async function lint(project: string, ...args: string[]): Promise<{ found: string[]; code: number; stderr: string }> {
  const { stdout, stderr, code } = await sandbox.run(['lint', '--json', ...args], { cwd: project })
  const { warnings, sources, buildErrors = [] } = JSON.parse(stdout) as Results
  const text = ({ location, platforms, ruleName, code }: Told): string => {
    const line = location.ranges?.[0]?.start.line ?? ''
    const on = platforms.length === 2 ? '' : ` on ${platforms.join()}`
    return `${sources[location.sourceIndex ?? 0]!.filename}:${line} ${ruleName ?? code}${on}`
  }
  const found = [...buildErrors, ...warnings].map(text)
  return { found, code, stderr }
}

describe('what is checked', () => {
  const project = sandbox.project('what', {
    'archimage.yaml': PLATFORMS,
    'src/api/Dockerfile': 'FROM scratch AS Api\nENV OWN=1\n',
    'src/web/Dockerfile': 'FROM api\nENV A=$OWN B=$OWM\nADD https://example.com/x-amd64 /x\n',
    'src/broken/Dockerfile': 'FROM scratch\nCOPPY a b\n',
    'src/late/Dockerfile': 'FROM scratch AS a\nCOPY --from=b /a /a\nFROM scratch AS b\nENV A=$B\n',
  })

  test('every service, whatever is wrong with another; services upon services with the config that those would have', async () => {
    const { found, code } = await lint(project)
    expect(found).toEqual([
      'src/broken/Dockerfile:2 DOCKERFILE_INVALID',
      'src/late/Dockerfile:2 DOCKERFILE_INVALID',
      'src/api/Dockerfile:1 StageNameCasing',
      'src/late/Dockerfile:4 UndefinedVar',
      'src/web/Dockerfile:2 UndefinedVar',
      'src/web/Dockerfile:3 HardcodedArchitecture on linux/arm64',
    ])
    expect(code).toBe(2)
  })

  test('the services that are named, for the platforms that are', async () => {
    expect(await lint(project, 'web', '--platform', 'linux/amd64')).toMatchObject({
      found: ['src/web/Dockerfile:2 UndefinedVar on linux/amd64'],
      code: 0,
    })
  })

  test('a folder, a Dockerfile by name, and one on standard input', async () => {
    const folder = join(project, 'src/api')
    expect(await lint(project, './src/api')).toMatchObject({
      found: ['Dockerfile:1 StageNameCasing on linux/amd64'],
      code: 0,
    })
    expect((await lint(project, '-f', join(folder, 'Dockerfile'), '.')).found).toEqual([
      'src/api/Dockerfile:1 StageNameCasing on linux/amd64',
    ])
    const ended = await sandbox.run(['lint', '-'], { cwd: project, input: 'FROM scratch as x\n' })
    expect(ended.stdout).toContain('FromAsCasing')
  })

  test('a target, and arguments', async () => {
    const staged = sandbox.project('target', {
      'src/x/Dockerfile': 'ARG TAG\nFROM scratch AS a\nENV A=$B\nFROM scratch AS b\nARG C\nENV A=$C\n',
      'archimage.yaml': PLATFORMS,
    })
    expect((await lint(staged)).found).toEqual(['src/x/Dockerfile:3 UndefinedVar'])
    expect((await lint(staged, '--target', 'b', '--build-arg', 'C=1')).found).toEqual([])
    const options = ['--build-arg', 'BUILDKIT_DOCKERFILE_CHECK=skip=UndefinedVar']
    expect((await lint(staged, ...options)).found).toEqual([])
  })

  test('the context: what is ignored, and modes', async () => {
    const files = sandbox.project('context', {
      'archimage.yaml': PLATFORMS,
      'src/x/Dockerfile': 'FROM scratch\nCOPY tmp/x /x\nCOPY site /site\n',
      'src/x/Dockerfile.dockerignore': 'tmp\n',
      'src/x/site/a': 'a',
      'src/x/site/b': 'b',
    })
    for (const [path, mode] of [
      ['site', 0o775],
      ['site/a', 0o664],
      ['site/b', 0o664],
    ] as const)
      chmodSync(join(files, 'src/x', path), mode)
    expect((await lint(files)).found).toEqual([
      'src/x/Dockerfile:2 CopyIgnoredFile',
      'src/x/Dockerfile:3 GroupWritableFiles',
    ])
    const git = sandbox.project('context', { 'archimage.yaml': `${PLATFORMS}services: { x: { modes: git } }\n` })
    expect((await lint(git)).found).toEqual(['src/x/Dockerfile:2 CopyIgnoredFile'])
  })
})

describe('bases', () => {
  const of = (name: string, dockerfile: string): string =>
    sandbox.project(name, {
      'archimage.yaml': PLATFORMS,
      'src/x/Dockerfile': dockerfile.replaceAll('REG', registry.address),
    })

  test('their variables are known', async () => {
    const project = of('known', 'FROM REG/base:1\nENV A=$FROM_BASE B=$FROM_BASS\n')
    expect(await lint(project)).toMatchObject({ found: ['src/x/Dockerfile:2 UndefinedVar'], code: 0 })
  })

  test('one that is no index; what BuildKit warns of is an error here, said once', async () => {
    const project = of('single', 'FROM REG/single:1\n')
    expect(await lint(project)).toMatchObject({
      found: ['src/x/Dockerfile:1 BaseNotIndex', 'src/x/Dockerfile:1 InvalidBaseImagePlatform on linux/arm64'],
      code: 1,
    })
  })

  test('pinned to the digest of one platform', async () => {
    const index = await (await fetch(`${registry.url}/v2/base/manifests/1`, { headers: { accept: '*/*' } })).json()
    const { digest } = (index as { manifests: { digest: string }[] }).manifests[0]!
    const project = of('pinned', `FROM REG/base:1@${digest}\n`)
    expect((await lint(project)).found).toContain('src/x/Dockerfile:1 BasePinnedToPlatform')
  })

  test('a last stage of another platform: one finding', async () => {
    const project = of('final', 'FROM --platform=$BUILDPLATFORM REG/base:1 AS base\nFROM base\n')
    const { found, code } = await lint(project)
    expect(found).toEqual([expect.stringMatching(/^src\/x\/Dockerfile:1 FinalStagePinned on linux\/\w+$/)])
    expect(code).toBe(1)
  })

  test('one that does not exist is an error, also in a stage for another target', async () => {
    const project = of('missing', 'FROM REG/nothing:1 AS test\nFROM scratch\n')
    expect(await lint(project)).toMatchObject({ found: ['src/x/Dockerfile:1 NOT_FOUND'], code: 1 })
  })

  test('a registry that does not answer is a note, and so is what --offline cannot see', async () => {
    const port = await freePort()
    const project = of('away', `FROM localhost:${port}/x:1\nENV A=$B\nCMD x\n`)
    const away = await lint(project)
    expect(away).toMatchObject({ found: ['src/x/Dockerfile:3 JSONArgsRecommended'], code: 0 })
    expect(away.stderr).toMatch(new RegExp(`^note: .*localhost:${port}`, 'm'))
    const offline = await lint(of('offline', 'FROM REG/other:1\nENV A=$B\n'), '--offline')
    expect(offline).toMatchObject({ found: [], code: 0 })
    expect(offline.stderr).toMatch(/^note: .*--offline/m)
  })
})

describe('what it says, and how it ends', () => {
  const project = sandbox.project('says', {
    'archimage.yaml': PLATFORMS,
    'src/a b/Dockerfile': 'FROM scratch AS X\nADD https://example.com/%2C,x-arm64 /x\n',
  })

  test('text: the place, its lines, what to do; where it holds', async () => {
    const { stdout, code } = await sandbox.run(['lint'], { cwd: project })
    expect(stdout).toBe(`warning: StageNameCasing: Stage name 'X' should be lowercase
  src/a b/Dockerfile:1
  >>> 1 │ FROM scratch AS X
        │ ^^^^^^^^^^^^^^^^^
      2 │ ADD https://example.com/%2C,x-arm64 /x
  → write the name in lower case

warning: HardcodedArchitecture: The architecture arm64 is written into "https://example.com/%2C,x-arm64"
  src/a b/Dockerfile:2, on linux/amd64 only
      1 │ FROM scratch AS X
  >>> 2 │ ADD https://example.com/%2C,x-arm64 /x
        │ ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  → write $TARGETARCH, with ARG TARGETARCH above; where the name differs choose it with case "$TARGETARCH" in …

2 warnings in 1 Dockerfile, checked for linux/amd64, linux/arm64
`)
    expect(code).toBe(0)
  })

  test('annotations of GitHub', async () => {
    const { stdout } = await sandbox.run(['lint', '--format', 'github'], { cwd: project })
    expect(
      stdout,
    ).toBe(`::warning file=src/a b/Dockerfile,line=1,endLine=1,title=StageNameCasing::Stage name 'X' should be lowercase
::warning file=src/a b/Dockerfile,line=2,endLine=2,title=HardcodedArchitecture::The architecture arm64 is written into "https://example.com/%252C,x-arm64" (on linux/amd64 only)
`)
  })

  test('paths are those of where it ran', async () => {
    const { stdout } = await sandbox.run(['lint', '--format', 'github', `./${project.split('/').at(-1)}/src/a b`])
    expect(stdout).toContain(`file=${project.split('/').at(-1)}/src/a b/Dockerfile,line=1`)
  })

  test('SARIF', async () => {
    const { stdout } = await sandbox.run(['lint', '--format', 'sarif'], { cwd: project })
    const { version, runs } = JSON.parse(stdout)
    expect(version).toBe('2.1.0')
    const [{ tool, results }] = runs
    expect(results).toHaveLength(2)
    const [first, second] = results
    expect(tool.driver.rules[first.ruleIndex].id).toBe('StageNameCasing')
    expect(first.locations).toEqual([
      {
        physicalLocation: {
          artifactLocation: { uri: 'src/a%20b/Dockerfile', uriBaseId: '%SRCROOT%' },
          region: { startLine: 1, startColumn: 1, endLine: 1, endColumn: 18 },
        },
      },
    ])
    expect(second).toMatchObject({
      ruleId: 'HardcodedArchitecture',
      level: 'warning',
      message: { text: expect.stringContaining('(on linux/amd64 only)') },
      properties: { platforms: ['linux/amd64'] },
    })
  })

  test('--error-on, and error=true in the file', async () => {
    expect((await lint(project, '--error-on', 'warning')).code).toBe(1)
    const strict = sandbox.project('strict', { 'src/x/Dockerfile': '# check=error=true\nFROM scratch AS X\n' })
    expect((await lint(strict)).code).toBe(1)
    const fine = sandbox.project('fine', { 'src/x/Dockerfile': '# check=error=true\nFROM scratch AS x\n' })
    const { stdout, code } = await sandbox.run(['lint', '--error-on', 'warning'], { cwd: fine })
    expect([stdout, code]).toEqual(['no findings in 1 Dockerfile, checked for linux/amd64\n', 0])
  })
})

describe('build', () => {
  const project = sandbox.project('build', {
    'archimage.yaml': PLATFORMS,
    'src/x/Dockerfile':
      'ARG TARGETARCH\nFROM scratch AS amd64\nFROM scratch AS arm64\nENV A=$B\nFROM ${TARGETARCH}\nLABEL a b\n',
    'src/y/Dockerfile': 'FROM scratch\nARG TARGETARCH=amd64\n',
  })

  test('warns, once, and says where it holds', async () => {
    await sandbox.must(['build'], { cwd: project })
    expect(resultOf(project).warnings).toEqual([
      "src/x/Dockerfile:4: UndefinedVar: Usage of undefined variable '$B' (on linux/arm64 only)",
      'src/x/Dockerfile:6: LegacyKeyValueFormat: "LABEL key=value" should be used instead of legacy "LABEL key value" format',
      'src/y/Dockerfile:2: AutomaticArgShadowed: The default of ARG TARGETARCH hides the value that the builder gives it for each platform',
    ])
  })

  test('fails where check=error=true wants it, as in BuildKit; rules of our own do not count', async () => {
    const strict = sandbox.project('build-strict', {
      'src/x/Dockerfile': '# check=error=true\nFROM scratch AS X\nENV a b\n',
      'src/y/Dockerfile': '# check=error=true\nFROM scratch\nARG TARGETARCH=amd64\n',
      'src/z/Dockerfile': '# check=error=true;skip=StageNameCasing\nFROM scratch AS X\n',
      'src/w/Dockerfile': '# check=eror=true\nFROM scratch\n',
    })
    const { code, stderr } = await sandbox.run(['build'], { cwd: strict })
    expect(code).toBe(2)
    const cells = resultOf(strict).cells.map(cell => [cell.service, cell.failure?.code, cell.failure?.line])
    expect(cells).toEqual([
      ['w', 'DOCKERFILE_INVALID', 1],
      ['x', 'CHECK_FAILED', 2],
      ['y', undefined, undefined],
      ['z', undefined, undefined],
    ])
    expect(stderr).toContain('StageNameCasing (line 2), LegacyKeyValueFormat (line 3)')
    const plan = await sandbox.run(['plan'], { cwd: strict })
    expect(plan.stdout).toContain('cannot be built: checks found what check=error=true forbids')
  })

  test('--check and --call end as those of docker buildx', async () => {
    const run = (...args: string[]) => sandbox.run(['build', ...args], { cwd: project })
    const checked = await run('--check')
    expect(checked.code).toBe(1)
    expect(checked.stdout).toContain('LegacyKeyValueFormat')
    expect((await run('--call=check,ignorestatus=true')).code).toBe(0)
    const json = await run('--call', 'lint,format=json', 'x')
    expect(JSON.parse(json.stdout).warnings).toHaveLength(2)
    expect((await run('--call=targets', './src/x')).stdout).toContain('(default)')
    expect((await run('--call=outline', 'y')).stdout).toContain('TARGETARCH')
    const many = await run('--call=outline')
    expect([many.code, many.stderr]).toEqual([2, expect.stringContaining('one Dockerfile')])
    const wrong = await run('--call=chek')
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('did you mean "check"?')])
    for (const other of ['plan', 'all']) {
      const ended = await sandbox.run([other, '--check'], { cwd: project })
      expect([ended.code, ended.stderr]).toEqual([2, expect.stringContaining('archimage lint checks')])
    }
    for (const odd of ['check,format=xml', 'check,outline', 'check,x=1', 'check,ignorestatus=maybe'])
      expect((await run(`--call=${odd}`)).code).toBe(2)
  })
})
