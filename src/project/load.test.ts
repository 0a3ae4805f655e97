import { afterAll, beforeEach, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, relative } from 'node:path'
import { SCHEMAS, schemaText } from '../../scripts/schema.ts'
import { isArchimageError } from '../errors/error.ts'
import { buildPlatform, formatPlatform, parsePlatform } from '../oci/platform.ts'
import { initFile } from './init.ts'
import { loadProject } from './load.ts'
import type { Project } from './project.ts'
import { selectServices } from './select.ts'
import { dockerfileFor } from './service.ts'

const base = mkdtempSync(join(tmpdir(), 'archimage-project-'))
afterAll(() => rmSync(base, { recursive: true, force: true }))
let root: string
let serial = 0
beforeEach(() => {
  root = join(base, `p${serial++}`)
  mkdirSync(root)
})

function put(path: string, text = 'FROM scratch\n'): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

const load = (yaml?: string): Promise<Project> => {
  if (yaml !== undefined) put('archimage.yaml', yaml)
  return loadProject({ cwd: root })
}
const names = (project: Project): string[] => project.services.map(service => service.name)
const platforms = (project: Project, name: string): string[] =>
  project.services.find(service => service.name === name)!.platforms.map(formatPlatform)
const contextOf = (project: Project, name: string): string =>
  relative(root, project.services.find(service => service.name === name)!.context) || '.'

/** `code line:column message | hint` of what a project file is refused with. */
async function refusal(yaml: string): Promise<string> {
  try {
    await load(yaml)
  } catch (error) {
    if (!isArchimageError(error)) throw error
    const { place } = error
    if (place !== undefined) expect(place.file).toBe(join(root, 'archimage.yaml'))
    return `${error.code} ${place?.line ?? '-'}:${place?.column ?? '-'} ${error.message} | ${error.hint ?? ''}`
  }
  return 'accepted'
}

