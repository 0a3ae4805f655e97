import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { appendFileSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Registry, startRegistry } from '../../src/registry/server/start.ts'
import { digests, resultOf, Sandbox, states } from './command.ts'
import { putBase, Remote } from './images.ts'

const sandbox = new Sandbox('same')
let registry: Registry

beforeAll(async () => {
  registry = await startRegistry({ port: 0 })
  sandbox.mirror(registry.address)
  await putBase(new Remote(registry, 'library/alpine'), '3')
})
afterAll(async () => {
  await registry.close()
  await sandbox.dispose()
})

const FILES = {
  'archimage.yaml': 'platforms: [linux/amd64, linux/arm64]\n',
  'src/base/Dockerfile': 'FROM alpine:3\nCOPY etc /etc/\n',
  'src/base/etc/motd': 'hello\n',
  'src/api/Dockerfile':
    'FROM base\nARG TARGETARCH\nWORKDIR /srv/app\nCOPY --chown=7:8 app.txt lib ./\nENV ARCH=$TARGETARCH\n',
  'src/api/app.txt': 'api\n',
  'src/api/lib/b.txt': 'b\n',
  'src/api/lib/a.txt': 'a\n',
}

describe('same sources, same bytes', () => {
  test('in other directories, with other times, other stores and any number of jobs', async () => {
    const one = sandbox.project('one', FILES)
    const two = sandbox.project('two/deeper', Object.fromEntries(Object.entries(FILES).toReversed()))
    for (const file of Object.keys(FILES)) utimesSync(join(two, file), 1_000_000, 1_000_000)
    const first = await sandbox.must(['build', '--jobs', '1'], { cwd: one })
    const env = { ARCHIMAGE_HOME: join(sandbox.folder, 'other store') }
    const second = await sandbox.must(['build', '--jobs', '8'], { cwd: two, env })
    expect(Object.keys(digests(first.stdout))).toEqual(['api', 'base'])
    expect(second.stdout).toBe(first.stdout)
    const cells = (path: string) =>
      resultOf(path).cells.map(cell => [cell.service, cell.platform, cell.digest, cell.size])
    expect(cells(two).sort()).toEqual(cells(one).sort())
  })

  test('a second run is unchanged, and --force builds the same again', async () => {
    const project = sandbox.project('again', FILES)
    const first = await sandbox.must(['build'], { cwd: project })
    const second = await sandbox.must(['build'], { cwd: project })
    expect(second.stdout).toBe(first.stdout)
    expect(new Set(Object.values(states(project)))).toEqual(new Set(['unchanged']))
    const third = await sandbox.must(['build', '--force'], { cwd: project })
    expect(third.stdout).toBe(first.stdout)
    expect(new Set(Object.values(states(project)))).toEqual(new Set(['built']))
  })
})

describe('COPY . . from the root of the project', () => {
  const files = {
    Dockerfile: 'FROM scratch\nCOPY . .\n',
    'archimage.yaml': 'services:\n  app:\n    dockerfile: Dockerfile\n    context: .\n',
    'data/one.txt': 'some bytes\n',
    'data/two.txt': 'other bytes\n',
  }

  test('what the run writes is no part of it: unchanged, with outputs too', async () => {
    const project = sandbox.project('whole', files)
    const first = await sandbox.must(['build'], { cwd: project })
    const second = await sandbox.must(['build'], { cwd: project })
    expect(second.stdout).toBe(first.stdout)
    expect(Object.values(states(project))).toEqual(['unchanged'])
    const outputs = ['-o', 'type=oci,dest=out/app.tar', '--metadata-file', 'meta.json', '--iidfile', 'id.txt']
    mkdirSync(join(project, 'out'))
    const third = await sandbox.must(['build', 'app', ...outputs], { cwd: project })
    const fourth = await sandbox.must(['build', 'app', ...outputs], { cwd: project })
    expect(fourth.stdout).toBe(third.stdout)
    expect(Object.values(states(project))).toEqual(['unchanged'])
  })

  test('one byte changed, with size and time restored, is seen', async () => {
    const project = sandbox.project('byte', files)
    const first = await sandbox.must(['build'], { cwd: project })
    // Past the two seconds in which no hash is remembered.
    execFileSync('touch', ['-d', '2020-01-01T00:00:00Z', join(project, 'data/one.txt')])
    await sandbox.must(['build'], { cwd: project })
    await Bun.sleep(2100)
    await sandbox.must(['build'], { cwd: project })
    const file = join(project, 'data/one.txt')
    execFileSync('cp', ['-p', file, join(sandbox.folder, 'reference')])
    const text = readFileSync(file, 'utf8')
    writeFileSync(file, text.replace('some', 'tome'))
    execFileSync('touch', ['-r', join(sandbox.folder, 'reference'), file])
    const second = await sandbox.must(['build'], { cwd: project })
    expect(second.stdout).not.toBe(first.stdout)
    expect(Object.values(states(project))).toEqual(['built'])
    expect(resultOf(project).cells[0]!.reason).toBe('files of COPY . . changed')
    writeFileSync(file, text)
    const third = await sandbox.must(['build'], { cwd: project })
    expect(third.stdout).toBe(first.stdout)
    expect(resultOf(project).cells[0]!.reason).toBe('the same as an earlier build')
  })

  test('says what changed', async () => {
    const project = sandbox.project('why', FILES)
    await sandbox.must(['build'], { cwd: project })
    appendFileSync(join(project, 'src/base/etc/motd'), 'more\n')
    await sandbox.must(['build'], { cwd: project })
    const reasons = Object.fromEntries(
      resultOf(project).cells.map(cell => [`${cell.service} ${cell.platform}`, cell.reason]),
    )
    expect(reasons['base linux/amd64']).toBe('files of COPY etc /etc/ changed')
    expect(reasons['api linux/arm64']).toMatch(/^the base of stage .* changed$/)
    writeFileSync(join(project, 'src/api/Dockerfile'), `${FILES['src/api/Dockerfile']}USER nobody\n`)
    await sandbox.must(['build'], { cwd: project })
    expect(Object.fromEntries(resultOf(project).cells.map(cell => [cell.service, cell.reason]))).toEqual({
      base: 'nothing changed',
      api: 'the configuration changed',
    })
  })
})
