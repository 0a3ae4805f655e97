import { afterAll, describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Ended, resultOf, Sandbox, simpleServices, states } from './command.ts'

const sandbox = new Sandbox('mistakes')
afterAll(() => sandbox.dispose())

/** What every message for a mistake of the user's is: short, with a remedy behind an arrow, without a stack. */
function expectClear({ code, stdout, stderr }: Ended, exit: number, ...parts: (string | RegExp)[]): void {
  expect({ code, stderr }).toEqual({ code: exit, stderr })
  for (const part of parts) expect(stderr).toMatch(part)
  expect(stderr).toMatch(/^ +(→|->) \S/m)
  expect(stderr).not.toMatch(/^\s+at .*:\d+:\d+\)?$/m)
  expect(stderr).not.toContain('bug in archimage')
  expect(stderr.trimEnd().split('\n').length).toBeLessThanOrEqual(16)
  expect(stdout).toBe('')
}

describe('usage and configuration: exit code 2', () => {
  const good = sandbox.project('good', simpleServices('api', 'web'))

  test('an empty directory', async () => {
    const empty = sandbox.project('empty', {})
    expectClear(await sandbox.run(['build'], { cwd: empty }), 2, 'no service was found', 'src/NAME/Dockerfile')
    expectClear(await sandbox.run(['plan'], { cwd: empty }), 2, 'no service was found')
    expectClear(await sandbox.run(['verify'], { cwd: empty }), 2, 'no service was found')
    expectClear(await sandbox.run(['build', '.'], { cwd: empty }), 2, 'there is no Dockerfile', '-f')
  })

  test('a mistyped service', async () => {
    expectClear(
      await sandbox.run(['build', 'apo'], { cwd: good }),
      2,
      'there is no service "apo"',
      'did you mean "api"?',
    )
  })

  test('a folder as docker takes it', async () => {
    const ended = await sandbox.run(['build', '-t', 'localhost/app:1', 'src'], { cwd: good })
    expectClear(ended, 2, 'there is no service "src"', 'archimage build ./src')
  })

  test('a mistyped platform, and an empty list', async () => {
    const mistyped = await sandbox.run(['build', '--platform', 'linux/amd46'], { cwd: good })
    expectClear(mistyped, 2, '"linux/amd46" is not a platform', 'did you mean "linux/amd64"?')
    expectClear(await sandbox.run(['build', '--platform', ''], { cwd: good }), 2, 'the list of platforms is empty')
    expectClear(await sandbox.run(['build', '--platform', ',,'], { cwd: good }), 2, 'the list of platforms is empty')
  })

  test('a Dockerfile without FROM: its place', async () => {
    const project = sandbox.project('no-from', { 'src/api/Dockerfile': '# nothing\nCOPY a /a\n' })
    const ended = await sandbox.run(['build'], { cwd: project })
    expectClear(ended, 2, 'src/api/Dockerfile:2', 'FROM')
    const empty = sandbox.project('no-text', { 'src/api/Dockerfile': '' })
    expectClear(await sandbox.run(['build'], { cwd: empty }), 2, 'src/api/Dockerfile')
  })

  test('an instruction and a flag that do not exist: line, excerpt, suggestion', async () => {
    const project = sandbox.project('typo', { 'src/api/Dockerfile': 'FROM scratch\nCOPPY a /a\n' })
    expectClear(await sandbox.run(['build'], { cwd: project }), 2, 'src/api/Dockerfile:2', 'COPPY', 'COPY')
    writeFileSync(join(project, 'src/api/Dockerfile'), 'FROM scratch\nCOPY --chwon=1:1 a /a\n')
    expectClear(await sandbox.run(['build'], { cwd: project }), 2, 'src/api/Dockerfile:2', '--chown')
  })

  test('an unknown option: what was meant', async () => {
    expectClear(
      await sandbox.run(['build', '--psuh'], { cwd: good }),
      2,
      'has no option --psuh',
      'did you mean "--push"?',
    )
    expectClear(await sandbox.run(['build', '--jobs', 'many'], { cwd: good }), 2, '--jobs')
    expectClear(await sandbox.run(['build', '--jobs', '0'], { cwd: good }), 2, '--jobs')
    expectClear(await sandbox.run(['build', '--timestamps', 'now'], { cwd: good }), 2, '--timestamps', 'content')
    expectClear(await sandbox.run(['build', '--platform'], { cwd: good }), 2, '--platform')
    expectClear(await sandbox.run(['biuld'], { cwd: good }), 2, 'there is no command "biuld"', 'did you mean "build"?')
    expectClear(await sandbox.run(['--push', 'build'], { cwd: good }), 2, '--push', 'after the command')
  })

  test('archimage.yaml with an unknown key: line and suggestion', async () => {
    const project = sandbox.project('yaml', {
      ...simpleServices('api'),
      'archimage.yaml': 'tag: v1\nplatfroms: [linux/amd64]\n',
    })
    expectClear(
      await sandbox.run(['build'], { cwd: project }),
      2,
      'archimage.yaml:2',
      'platfroms',
      'did you mean "platforms"?',
    )
    writeFileSync(join(project, 'archimage.yaml'), 'services:\n  api:\n    platforms: [linux/amd46]\n')
    expectClear(await sandbox.run(['build'], { cwd: project }), 2, 'archimage.yaml:3', 'linux/amd46', 'linux/amd64')
    writeFileSync(join(project, 'archimage.yaml'), 'tag: [unclosed\n')
    expectClear(await sandbox.run(['build'], { cwd: project }), 2, 'archimage.yaml:')
    expectClear(await sandbox.run(['build', '--project', 'nowhere.yaml'], { cwd: project }), 2, 'nowhere.yaml')
    expectClear(await sandbox.run(['build', '-C', 'nowhere'], { cwd: project }), 2, 'nowhere')
    expectClear(await sandbox.run(['-C', 'nowhere', 'build'], { cwd: project }), 2, 'nowhere')
  })

  test('paths that are none, and too many of them', async () => {
    expectClear(await sandbox.run(['build', './nowhere'], { cwd: good }), 2, 'nowhere', 'does not exist')
    expectClear(
      await sandbox.run(['build', './src/api/Dockerfile'], { cwd: good }),
      2,
      'is neither a folder nor an archive',
      '-f',
    )
    expectClear(await sandbox.run(['build', './src/api', './src/web'], { cwd: good }), 2, 'one path')
    expectClear(await sandbox.run(['build', '-t', 'UPPER:1', './src/api'], { cwd: good }), 2, 'lower case')
    expectClear(await sandbox.run(['build', '-f', 'nowhere', './src/api'], { cwd: good }), 2, 'nowhere')
    expectClear(await sandbox.run(['build', '--target', 'nothing', './src/api'], { cwd: good }), 2, 'nothing')
  })

  test('--push without a registry', async () => {
    expectClear(await sandbox.run(['build', '--push'], { cwd: good }), 2, 'no registry to push to', '--registry')
    expectClear(await sandbox.run(['build', '--push', './src/api'], { cwd: good }), 2, '-t')
  })
})