describe('discovery', () => {
  test('src, services, apps, the root, and one level deeper where there is none', async () => {
    for (const path of ['src/api', 'services/db', 'apps/web', 'src/group/one', 'src/group/two', 'src/api/inner'])
      put(`${path}/Dockerfile`)
    put('Dockerfile')
    put('src/podman/Containerfile')
    put('src/both/Containerfile', 'FROM x\n')
    put('src/both/Dockerfile')
    for (const path of ['src/node_modules/x', 'src/.hidden', 'src/a/b/c', 'lib/x', 'services/vendor/y'])
      put(`${path}/Dockerfile`)
    put('src/other/Dockerfile.dev')
    const project = await load()
    expect(names(project)).toEqual(['api', 'both', 'db', 'one', basename(root), 'podman', 'two', 'web'].sort())
    expect(project.services.find(({ name }) => name === 'both')!.dockerfile).toBe(join(root, 'src/both/Dockerfile'))
    expect(project).toMatchObject({ tag: 'latest', extraTags: [], archTags: '{tag}-{arch}', warnings: [] })
    expect(project.platforms).toEqual([buildPlatform()])
  })
  test('names become repository names', async () => {
    for (const path of ['src/My_App', 'src/api', 'src/Größe 2', 'src/a..b']) put(`${path}/Dockerfile`)
    const project = await load()
    expect(names(project)).toEqual(['a-b', 'api', 'gro-e-2', 'my_app'])
    expect(project.warnings).toContain('src/My_App is service "my_app"')
  })
  test('a name never depends on neighbours: folders that clash or have none get one in archimage.yaml', async () => {
    const said = async (yaml?: string): Promise<string> => (await refusal(yaml as string)).replaceAll('\n', '; ')
    for (const path of ['src/api', 'services/api']) put(`${path}/Dockerfile`)
    expect(await said()).toBe(
      'PROJECT_INVALID -:- src/api and services/api would both be service "api" | name them in archimage.yaml, for instance:; ' +
        'services:;   src-api: { dockerfile: src/api/Dockerfile };   services-api: { dockerfile: services/api/Dockerfile }',
    )
    expect(await said('services: {api: {}}')).toStartWith(
      'PROJECT_INVALID 1:17 service api may be src/api or services/api | say which, for instance: api: { dockerfile: src/api/',
    )
    const one = await load('services: {api: {context: services/api}, web: {dockerfile: src/api/Dockerfile}}')
    expect([names(one), contextOf(one, 'api'), contextOf(one, 'web')]).toEqual([
      ['api', 'web'],
      'services/api',
      'src/api',
    ])
    expect(one.services[0]!.dockerfile).toBe(join(root, 'services/api/Dockerfile'))
    expect(names(await load('services: {web: {dockerfile: src/api/Dockerfile}}'))).toEqual(['api', 'web'])
    expect(await said('services: {api: {context: services/api}}')).toContain(
      'src/api would be service "api", which archimage.yaml has already | name them in archimage.yaml, for instance:; services:;   src-api: ',
    )
    rmSync(join(root, 'archimage.yaml'))
    for (const path of ['services/api', 'src/api']) rmSync(join(root, path), { recursive: true })
    for (const path of ['src/agent', 'src/Agent']) put(`${path}/Dockerfile`)
    expect(await said()).toContain('src/Agent and src/agent would both be service "agent"')
    rmSync(join(root, 'src/Agent'), { recursive: true })
    for (const path of ['src/数据', 'src/网页']) put(`${path}/Dockerfile`)
    expect(await said()).toBe(
      'PROJECT_INVALID -:- no service name (a-z, 0-9) can be made of src/数据 and src/网页 | name them in archimage.yaml, for instance:; ' +
        'services:;   NAME: { dockerfile: src/数据/Dockerfile };   NAME-2: { dockerfile: src/网页/Dockerfile }',
    )
    expect(await said('services: {数据: {}}')).toContain('NAME: { context: src/数据 }')
    const both = await load('services: {data: {context: src/数据}, pages: {dockerfile: src/网页/Dockerfile}}')
    expect([names(both), contextOf(both, 'pages')]).toEqual([['agent', 'data', 'pages'], 'src/网页'])
  })
  test('a folder that was renamed is recognised', async () => {
    for (const path of ['src/agent2', 'src/other', 'apps/worker']) put(`${path}/Dockerfile`)
    for (const [yaml, hint] of [
      ['agent: {context: src/agent}', 'src/agent2 has a Dockerfile: was the folder renamed?'],
      ['agent: {dockerfile: src/agent/Dockerfile}', 'src/agent2 has a Dockerfile: was the folder renamed?'],
      ['agent: {args: {A: b}}', 'src/agent2 has a Dockerfile: was the folder renamed?'],
      ['worker2: {context: src/worker}', 'apps/worker has a Dockerfile: was the folder renamed?'],
      ['nothing-like-it: {context: src/nothing-like-it}', ''],
    ])
      expect((await refusal(`services: {${yaml}}`)).split(' | ')[1]).toBe(hint!)
  })
  test("the user's fifth document: Dockerfiles of single platforms only", async () => {
    for (const suffix of ['amd64', 'arm64', 'win']) put(`Dockerfile.${suffix}`)
    const project = await load()
    const [service] = project.services
    expect(platforms(project, basename(root))).toEqual(['linux/amd64', 'linux/arm64', 'windows/amd64'])
    expect(dockerfileFor(service!, parsePlatform('windows(10.0.20348)/amd64'))).toBe(join(root, 'Dockerfile.win'))
    expect(dockerfileFor(service!, parsePlatform('arm64'))).toBe(join(root, 'Dockerfile.arm64'))
    expect(dockerfileFor(service!, parsePlatform('arm/v7'))).toBeUndefined()
  })
  test('a Dockerfile and some of single platforms', async () => {
    for (const suffix of ['', '.armv7', '.windows', '.arm', '.test']) put(`src/agent/Dockerfile${suffix}`)
    const project = await load('platforms: [linux/amd64, linux/arm64]')
    expect(platforms(project, 'agent')).toEqual(['linux/amd64', 'linux/arm64', 'linux/arm/v7', 'windows/amd64'])
    expect(dockerfileFor(project.services[0]!, parsePlatform('arm'))).toBe(join(root, 'src/agent/Dockerfile.arm'))
    expect(dockerfileFor(project.services[0]!, parsePlatform('arm64'))).toBe(join(root, 'src/agent/Dockerfile'))
    expect(project.warnings).toEqual(['src/agent/Dockerfile.armv7 is not used: another file is for the same platform'])
  })
  test('nothing there', async () => {
    put('deploy/docker/Dockerfile')
    const project = await load()
    expect(project.services).toEqual([])
    expect(() => selectServices(project)).toThrow('no service was found')
    try {
      selectServices(project)
    } catch (error) {
      expect(isArchimageError(error) && [error.code, error.hint]).toEqual([
        'NO_SERVICES',
        expect.stringContaining('deploy/docker/Dockerfile'),
      ])
    }
  })
  test('a project file above is named, not used', async () => {
    put('archimage.yaml', 'tag: v9')
    mkdirSync(join(root, 'a/b'), { recursive: true })
    const project = await loadProject({ cwd: join(root, 'a/b') })
    expect(project).toMatchObject({ tag: 'latest', warnings: [expect.stringContaining('archimage -C ../..')] })
  })
})

