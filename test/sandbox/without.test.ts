import { expect } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SandboxOptions } from '../../src/sandbox/sandbox.ts'
import type { Step } from '../../src/sandbox/step.ts'
import { requirePeers } from '../peers/require.ts'

const step = requirePeers('root', 'busybox')

type Steps = readonly (readonly [command: string, more?: Partial<Step>])[]

/** Runs steps in a process that was started through `before`. */
function runThrough(before: readonly string[], steps: Steps, options: Partial<SandboxOptions> = {}, tmp = tmpdir()) {
  const [command, ...args] = [
    ...before,
    ...[process.execPath, '--no-env-file', '--no-install', join(import.meta.dir, 'user.ts')],
    ...[JSON.stringify(steps), JSON.stringify(options)],
  ] as [string, ...string[]]
  const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, TMPDIR: tmp } })
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout)
}

step('where overlays do not work, on an overlay: roots are copied', () => {
  const folder = mkdtempSync(join(tmpdir(), 'archimage-on-'))
  for (const name of ['lower', 'upper', 'work', 'on']) mkdirSync(join(folder, name))
  const mount = 'cd "$0" && mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work on && exec "$@"'
  const before = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', mount, folder]
  const mounts = [
    { kind: 'layers', lowers: [join(folder, 'lower')], path: '/', target: '/m', readOnly: false },
  ] as const
  try {
    const steps: Steps = [['echo new > /new; rm /etc/group; mount | grep " / "'], ['ls /m', { mounts }]]
    const { facts, outcomes } = runThrough(before, steps, {}, join(folder, 'on'))
    expect(facts).toMatchObject({ runtime: 'namespaces', roots: 'copy' })
    expect(facts.remarks.join()).toContain('overlays do not work here')
    expect(outcomes[0].stdout).toContain('nodev')
    expect(outcomes[0].changed).toContain('new')
    expect(outcomes[0].changed).not.toContain('etc/group')
    // Nothing of the mounts stays.
    expect(outcomes[0].changed.filter((path: string) => /^(proc|sys|dev|etc\/hosts|m)/.test(path))).toEqual([])
    expect(outcomes[1]).toMatchObject({ exitCode: 0 })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

const WITHOUT_ADMIN = ['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin']

step('without CAP_SYS_ADMIN: an error that says how, and chroot where it is asked for', () => {
  const { refusal } = runThrough(WITHOUT_ADMIN, [])
  expect(refusal).toMatchObject({ code: 'SANDBOX_MISSING', hint: expect.stringContaining('--sandbox=chroot') })
  const secret = {
    kind: 'bytes',
    target: '/run/secrets/s',
    bytes: [...Buffer.from('hush')],
    mode: 0o400,
    uid: 0,
    gid: 0,
  }
  const folder = mkdtempSync(join(tmpdir(), 'archimage-cache-'))
  const cache = { kind: 'directory', source: folder, target: '/cache', readOnly: false } as const
  writeFileSync(join(folder, 'old'), '')
  const network = 'default'
  const steps: Steps = [
    [
      'id -u; cat /etc/hosts /run/secrets/s; head -c4 /dev/zero | wc -c; rm /etc/group; (sleep 300 &)',
      { network, mounts: [secret as never] },
    ],
    ['id -u; touch /tmp/mine', { network, user: 'nobody' }],
    ['ls /cache; touch /cache/new; rm /cache/old; mkdir /kept', { network, mounts: [cache] }],
    ['nowhere', { network }],
    ['true', { network: 'none' }],
  ]
  const { facts, outcomes } = runThrough(WITHOUT_ADMIN, steps, { runtime: 'chroot' })
  expect(facts).toMatchObject({ runtime: 'chroot', roots: 'copy', network: 'host' })
  expect(facts.remarks.join()).toContain('chroot(2) alone')
  expect(outcomes[0].stdout).toMatch(/^0\n127\.0\.0\.1[\s\S]*\nhush4\n$/)
  const base = outcomes[3].changed
  expect(outcomes[0].changed).toEqual(base.filter((path: string) => path !== 'etc/group'))
  expect(outcomes[1]).toMatchObject({ stdout: '65534\n', changed: [...base, 'tmp/mine'].sort() })
  expect(outcomes[2]).toMatchObject({ stdout: 'old\n', changed: [...base, 'kept'].sort() })
  expect(readdirSync(folder)).toEqual(['new'])
  expect(outcomes[3]).toMatchObject({ exitCode: 127, stderr: expect.stringContaining('nowhere') })
  expect(outcomes[4]).toMatchObject({ code: 'SANDBOX_FAILED' })
  rmSync(folder, { recursive: true })
})

step('without runc, crun, pasta, slirp4netns: steps run, in the network of this machine, which is said', () => {
  const hide = 'for d in /usr/sbin /usr/local/sbin; do mount -t tmpfs none $d || exit; done; PATH=/nowhere exec "$@"'
  const before = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', hide, 'sh']
  const { facts, outcomes } = runThrough(before, [['echo fine', { network: 'default' }]])
  expect(facts).toMatchObject({ runtime: 'namespaces', roots: 'overlay', network: 'host' })
  expect(facts.remarks.join()).toContain('neither pasta nor slirp4netns')
  expect(outcomes[0]).toMatchObject({ exitCode: 0, stdout: 'fine\n' })
  const { refusal } = runThrough(before, [], { runtime: 'runc' })
  expect(refusal).toMatchObject({ code: 'SANDBOX_MISSING', hint: expect.any(String) })
})
