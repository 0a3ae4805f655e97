import { afterAll, beforeAll, expect } from 'bun:test'
import { spawn } from 'node:child_process'
import { chmodSync, cpSync, linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../scripts/archimage.ts'
import type { RunResult } from '../../src/run/events.ts'
import { busyboxFile } from '../peers/busybox.ts'
import { removeFolder, temporaryFolder } from '../peers/process.ts'
import { canRun, requirePeers } from '../peers/require.ts'

const NEEDS = ['root', 'busybox', 'newuidmap'] as const
const test = requirePeers(...NEEDS)
/** Somebody with a range in /etc/subuid (`.ci/run` makes this user). */
const USER = 'archimage-test'

/** The checkout may lie where other users cannot look: what is needed of it, for everybody to read. */
let folder: string
beforeAll(() => {
  if (!canRun(...NEEDS)) return
  folder = temporaryFolder('archimage-user')
  chmodSync(folder, 0o755)
  for (const name of ['bin', 'src', 'package.json', 'bunfig.toml'])
    cpSync(join(root, name), join(folder, 'archimage', name), { recursive: true })
  for (const name of ['commander', 'yaml', 'zod'])
    cpSync(join(root, 'node_modules', name), join(folder, 'archimage/node_modules', name), { recursive: true })
  mkdirSync(join(folder, 'archimage/node_modules/.bin'), { recursive: true })
  const bun = join(folder, 'archimage/node_modules/.bin/bun')
  try {
    linkSync(process.execPath, bun)
  } catch {
    cpSync(process.execPath, bun)
  }
})
afterAll(() => folder && removeFolder(folder))

interface Ended {
  readonly code: number
  readonly output: string
}

/** `archimage …` as somebody else, with a home of their own. */
function runAs(uid: number, home: string, args: readonly string[]): Promise<Ended> {
  const child = spawn(
    'setpriv',
    [...[`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--', join(folder, 'archimage/bin/archimage')], ...args],
    { cwd: join(home, 'project'), env: { PATH: process.env['PATH'], HOME: home, TMPDIR: home, LANG: 'C.UTF-8' } },
  )
  let output = ''
  child.stdout.on('data', data => {
    output += data
  })
  child.stderr.on('data', data => {
    output += data
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', code => resolve({ code: code ?? -1, output }))
  })
}

function project(name: string, dockerfile: string): string {
  const home = join(folder, name)
  mkdirSync(join(home, 'project/src/app/bin'), { recursive: true })
  chmodSync(home, 0o777)
  chmodSync(join(home, 'project'), 0o777)
  cpSync(busyboxFile('amd64'), join(home, 'project/src/app/bin/busybox'))
  chmodSync(join(home, 'project/src/app/bin/busybox'), 0o755)
  writeFileSync(join(home, 'project/archimage.yaml'), 'platforms: [linux/amd64]\n')
  writeFileSync(join(home, 'project/src/app/Dockerfile'), dockerfile)
  return home
}

function uidOf(name: string): number {
  const line = readFileSync('/etc/passwd', 'utf8').match(new RegExp(`^${name}:[^:]*:(\\d+):`, 'm'))
  if (line === null) throw new Error(`there is no user ${name}: .ci/run makes one`)
  return Number(line[1])
}

const BASE = 'FROM scratch AS base\nCOPY bin /bin\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n'

test('an ordinary user: owners, modes, caches, contexts, a prune that takes all of it', async () => {
  const home = project(
    'user',
    `${BASE}RUN mkdir /d && echo hidden > /d/file && chown 33:34 /d/file && chmod 600 /d/file && chown 1000 /d
FROM base
COPY --from=base /d /copied
COPY --chown=7:8 --from=base /d/file /seven
RUN --mount=type=cache,target=/c,uid=5 --mount=target=/ctx \\
  stat -c '%u:%g %a' /copied /copied/file /seven /c /ctx/Dockerfile > /seen && touch /c/x && rm -r /d
`,
  )
  const uid = uidOf(USER)
  const first = await runAs(uid, home, ['build', '--progress', 'plain', '-o', 'type=local,dest=out'])
  expect([first.code, first.code === 0 ? '' : first.output]).toEqual([0, ''])
  expect(readFileSync(join(home, 'project/out/seen'), 'utf8')).toBe('0:0 755\n33:34 600\n7:8 600\n5:0 755\n0:0 644\n')
  const result = JSON.parse(readFileSync(join(home, 'project/.archimage/result.json'), 'utf8')) as RunResult
  expect(result.sandbox).toMatchObject({ rootless: true, roots: 'overlay' })
  const again = await runAs(uid, home, ['build', '-q'])
  expect([again.code, again.output]).toEqual([0, expect.stringContaining('app@sha256:')])
  const prune = await runAs(uid, home, ['cache', 'prune', '--all'])
  expect(prune.code).toBe(0)
  const usage = await runAs(uid, home, ['cache', 'du', '--json'])
  const { categories } = JSON.parse(
    usage.output.slice(usage.output.indexOf('{'), usage.output.lastIndexOf('}') + 1),
  ) as {
    categories: { category: string; count: number }[]
  }
  const left = categories.filter(({ category }) => ['snapshots', 'mounts', 'temporary'].includes(category))
  expect(left.map(({ count }) => count)).toEqual([0, 0, 0])
})

test('without sub-ids: root alone exists, another owner is an error that says what to do', async () => {
  const home = project('nobody', `${BASE}RUN echo fine > /fine\nRUN chown 33 /fine\n`)
  const { code, output } = await runAs(12345, home, ['build', '--progress', 'plain'])
  expect(code).toBe(1)
  expect(output).toContain('/etc/subuid')
  expect(output).toContain('RUN chown 33 /fine')
})

test('images without RUN are built without a namespace', async () => {
  const home = project('plain', 'FROM scratch\nCOPY bin /bin\n')
  const { code, output } = await runAs(12345, home, ['build', '--progress', 'plain'])
  expect([code, code === 0 ? '' : output]).toEqual([0, ''])
})