describe('the context', () => {
  test('is the project folder when the sources are there', async () => {
    put('go.mod', '')
    put('src/backend/main.go', '')
    put('src/backend/Dockerfile', 'FROM scratch\nCOPY go.mod ./\nCOPY ["src/backend/", "/app/"]\n')
    const project = await load()
    expect(contextOf(project, 'backend')).toBe('.')
    expect(project.services[0]!.because).toContain('go.mod')
  })
  test('is the own folder when they are there, in both, nowhere, or not said', async () => {
    put('package.json', '')
    put('src/own/package.json', '')
    put('src/own/src/index.js', '')
    put('src/own/Dockerfile', 'FROM scratch\nCOPY package.json src/ ./\n')
    put('src/all/Dockerfile', 'FROM scratch\nCOPY . .\nADD https://example.com/package.json /\n')
    put('src/stage/Dockerfile', 'FROM scratch AS x\nFROM scratch\nCOPY --from=x package.json /\n')
    put('src/made/Dockerfile', 'FROM scratch\nCOPY dist/$TARGETARCH/app /\n')
    put('src/broken/Dockerfile', 'COPY --nonsense\n')
    const project = await load()
    for (const name of names(project)) expect([name, contextOf(project, name)]).toEqual([name, `src/${name}`])
  })
  test('counts what is there of a path whose end is not made yet', async () => {
    mkdirSync(join(root, 'src/web/src'), { recursive: true })
    put('src/web/Dockerfile', 'FROM scratch\nCOPY src/web/dist/app-$TARGETARCH /app\n')
    expect(contextOf(await load(), 'web')).toBe('.')
  })
  test('bind mounts of RUN count', async () => {
    put('shared/lib', '')
    put('src/web/Dockerfile', 'FROM scratch\nRUN --mount=type=bind,source=shared/lib,target=/l make\n')
    expect(contextOf(await load(), 'web')).toBe('.')
  })
})