describe('RUN that cannot be done', () => {
  test('fails at its line; other services are built', async () => {
    const project = sandbox.project('run', {
      ...simpleServices('api'),
      'src/tool/Dockerfile': 'FROM scratch\nCOPY a /a\nRUN apt-get update && \\\n    apt-get install -y curl\n',
      'src/tool/a': 'a\n',
    })
    const { code, stdout, stderr } = await sandbox.run(
      ['build', '--engine', 'native', '--platform', 'linux/amd64,linux/arm64'],
      { cwd: project },
    )
    // Who may run steps is told that there is no shell, others that they may not.
    expect([1, 3]).toContain(code)
    expect(stderr).toContain('src/tool/Dockerfile:3')
    expect(stderr).toContain('RUN apt-get update')
    expect(stderr).not.toContain('bug in archimage')
    expect(stdout).toMatch(/^api@sha256:[0-9a-f]{64}\n$/)
    expect(states(project)).toMatchObject({
      'api linux/amd64': 'built',
      'tool linux/amd64': 'failed',
      'tool linux/arm64': 'failed',
    })
    const [cell] = resultOf(project).cells.filter(cell => cell.service === 'tool')
    expect(cell!.failure).toMatchObject({ file: 'src/tool/Dockerfile', line: 3, endLine: 4 })
  })

  test('in a stage that the target does not need it stands in nobody’s way', async () => {
    const project = sandbox.project('unused', {
      'src/api/Dockerfile': 'FROM scratch AS test\nRUN make test\nFROM scratch\nCOPY a /a\n',
      'src/api/a': 'a\n',
    })
    await sandbox.must(['build'], { cwd: project })
  })
})

describe('files that are not there', () => {
  test('COPY of nothing: the line, exit code 1', async () => {
    const project = sandbox.project('missing', { 'src/api/Dockerfile': 'FROM scratch\n\nCOPY nothing /a\n' })
    const { code, stderr } = await sandbox.run(['build'], { cwd: project })
    expect(code).toBe(1)
    expect(stderr).toContain('src/api/Dockerfile:3')
    expect(stderr).toContain('nothing')
    expect(stderr).not.toContain('bug in archimage')
  })

  test('a link out of the context is a link, and its target is never read', async () => {
    const project = sandbox.project('links', {
      'src/api/Dockerfile': 'FROM scratch\nCOPY link /a\n',
      'secret.txt': 'not for you\n',
    })
    const { symlinkSync } = await import('node:fs')
    symlinkSync('../../secret.txt', join(project, 'src/api/link'))
    const { code, stderr } = await sandbox.run(['build'], { cwd: project })
    expect(code).toBe(1)
    expect(stderr).toContain('src/api/Dockerfile:2')
    expect(stderr).toContain('"link" is a link to ../../secret.txt')
    expect(stderr).not.toContain('bug in archimage')
  })
})
