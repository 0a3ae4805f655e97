import { afterAll, expect } from 'bun:test'
import type { SandboxFacts, Step } from '../../src/sandbox/step.ts'
import { requirePeers } from '../peers/require.ts'
import { OtherUsers, USER, uidOf } from './others.ts'
import type { Outcome } from './workshop.ts'

const step = requirePeers('root', 'busybox', 'newuidmap')

/** Whom no file knows. */
const STRANGER = 12345

let others: OtherUsers | undefined
afterAll(() => others?.[Symbol.dispose]())

interface Result {
  readonly facts: SandboxFacts
  readonly outcomes: readonly (Outcome & {
    readonly code?: string
    readonly message?: string
    readonly hint?: string
  })[]
}

async function runAs(
  uid: number,
  steps: readonly (readonly [command: string, more?: Partial<Step>])[],
): Promise<Result> {
  others ??= new OtherUsers()
  const { stdout, stderr } = await others.run(uid, 'test/sandbox/user.ts', [JSON.stringify(steps)])
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as Result
}

step('an ordinary user with sub-ids: all users and groups exist, files get their owners', async () => {
  const { facts, outcomes } = await runAs(uidOf(USER), [
    ['id; touch /a; chown 33:34 /a; stat -c %u:%g /a; cat /proc/self/uid_map'],
    ['id; /bin/su -c id', { user: '1000' }],
    ['mknod /tmp/disk b 8 0; mount -t tmpfs none /tmp; cat /dev/null'],
  ])
  expect(facts).toMatchObject({ runtime: 'namespaces', rootless: true, roots: 'overlay' })
  expect(outcomes[0]!.stdout).toMatch(/^uid=0\(root\).*\n33:34\n +0 +\d+ +1\n +1 +\d+ +\d+\n$/)
  expect(outcomes[1]!.stdout).toBe('uid=1000 gid=0(root) groups=0(root)\nuid=0(root) gid=0(root) groups=0(root)\n')
  expect(outcomes[2]!.stderr).toContain('mknod: /tmp/disk: Operation not permitted\nmount: permission denied')
})

step('without sub-ids: root works, another owner is an error that names /etc/subuid', async () => {
  const { facts, outcomes } = await runAs(STRANGER, [
    ['id; touch /a; rm /etc/group; exit 3'],
    ['touch /a && chown 33 /a'],
    ['id', { user: '33' }],
  ])
  expect(facts.remarks.join()).toContain('/etc/subuid')
  expect(outcomes[0]).toMatchObject({ exitCode: 3, changed: ['a', 'etc', 'etc/group'] })
  expect(outcomes[1]).toMatchObject({ exitCode: 1, reason: 'unmapped-id' })
  expect(outcomes[2]).toMatchObject({ code: 'SANDBOX_FAILED', hint: expect.stringContaining('/etc/subuid') })
})

async function doctor(uid: number, options?: { readonly forbid: boolean }) {
  others ??= new OtherUsers()
  const { status, stdout } = await others.run(uid, 'src/cli/main.ts', ['doctor', '--json'], options)
  const findings = JSON.parse(stdout) as { id: string; state: string; text: string; remedy?: string }[]
  return { status, by: Object.fromEntries(findings.map(finding => [finding.id, finding])) }
}

step('archimage doctor for ordinary users', async () => {
  const user = await doctor(uidOf(USER))
  expect(user.status).toBe(0)
  expect(user.by).toMatchObject({ steps: { state: 'ok' }, roots: { state: 'ok' }, users: { state: 'ok' } })
  expect(user.by['users']!.text).toMatch(/user namespace with \d{4,} users/)
  const stranger = await doctor(STRANGER)
  expect(stranger.status).toBe(0)
  expect(stranger.by).toMatchObject({ steps: { state: 'ok' }, users: { state: 'weaker' } })
  expect(stranger.by['users']!.remedy).toContain('/etc/subuid')
})

step('archimage doctor where users may not make namespaces', async () => {
  // The limit is that of a user namespace, so that of this machine stays.
  const { status, by } = await doctor(uidOf(USER), { forbid: true })
  expect(status).toBe(3)
  expect(by['steps']).toMatchObject({ state: 'missing', remedy: expect.stringContaining('user.max_user_namespaces') })
})
