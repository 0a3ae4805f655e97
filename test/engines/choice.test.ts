import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FaultyRegistry } from '../../src/registry/faulty/start.ts'
import { push } from '../fidelity/push.ts'
import { type Ended, resultOf, type Sandbox, states } from '../run/command.ts'
import { engineSandbox } from './setup.ts'

const PLATFORM = 'windows/amd64'
const REASON = 'RUN steps of windows/amd64 do not run here: this machine runs linux'

let sandbox: Sandbox
let registry: FaultyRegistry
let project: string

beforeAll(async () => {
  const setup = await engineSandbox('choice')
  sandbox = setup.sandbox
  registry = setup.registry
  const [os, architecture] = PLATFORM.split('/') as [string, string]
  const entries = [{ path: 'Files', type: 'dir', mode: 0o755 }] as const
  await push(registry.address, 'library/winbase:1', [{ platform: { os, architecture }, layers: [{ entries }] }])
  project = sandbox.project('project', {
    'src/plain/Dockerfile': 'FROM winbase:1\nCOPY Dockerfile /\n',
    // A step that nothing on a Linux machine runs natively.
    'src/tool/Dockerfile': 'FROM winbase:1\nRUN make\nCOPY Dockerfile /\n',
    'archimage.yaml': 'platforms: [windows/amd64]\n',
  })
})
afterAll(async () => {
  await registry.close()
  await sandbox.dispose()
})

let count = 0