describe('archimage.yaml', () => {
  test('every key', async () => {
    put('src/backend/Dockerfile')
    put('src/backend/Dockerfile.win')
    put('other/Dockerfile.x')
    put('VERSION', '\ufeffv1.2.3\n')
    const project = await load(`
registry: harbor.example.com/ai-infra/
image: "ai-infra-{service}"
version-file: VERSION
tags: [latest, v1.2.3]
arch-tags: "{image}-{arch}:{tag}"
platforms: [amd64, aarch64]
services:
  backend:
    context: .
    dockerfile: src/backend/Dockerfile
    dockerfiles: { win/x86_64: src/backend/Dockerfile.win }
    platforms: [linux/amd64, windows/amd64]
    args: { GOFLAGS: -mod=vendor, VERSION: 1.10, EMPTY: , ON: true }
    target: final
    labels: { a: b }
    annotations: { c: d }
    build-contexts: { base: docker-image://alpine }
    prebuild: [make, $TARGETARCH]
    timestamps: keep
    modes: git
    platform-exception: firmware
  extra:
    dockerfile: other/Dockerfile.x
    image: special/name
`)
    expect(project).toMatchObject({
      registry: 'harbor.example.com/ai-infra',
      tag: 'v1.2.3',
      extraTags: ['latest'],
      archTags: '{image}-{arch}:{tag}',
      warnings: [],
    })
    expect(project.platforms.map(formatPlatform)).toEqual(['linux/amd64', 'linux/arm64'])
    const [backend, extra] = project.services
    expect(backend).toMatchObject({
      name: 'backend',
      image: 'ai-infra-backend',
      context: root,
      dockerfile: join(root, 'src/backend/Dockerfile'),
      dockerfiles: { 'windows/amd64': join(root, 'src/backend/Dockerfile.win') },
      args: { GOFLAGS: '-mod=vendor', VERSION: '1.10', EMPTY: '', ON: 'true' },
      target: 'final',
      labels: { a: 'b' },
      annotations: { c: 'd' },
      buildContexts: { base: 'docker-image://alpine' },
      prebuild: ['make', '$TARGETARCH'],
      timestamps: 'keep',
      modes: 'git',
      platformException: 'firmware',
    })
    expect(platforms(project, 'backend')).toEqual(['linux/amd64', 'windows/amd64'])
    expect(extra).toMatchObject({ image: 'special/name', context: join(root, 'other'), timestamps: 'content' })
  })
  test('empty, only comments, .yml, a file elsewhere', async () => {
    put('src/a/Dockerfile')
    expect(names(await load(''))).toEqual(['a'])
    expect(names(await load('# nothing\nservices:\n  a:\n'))).toEqual(['a'])
    rmSync(join(root, 'archimage.yaml'))
    put('archimage.yml', 'tag: v2')
    expect((await load()).tag).toBe('v2')
    expect((await loadProject({ cwd: base, projectFile: `${basename(root)}/archimage.yml` })).root).toBe(root)
    expect(loadProject({ cwd: root, projectFile: 'none.yaml' })).rejects.toThrow('there is no file')
  })
  test('a service that takes a discovered Dockerfile takes its place', async () => {
    put('src/a/Dockerfile')
    const yaml =
      'services:\n  one: { dockerfile: src/a/Dockerfile, target: x }\n  two: { dockerfile: src/a/Dockerfile }'
    expect(names(await load(yaml))).toEqual(['one', 'two'])
    put('Dockerfile.arm64')
    expect(names(await load('services: { demo: { context: . } }'))).toEqual(['a', 'demo'])
  })
  test('a service by its context alone', async () => {
    put('deploy/x/Dockerfile.amd64')
    const project = await load('services: { x: { context: deploy/x } }')
    expect([contextOf(project, 'x'), platforms(project, 'x')]).toEqual(['deploy/x', ['linux/amd64']])
  })
  test('mistakes are refused with place, cause and remedy', async () => {
    put('src/api/Dockerfile')
    put('src/web/Dockerfile')
    put('src/win/Dockerfile.win')
    put('BAD', 'not a tag\n')
    const table: readonly (readonly [string, string])[] = [
      ['tag: a\nregisty: x', 'PROJECT_INVALID 2:1 unknown key "registy" | did you mean "registry"?'],
      [
        'services:\n  api:\n    dockerfle: x',
        'PROJECT_INVALID 3:5 unknown key "dockerfle" | did you mean "dockerfile"?',
      ],
      [
        'platforms: linux/amd64',
        'PROJECT_INVALID 1:12 "platforms" must be a list; it is a text | write it as [linux/amd64]',
      ],
      [
        'platforms: [linux/amd46]',
        'PROJECT_INVALID 1:13 "linux/amd46" is not a platform: unknown architecture "amd46" | did you mean "linux/amd64"?',
      ],
      ['platforms: []', 'PROJECT_INVALID 1:12 "platforms" is empty | '],
      ['services: [api]', 'PROJECT_INVALID 1:11 "services" must be a map of keys and values; it is a list | '],
      [
        'services:\n  api:\n    args: [a]',
        'PROJECT_INVALID 3:11 "services.api.args" must be a map of keys and values; it is a list | ',
      ],
      [
        'services:\n  api:\n    prebuild: {a: b}',
        'PROJECT_INVALID 3:15 "services.api.prebuild" must be a text or a list of texts; it is a map | ',
      ],
      [
        'services:\n  api:\n    timestamps: comit',
        'PROJECT_INVALID 3:17 "services.api.timestamps" is "comit"; it must be one of content, keep, commit | did you mean "commit"?',
      ],
      ['services:\n  api:\n    args: {1A: b}', 'PROJECT_INVALID 3:16 "1A" is not an argument\'s name | '],
      ['services:\n  api:\n    context: no/such', 'PROJECT_INVALID 3:14 there is no folder no/such | '],
      [
        'services:\n  api:\n    context: https://x/y.git',
        'PROJECT_INVALID 3:14 the context of a service must be a folder, not a URL | ',
      ],
      ['services:\n  api:\n    dockerfile: nope', 'PROJECT_INVALID 3:17 there is no file nope | '],
      ['services:\n  api:\n    dockerfile: src', 'PROJECT_INVALID 3:17 src is not a file | '],
      [
        'services:\n  win:\n    platforms: [linux/amd64]',
        'PROJECT_INVALID 3:16 service win has no Dockerfile for linux/amd64 | it has one for windows/amd64',
      ],
      [
        'services:\n  Api: {context: src/api}',
        'PROJECT_INVALID 2:8 "Api" is not a service name | a name has lower case letters, digits, ".", "_" and "-"',
      ],
      [
        'services:\n  ghost: {}',
        'PROJECT_INVALID 2:10 service ghost has no Dockerfile: src/, services/ and apps/ have no folder of that name | give it a "dockerfile", or a "context" that has one',
      ],
      ['tag: a/b', 'PROJECT_INVALID 1:6 "a/b" is not a tag | a tag has letters, digits, "_", "." and "-", at most 128'],
      ['tag: a\nversion-file: BAD', 'PROJECT_INVALID 2:15 "tag" and "version-file" exclude each other | '],
      ['version-file: BAD', 'PROJECT_INVALID 1:15 BAD holds "not a tag", which is not a tag | '],
      ['version-file: NONE', 'PROJECT_INVALID 1:15 there is no file NONE | '],
      ['version-file: src', 'PROJECT_INVALID 1:15 src is not a file | '],
      ['tags: [a b]', 'PROJECT_INVALID 1:8 "a b" is not a tag | '],
      [
        'registry: team/app',
        'PROJECT_INVALID 1:11 "team/app" does not begin with a registry | for Docker Hub: docker.io/team/app',
      ],
      [
        'image: one',
        'PROJECT_INVALID 1:8 services api and web have the same image name "one" | use {service} in the pattern',
      ],
      ['image: "{servise}"', 'PROJECT_INVALID 1:8 "{servise}" is unknown here | did you mean "service"?'],
      ['image: "x:{service}"', 'PROJECT_INVALID 1:8 "x:api" is not an image name without registry and tag | '],
      [
        'arch-tags: "{tag}"',
        'PROJECT_INVALID 1:12 "arch-tags" must contain {tag} and {arch} | for instance {tag}-{arch} or {image}-{arch}:{tag}',
      ],
      ['a: [', 'PROJECT_INVALID 1:5 '],
      ['tag: a\ntag: b', 'PROJECT_INVALID 2:1 '],
      ['- a', 'PROJECT_INVALID 1:1 the file must be a map of keys and values; it is a list | '],
      ['hello', 'PROJECT_INVALID 1:1 the file must be a map of keys and values; it is a text | '],
    ]
    for (const [yaml, expected] of table) {
      const said = await refusal(yaml)
      expect([
        yaml,
        said.slice(0, expected.endsWith(' ') && !expected.includes('|') ? expected.length : undefined),
      ]).toEqual([yaml, expected])
    }
  })
  test('hostile YAML', async () => {
    const bomb = [
      'a: &a [x,x,x,x,x,x,x,x,x]',
      ...'bcdefghi'.split('').map((n, i) => `${n}: &${n} [${`*${'abcdefgh'[i]},`.repeat(9)}]`),
    ]
    expect(await refusal(bomb.join('\n'))).toContain('aliases')
    expect(await refusal('a: &a [*a]')).toStartWith('PROJECT_INVALID 1:')
    expect(await refusal('x: &x {tag: a}\n<<: *x')).toStartWith('PROJECT_INVALID 2:1 merge keys')
    expect(await refusal(`${'['.repeat(100_000)}`)).toStartWith('PROJECT_INVALID')
    expect(await refusal(`a: ${'['.repeat(60)}${']'.repeat(60)}`)).toContain('deep')
    expect(await refusal(`# ${'x'.repeat(600_000)}`)).toContain('bytes')
    expect(await refusal('tag: a\n---\ntag: b')).toContain('several documents')
    expect(await refusal('tag: !!js/function "x"')).toStartWith('PROJECT_INVALID 1:')
    expect(await refusal('__proto__: {tag: x}')).toStartWith('PROJECT_INVALID 1:1 unknown key "__proto__"')
    expect(await refusal('services: {constructor: {}}')).toStartWith('PROJECT_INVALID 1:')
    expect(await refusal('? {a: b}\n: c')).toStartWith('PROJECT_INVALID 1:')
    writeFileSync(join(root, 'archimage.yaml'), Buffer.from([0x61, 0x3a, 0xff]))
    expect(load()).rejects.toThrow('not UTF-8')
  })
})

