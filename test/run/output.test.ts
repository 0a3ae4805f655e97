import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { root } from '../../scripts/archimage.ts'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import type { RunResult } from '../../src/run/events.ts'
import { peer } from '../peers/locate.ts'
import { must } from '../peers/process.ts'
import { resultOf, Sandbox, simpleServices } from './command.ts'

const sandbox = new Sandbox('output')
let registry: FaultyRegistry
let project: string

beforeAll(async () => {
  registry = await startFaultyRegistry()
  project = sandbox.project('project', {
    ...simpleServices('api', 'web'),
    'src/api/Dockerfile': 'FROM scratch AS last\nCOPY app.txt /app.txt\n',
    'archimage.yaml': 'platforms: [linux/amd64, linux/arm64]\n',
  })
})
afterAll(async () => {
  await registry.close()
  await sandbox.dispose()
})

const DIGEST = 'sha256:[0-9a-f]{64}'

describe('stdout carries the result', () => {
  test('digest references only, one per service; everything else is on stderr', async () => {
    const pushed = await sandbox.must(['build', '--push', '--registry', `${registry.address}/team`], { cwd: project })
    expect(pushed.stdout).toMatch(
      new RegExp(`^${registry.address}/team/api@${DIGEST}\n${registry.address}/team/web@${DIGEST}\n$`),
    )
    expect(pushed.stderr).toContain('4 of 4 cells right')
    const built = await sandbox.must(['build'], { cwd: project })
    expect(built.stdout).toMatch(new RegExp(`^api@${DIGEST}\nweb@${DIGEST}\n$`))
    expect(built.stderr.trimEnd().split('\n').at(-1)).toContain('--push')
  })

  test('in a pipe of a shell as well', () => {
    const command = `'${join(root, 'bin/archimage')}' build api 2>/dev/null | cat`
    const out = execFileSync('sh', ['-c', command], { cwd: project, env: sandbox.env(), encoding: 'utf8' })
    expect(out).toMatch(new RegExp(`^api@${DIGEST}\n$`))
  })

  test('a reader that goes away is no reason for a stack', () => {
    const command = `'${join(root, 'bin/archimage')}' build --json 2>&1 >/dev/null | head -c 10; '${join(root, 'bin/archimage')}' build --json | true`
    const out = execFileSync('sh', ['-c', command], {
      cwd: project,
      env: sandbox.env(),
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    expect(out).not.toContain('bug in archimage')
  })

  test('-q: nothing but the references; a failure still is shown', async () => {
    const quiet = await sandbox.must(['build', '-q'], { cwd: project })
    expect(quiet.stderr).toBe('')
    expect(quiet.stdout.trim().split('\n')).toHaveLength(2)
    const bad = sandbox.project('bad', { 'src/a/Dockerfile': 'FROM scratch\nCOPY nothing /\n' })
    const failed = await sandbox.run(['build', '-q'], { cwd: bad })
    expect([failed.code, failed.stdout]).toEqual([1, ''])
    expect(failed.stderr).toContain('src/a/Dockerfile:2')
  })

  test('--json: the result file, and nothing else', async () => {
    const { stdout } = await sandbox.must(['build', '--json'], { cwd: project })
    const json = JSON.parse(stdout) as RunResult
    expect(json).toEqual(resultOf(project))
    expect(json).toMatchObject({ version: 1, complete: true, exitCode: 0 })
    expect(json.cells).toHaveLength(4)
  })

  test('--progress json: each line of stderr is an event', async () => {
    for (const how of ['json', 'rawjson']) {
      const { stderr, stdout } = await sandbox.must(['build', '--force', '--progress', how], { cwd: project })
      const events = stderr
        .trim()
        .split('\n')
        .map(line => JSON.parse(line) as { type: string })
      expect(events[0]!.type).toBe('run-started')
      expect(events.at(-1)!.type).toBe('run-ended')
      expect(events.filter(event => event.type === 'cell-ended')).toHaveLength(4)
      expect(stdout.trim().split('\n')).toHaveLength(2)
    }
  })

  test('without a terminal there are no escape sequences, whatever a name says', async () => {
    const { stderr } = await sandbox.must(['build', '--force'], { cwd: project, env: { TERM: 'xterm-256color' } })
    expect(stderr).not.toContain('\u001b')
    const odd = sandbox.project('odd', { 'src/a/Dockerfile': 'FROM scratch\nCOPY "no\u001b]0;title\u0007thing" /\n' })
    const failed = await sandbox.run(['build'], { cwd: odd })
    expect(failed.code).toBe(1)
    expect(failed.stderr).not.toContain('\u001b')
  })
})

describe('flags of docker buildx build', () => {
  /** As `buildx build --help` of 0.30 lists them; a value where one is needed. */
  const KNOWN: Readonly<Record<string, string | undefined>> = {
    'add-host': 'db:10.0.0.1',
    allow: 'network.host',
    annotation: 'org.example.a=b',
    attest: 'type=provenance,disabled=true',
    'build-arg': 'A=b',
    'build-context': 'other=.',
    builder: 'mine',
    'cache-from': 'type=registry,ref=user/app:cache',
    'cache-to': 'type=inline',
    call: 'check',
    'cgroup-parent': 'docker',
    check: undefined,
    debug: undefined,
    file: 'src/api/Dockerfile',
    help: undefined,
    iidfile: 'id.txt',
    label: 'a=b',
    load: undefined,
    'metadata-file': 'meta.json',
    network: 'host',
    'no-cache': undefined,
    'no-cache-filter': 'build',
    output: 'type=cacheonly',
    platform: 'linux/amd64',
    policy: 'filename=x',
    progress: 'plain',
    provenance: 'false',
    pull: undefined,
    push: undefined,
    quiet: undefined,
    resource: 'memory=2g',
    sbom: 'false',
    secret: 'id=a',
    'shm-size': '64m',
    ssh: 'default',
    tag: 'app:1',
    target: 'last',
    ulimit: 'nofile=1024',
  }
  const SHORT = { f: 'src/api/Dockerfile', o: 'type=cacheonly', t: 'app:1', q: undefined, D: undefined, h: undefined }
  const LONG: Readonly<Record<string, string>> = { '-D': '--debug' }
  /** Hidden ones, which docker build had and buildx takes without doing anything. */
  const OLD = {
    compress: undefined,
    'cpu-period': '1',
    'cpu-quota': '1',
    'cpu-shares': '1',
    'cpuset-cpus': '0',
    'cpuset-mems': '0',
    'force-rm': undefined,
    isolation: 'default',
    memory: '1g',
    'memory-swap': '1g',
    rm: undefined,
    'security-opt': 'x',
    squash: undefined,
  }

  /** Accepted, or refused by name with the reason; never "no option". */
  async function expectKnown(flag: string, value: string | undefined): Promise<void> {
    const args = ['build', flag, ...(value === undefined ? [] : [value]), './src/api']
    const env = { DOCKER_HOST: 'unix:///nonexistent/docker.sock' }
    const { code, stderr, stdout } = await sandbox.run(args, { cwd: project, env })
    const said = `${flag}: ${code} ${stderr}`
    expect(said).not.toMatch(/has no option|unknown|bug in archimage/)
    expect([0, 2, 3]).toContain(code)
    if (code === 2) expect(stderr).toContain(`error: ${LONG[flag] ?? flag}`)
    if (code === 0 && flag !== '--help' && flag !== '-h') expect(stdout).toMatch(/^$|@sha256:|^no findings/)
  }

  test('none is unknown, nor are the hidden ones of docker build', async () => {
    const all = [
      ...Object.entries({ ...KNOWN, ...OLD }).map(([name, value]) => [`--${name}`, value] as const),
      ...Object.entries(SHORT).map(([name, value]) => [`-${name}`, value] as const),
    ]
    // A few at a time: each is a process of its own.
    for (let i = 0; i < all.length; i += 4)
      await Promise.all(all.slice(i, i + 4).map(([flag, value]) => expectKnown(flag, value)))
  })

  test('none that the installed buildx lists is missing here', async () => {
    const buildx = peer('buildx')
    if (buildx === undefined) return
    const help = await must([buildx, 'build', '--help'])
    const listed = [...help.matchAll(/^ +(?:-(\w), )?--([\w-]+)/gm)]
    expect(listed.length).toBeGreaterThan(30)
    const unknown = listed.filter(([, short, long]) => !(long! in KNOWN) || (short !== undefined && !(short in SHORT)))
    expect(unknown.map(match => match[0].trim())).toEqual([])
  })

  test('switches take =true and =false, as in docker', async () => {
    const yes = await sandbox.run(['build', '--push=true'], { cwd: project })
    expect(yes.stderr).toContain('no registry to push to')
    await sandbox.must(['build', '--push=false', '--no-cache=false', '--quiet=true', '--pull=0'], { cwd: project })
    expect(resultOf(project).cells.every(cell => cell.state === 'unchanged')).toBe(true)
    const odd = await sandbox.run(['build', '--push=maybe'], { cwd: project })
    expect([odd.code, odd.stderr]).toEqual([2, expect.stringContaining('--push')])
  })
})

describe('help', () => {
  test('of the program and of each command; -C; version', async () => {
    const help = await sandbox.must(['help'])
    for (const word of ['build', 'plan', 'verify', 'serve', 'push-all', 'create-manifest'])
      expect(help.stdout).toContain(word)
    expect((await sandbox.must(['build', '--help'])).stdout).toContain('--platform')
    expect((await sandbox.must(['help', 'verify'])).stdout).toContain('--local')
    expect((await sandbox.must(['--version'])).stdout).toMatch(/^archimage \d+\.\d+\.\d+\n$/)
    const inside = await sandbox.must(['-C', project, 'build', '-q'])
    const behind = await sandbox.must(['build', '-q', '-C', 'project'])
    expect(behind.stdout).toBe(inside.stdout)
    const nothing = await sandbox.run([])
    expect(nothing.code).toBe(2)
  })
})