/** A PATH on which only these programs are found beside those of the system: shell scripts. */
function programs(scripts: Readonly<Record<string, string>>): Record<string, string> {
  const folder = join(sandbox.folder, `programs-${++count}`)
  mkdirSync(folder)
  // The system may have real ones: those of this folder are found first, and say that they are not there.
  const missing = 'exit 127'
  for (const [name, script] of Object.entries({ docker: missing, buildx: missing, podman: missing, ...scripts })) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`)
    chmodSync(join(folder, name), 0o755)
  }
  return { PATH: `${folder}:${process.env['PATH']}` }
}

const inspect = (lines: string): string => `cat <<'END'\n${lines}\nEND\n`
const NODE = `Name: b
Driver: docker-container

Nodes:
Name: b0
Endpoint: default
Status: running
BuildKit version: v0.33.1
Platforms: windows/amd64, linux/amd64`

/** A docker whose buildx answers, and on \`build\` does this. */
const docker = (build: string, node = NODE): string => `
case "$1 $2" in
'buildx version') echo 'github.com/docker/buildx v0.37.0 abc' ;;
'buildx inspect') ${inspect(node)} ;;
'buildx build') ${build} ;;
*) exit 1 ;;
esac`

const podman = (info: string): string => `
case "$1" in
info) ${inspect(info)} ;;
*) exit 1 ;;
esac`
const INFO = '{"host":{"arch":"amd64","buildahVersion":"1.28.2","serviceIsRemote":true},"version":{"Version":"4.3.1"}}'

const run = (args: readonly string[], env: Record<string, string>): Promise<Ended> =>
  sandbox.run([...args, '--progress', 'plain'], { cwd: project, env })

const failure = () => resultOf(project).cells.find(cell => cell.service === 'tool')!.failure!

describe('plan', () => {
  test('says which engine builds a cell, and why', async () => {
    const { code, stdout } = await run(['plan'], programs({ docker: docker('exit 1') }))
    expect(code).toBe(0)
    expect(stdout).toContain(`${PLATFORM.padEnd(16)} build: never built here\n`)
    expect(stdout).toContain(`${PLATFORM.padEnd(16)} build: never built here (by docker: ${REASON})\n`)
  })

  test('as JSON', async () => {
    const { stdout } = await run(['plan', '--json', '--engine', 'docker'], programs({ docker: docker('') }))
    const { cells } = JSON.parse(stdout)
    expect(cells).toMatchObject([
      { service: 'plain', engine: 'docker', engineReason: '--engine docker' },
      { service: 'tool', engine: 'docker', engineReason: '--engine docker' },
    ])
  })

  test('without any: the same error as the build, with what each lacks', async () => {
    const { code, stderr } = await run(['plan'], programs({}))
    expect(code).toBe(3)
    expect(stderr).toContain('src/tool/Dockerfile:2')
    expect(stderr).toContain('no engine here can execute RUN make')
    expect(stderr).toContain(`- native: ${REASON}`)
    expect(stderr).toContain('- docker: ')
    expect(stderr).toContain('- podman: ')
  })
})

describe('an engine that is not as it should be', () => {
  const says = async (scripts: Record<string, string>, ...args: string[]): Promise<string> => {
    const { code, stderr } = await run(['build', ...args], programs(scripts))
    expect(stderr).not.toContain('bug in archimage')
    expect(states(project)[`tool ${PLATFORM}`]).toBe('failed')
    return `${code} ${failure().code} ${failure().message}`
  }

  test('no plugin, an old one, no builder, no daemon, a builder that is away', async () => {
    const plugin = 'echo "docker: unknown command: docker buildx" >&2; exit 1'
    expect(await says({ docker: plugin }, '--engine', 'docker')).toBe(
      '3 ENGINE_MISSING docker cannot build this: its plugin buildx is not installed',
    )
    const old = docker('').replace('v0.37.0', 'v0.12.1')
    expect(await says({ docker: old }, '--engine', 'docker')).toContain(
      'buildx 0.12 is too old: 0.13 or newer is needed',
    )
    const none = docker('', 'x').replace(
      /'buildx inspect'\) [\s\S]*?;;/,
      `'buildx inspect') echo 'ERROR: no builder "x" found' >&2; exit 1 ;;`,
    )
    expect(await says({ docker: none }, '--engine', 'docker')).toContain('buildx has no builder: no builder "x" found')
    const down = 'Name: default\nDriver:\nError: failed to connect to the docker API at unix:///x'
    expect(await says({ docker: docker('', down) }, '--engine', 'docker')).toContain('no daemon answers')
    const away = 'Name: r\nDriver: remote\n\nNodes:\nName: r0\nEndpoint: tcp://10.0.0.7:1\nStatus: inactive'
    expect(await says({ docker: docker('', away) }, '--engine', 'docker')).toContain(
      'does not answer at tcp://10.0.0.7:1',
    )
    expect(await says({ podman: 'echo "Error: no storage" >&2; exit 125' }, '--engine', 'podman')).toContain(
      'podman cannot build this: it does not work here: no storage',
    )
    expect(await says({ podman: podman('{"host":1}') }, '--engine', 'podman')).toContain('is not understood')
  })

  test('docker away, podman is asked', async () => {
    const { stderr } = await run(['plan'], programs({ podman: podman(INFO) }))
    expect(stderr).toContain('- podman: it builds images for linux only')
  })

  test('a platform that it cannot run is known before', async () => {
    const other = NODE.replace('windows/amd64, linux/amd64', 'linux/s390x')
    const { code, stderr } = await run(['plan', '--engine', 'docker'], programs({ docker: docker('', other) }))
    expect(code).toBe(3)
    expect(stderr).toContain(`docker cannot build this: it cannot run programs of ${PLATFORM} here`)
  })

  test('answers that are no image: nothing of them gets into the project', async () => {
    expect(await says({ docker: docker('exit 0') })).toMatch(/^1 TAR_INVALID the archive of docker/)
    expect(await says({ docker: docker('echo "not an archive, whatever the exit code says"') })).toMatch(
      /^1 TAR_INVALID/,
    )
    expect(await says({ docker: docker('head -c 3000000 /dev/zero') })).toMatch(/^1 MANIFEST_INVALID/)
    expect(await says({ docker: docker('head -c 100000 /dev/urandom; exit 0') })).toMatch(/^1 TAR_INVALID/)
    const ended = await run(['build', 'plain'], programs({}))
    expect(ended.code).toBe(0)
  })

  test('an engine that fails says why', async () => {
    const rude = docker(
      'echo "{\\"vertexes\\":[{}]}" >&2; echo "ERROR: failed to build: failed to solve: out of luck" >&2; exit 1',
    )
    expect(await says({ docker: rude })).toBe('1 CELL_FAILED docker could not build this: out of luck')
    expect(await says({ docker: docker('kill -9 $$') })).toBe(
      '1 CELL_FAILED docker could not build this: it ended without saying why',
    )
    const lost = docker('echo "ERROR: Cannot connect to the Docker daemon at unix:///x" >&2; exit 1')
    expect(await says({ docker: lost })).toMatch(/^3 DAEMON/)
  })
})

test('--engine is one that exists', async () => {
  const { code, stderr } = await run(['build', '--engine', 'kaniko'], {})
  expect(code).toBe(2)
  expect(stderr).toContain('native, docker, podman')
})