test('init writes a file that loads to the same project', async () => {
  put('go.mod', '')
  put('src/api/Dockerfile', 'FROM scratch\nCOPY go.mod /\n')
  put('src/no/Dockerfile')
  put('src/2/Dockerfile')
  put('src/agent/Dockerfile')
  put('src/agent/Dockerfile.win')
  for (const suffix of ['amd64', 'arm']) put(`apps/only/Dockerfile.${suffix}`)
  const before = await load()
  const text = initFile(before)
  expect(text).toContain('go.mod')
  const after = await load(text)
  const plain = (project: Project): unknown => ({
    ...project,
    file: undefined,
    warnings: [],
    services: project.services.map(service => ({ ...service, because: '' })),
  })
  expect(plain(after)).toEqual(plain(before))
  // Whoever takes the # away gets the same again, and a folder may be renamed as long as nobody did.
  const lines = text.split('\n')
  const uncommented = [
    ...lines.slice(0, lines.indexOf('# services:')),
    ...lines.slice(lines.indexOf('# services:')).map(line => line.slice(2)),
  ].join('\n')
  expect(uncommented).toContain('\n    dockerfile: src/agent/Dockerfile\n')
  expect(plain(await load(uncommented))).toEqual(plain(before))
  await load(text)
  renameSync(join(root, 'src/agent'), join(root, 'src/agent2'))
  expect(names(await load())).toContain('agent2')
  rmSync(join(root, 'src'), { recursive: true })
  rmSync(join(root, 'apps'), { recursive: true })
  rmSync(join(root, 'archimage.yaml'))
  expect(names(await load(initFile(await load())))).toEqual([])
})

