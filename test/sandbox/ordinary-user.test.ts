import { afterAll, expect } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from '../../scripts/archimage.ts'
import type { SandboxFacts, Step } from '../../src/sandbox/step.ts'
import { peerCache } from '../peers/index.ts'
import { requirePeers } from '../peers/require.ts'
import type { Outcome } from './workshop.ts'

const step = requirePeers('root', 'busybox', 'newuidmap')

/** Somebody with a range in /etc/subuid (`.ci/run` makes this user), and somebody whom no file knows. */
const USER = 'archimage-test'
const NOBODY_KNOWN = 12345

let folder: string | undefined
afterAll(() => folder && rmSync(folder, { recursive: true, force: true }))

/** The checkout may lie where other users cannot look: what is needed of it, for everybody to read. */
function copy(): string {
  if (folder !== undefined) return folder
  folder = mkdtempSync(join(tmpdir(), 'archimage-user-'))
  chmodSync(folder, 0o755)
  for (const name of ['src', 'test', 'scripts', 'package.json', 'bunfig.toml'])
    cpSync(join(root, name), join(folder, name), { recursive: true })
  cpSync(join(peerCache(), 'busybox'), join(folder, 'peers/busybox'), { recursive: true })
  mkdirSync(join(folder, 'node_modules'))
  const bun = process.execPath
  try {
    linkSync(bun, join(folder, 'bun'))
  } catch {
    cpSync(bun, join(folder, 'bun'))
  }
  return folder
}

interface Result {
  readonly facts: SandboxFacts
  readonly outcomes: readonly (Outcome & {
    readonly code?: string
    readonly message?: string
    readonly hint?: string
  })[]
}

function runAs(uid: number, steps: readonly (readonly [command: string, more?: Partial<Step>])[]): Result {
  const at = copy()
  const home = mkdtempSync(join(tmpdir(), 'archimage-home-'))
  chmodSync(home, 0o777)
  try {
    const { stdout, stderr } = spawnSync(
      'setpriv',
      [
        ...[`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--', join(at, 'bun')],
        ...['--no-env-file', '--no-install', join(at, 'test/sandbox/user.ts'), JSON.stringify(steps)],
      ],
      {
        encoding: 'utf8',
        cwd: home,
        env: { PATH: process.env['PATH'], HOME: home, TMPDIR: home, ARCHIMAGE_PEERS: join(at, 'peers') },
      },
    )
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout) as Result
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}

function uidOf(name: string): number {
  const line = readFileSync('/etc/passwd', 'utf8').match(new RegExp(`^${name}:[^:]*:(\\d+):`, 'm'))
  if (line === null) throw new Error(`there is no user ${name}: .ci/run makes one`)
  return Number(line[1])
}

step('an ordinary user with sub-ids: all users and groups exist, files get their owners', () => {
  const { facts, outcomes } = runAs(uidOf(USER), [
    ['id; touch /a; chown 33:34 /a; stat -c %u:%g /a; cat /proc/self/uid_map'],
    ['id; /bin/su -c id', { user: '1000' }],
    ['mknod /tmp/disk b 8 0; mount -t tmpfs none /tmp; cat /dev/null'],
  ])
  expect(facts).toMatchObject({ runtime: 'namespaces', rootless: true, roots: 'overlay' })
  expect(outcomes[0]!.stdout).toMatch(/^uid=0\(root\).*\n33:34\n +0 +\d+ +1\n +1 +\d+ +\d+\n$/)
  expect(outcomes[1]!.stdout).toBe('uid=1000 gid=0(root) groups=0(root)\nuid=0(root) gid=0(root) groups=0(root)\n')
  expect(outcomes[2]!.stderr).toContain('mknod: /tmp/disk: Operation not permitted\nmount: permission denied')
})

step('without sub-ids: root works, another owner is an error that names /etc/subuid', () => {
  const { facts, outcomes } = runAs(NOBODY_KNOWN, [
    ['id; touch /a; rm /etc/group; exit 3'],
    ['touch /a && chown 33 /a'],
    ['id', { user: '33' }],
  ])
  expect(facts.remarks.join()).toContain('/etc/subuid')
  expect(outcomes[0]).toMatchObject({ exitCode: 3, changed: ['a', 'etc', 'etc/group'] })
  expect(outcomes[1]).toMatchObject({ exitCode: 1, reason: 'unmapped-id' })
  expect(outcomes[2]).toMatchObject({ code: 'SANDBOX_FAILED', hint: expect.stringContaining('/etc/subuid') })
})