test('init writes what discovery would not find again', async () => {
  put('docker/api.Dockerfile')
  put('src/web/Dockerfile')
  put('src/same/Dockerfile')
  const before = await load('services: {api: {context: ., dockerfile: docker/api.Dockerfile}, web: {context: .}}')
  const text = initFile(before)
  expect(text).toMatch(/^services:$/m)
  expect(text).toMatch(/^ {2}api:\n {4}context: \.\n {4}dockerfile: docker\/api\.Dockerfile$/m)
  expect(text).toMatch(/^# {3}same:$/m)
  const after = await load(text)
  expect(after.services.map(one => [one.name, one.context, one.dockerfile])).toEqual(
    before.services.map(one => [one.name, one.context, one.dockerfile]),
  )
})

test('services may have names that every object knows', async () => {
  put('services/constructor/Dockerfile')
  put('services/web/Dockerfile')
  expect(names(await load('services:\n  web: {}\n'))).toEqual(['constructor', 'web'])
})

test('services are chosen by name', async () => {
  for (const name of ['api', 'web']) put(`src/${name}/Dockerfile`)
  const project = await load('image: "team-{service}"')
  expect(selectServices(project).map(({ name }) => name)).toEqual(['api', 'web'])
  expect(selectServices(project, ['web']).map(({ name }) => name)).toEqual(['web'])
  for (const [name, hint] of [
    ['wbe', 'did you mean "web"?'],
    ['team-api', 'did you mean "api"?'],
    ['something', 'the services are: api, web'],
  ])
    try {
      selectServices(project, [name!])
      throw new Error('accepted')
    } catch (error) {
      expect(isArchimageError(error) && [error.code, error.hint]).toEqual(['UNKNOWN_SERVICE', hint!])
    }
})

test('the schemas in schema/ are those of the sources (npm run schema)', () => {
  for (const [name, make] of Object.entries(SCHEMAS)) {
    const file = new URL(`../../schema/${name}`, import.meta.url)
    expect(existsSync(file)).toBe(true)
    expect(readFileSync(file, 'utf8')).toBe(schemaText(make))
  }
})
