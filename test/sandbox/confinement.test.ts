import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { spawn } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { type Call, launchProgram } from '../../src/sandbox/launch-program.ts'
import type { Step } from '../../src/sandbox/step.ts'
import { canRun, requirePeers } from '../peers/require.ts'
import { openWorkshop, type Workshop } from './workshop.ts'

const needs = ['root', 'busybox', 'runc'] as const
const step = requirePeers(...needs)

/** Every attempt once with our own way of starting steps, and once with runc, whose confinement others have judged. */
for (const runtime of ['namespaces', 'runc'] as const)
  describe(runtime, () => {
    let shop: Workshop
    beforeAll(async () => {
      if (canRun(...needs)) shop = await openWorkshop({ runtime })
    })
    afterAll(async () => shop?.[Symbol.asyncDispose]())

    /** Makes system calls in a step; the errors of those that failed, by name. */
    async function attempt(calls: readonly Call[], more: Partial<Step> = {}): Promise<Record<string, string>> {
      const all = calls.map(call => ({ ...call, unless: Array.from({ length: 62 }, (_, i) => i + 1) }))
      const program = launchProgram([...all, { name: 'exit_group', args: [0] }], [])
      const probe = { kind: 'bytes', target: '/probe', bytes: program.bytes, mode: 0o755, uid: 0, gid: 0 } as const
      const { upper, ...outcome } = await shop.run('/probe 3>/report', {
        ...more,
        mounts: [...(more.mounts ?? []), probe],
      })
      expect(outcome).toMatchObject({ exitCode: 0 })
      const { failures } = program.read(readFileSync(join(upper, 'report')))
      return Object.fromEntries(
        failures.map(({ call, errno }) => [
          call.name,
          Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? String(errno),
        ]),
      )
    }

    step('system calls that docker forbids', async () => {
      const zeros = Buffer.alloc(64)
      const forbidden = [
        ...['init_module', 'finit_module', 'delete_module', 'kexec_load', 'bpf', 'perf_event_open', 'userfaultfd'],
        ...['keyctl', 'add_key', 'request_key', 'mount', 'umount2', 'pivot_root', 'move_mount', 'open_tree', 'fsopen'],
        ...['setns', 'unshare', 'swapon', 'swapoff', 'reboot', 'settimeofday', 'clock_settime', 'acct', 'quotactl'],
        ...['open_by_handle_at', 'sethostname', 'setdomainname', 'syslog', 'vhangup', 'io_uring_setup', 'pidfd_getfd'],
        ...['lookup_dcookie', 'mbind', 'move_pages', 'fanotify_init', 'kcmp'],
      ]
      const failed = await attempt(forbidden.map(name => ({ name, args: [zeros, zeros, zeros, 0, 0] })))
      expect(failed).toEqual(Object.fromEntries(forbidden.map(name => [name, 'EPERM'])))
      const NEWUSER_AND_SIGCHLD = 0x10000011
      expect(
        await attempt([
          { name: 'clone', args: [NEWUSER_AND_SIGCHLD, 0, 0, 0, 0] },
          { name: 'clone3', args: [zeros, 64] },
          { name: 'socket', args: [40, 1, 0] },
          { name: 'personality', args: [0x0040000] },
        ]),
      ).toEqual({ clone: 'EPERM', clone3: 'ENOSYS', socket: 'EPERM', personality: 'EPERM' })
    })

    step("modes and owners of devices are the step's own", async () => {
      const modes = () =>
        ['null', 'zero', 'full', 'tty'].map(name => statSync(`/dev/${name}`)).map(({ mode, uid }) => [mode, uid])
      const before = modes()
      const { exitCode } = await shop.run(
        'cd /dev && chmod 600 null zero && chown 1000 full tty && chmod 600 /proc/kcore; chmod 600 /proc/self/fd/0; echo ok > /dev/null && touch /ok',
      )
      expect([exitCode, modes()]).toEqual([0, before])
    })

    step('a second chroot leads nowhere', async () => {
      mkdirSync(join(shop.folder, 'outside'), { recursive: true })
      const up = '../'.repeat(40)
      const failed = await attempt([
        { name: 'mkdirat', args: [-100, '/cell', 0o755] },
        { name: 'chroot', args: ['/cell'] },
        { name: 'chdir', args: [up] },
        { name: 'chroot', args: ['.'] },
        { name: 'mkdirat', args: [-100, join(shop.folder, 'outside/reached'), 0o755] },
      ])
      expect(failed).toEqual({ mkdirat: 'ENOENT' })
      expect(readdirSync(join(shop.folder, 'outside'))).toEqual([])
    })

    step('what is open while a step is started leads nowhere', async () => {
      const [outside, cache] = [join(shop.folder, `open-${runtime}`), join(shop.folder, `links-${runtime}`)]
      for (const path of [outside, cache]) mkdirSync(path)
      copyFileSync(join(shop.base, 'bin/busybox'), join(outside, 'busybox'))
      const secret = { kind: 'bytes', bytes: Buffer.from('x'), mode: 0o400, uid: 0, gid: 0 } as const
      for (const fd of Array.from({ length: 12 }, (_, i) => i + 3)) {
        const there = `/proc/self/fd/${fd}${outside}`
        const image = join(cache, `image-${fd}`)
        mkdirSync(image)
        symlinkSync(there, join(image, 'work'))
        symlinkSync(there, join(cache, `${fd}`))
        const shared = { kind: 'directory', source: cache, target: '/cache', readOnly: false } as const
        for (const [command, more] of [
          ['touch reached', { cwd: there }],
          ['touch reached', { cwd: '/work', lowers: [shop.base, image] }],
          [[`${there}/busybox`, 'true'], {}],
          ['true', { mounts: [shared, { ...secret, target: `/cache/${fd}/deep/secret` }] }],
        ] as const) {
          const ended = await shop.run(command, more).catch((error: Error) => error)
          if (Array.isArray(command)) expect(ended).not.toMatchObject({ exitCode: 0 })
          expect(readdirSync(outside)).toEqual(['busybox'])
        }
      }
    })

    step('device nodes open nothing, wherever they are made', async () => {
      const cache = join(shop.folder, 'cache')
      mkdirSync(cache, { recursive: true })
      const { stdout, stderr } = await shop.run(
        // 1:1 is /dev/mem, 1:11 the kernel's messages, 7:0 a loop device.
        'for d in / /dev /tmp /dev/shm /cache /memory; do cd $d; mknod a c 1 11; mknod b b 7 0; head -c1 a; head -c1 b; done; ls /dev',
        {
          mounts: [
            { kind: 'directory', source: cache, target: '/cache', readOnly: false },
            { kind: 'tmpfs', target: '/memory' },
          ],
        },
      )
      expect(stderr.trim().split('\n')).toEqual(
        Array.from({ length: 12 }, () => expect.stringMatching(/^head: [ab]: Permission denied$/)),
      )
      expect(
        stdout
          .split(/\s+/)
          .filter(name => name.length > 1)
          .sort(),
      ).toEqual('fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero'.split(' '))
    })

    step('the kernel of this machine cannot be touched', async () => {
      const { stdout, stderr } = await shop.run(`
        echo b > /proc/sysrq-trigger
        echo x > /proc/sys/kernel/core_pattern
        echo x > /sys/power/state
        cat /proc/kcore /proc/keys /proc/timer_list | wc -c
        mount -o remount,rw /sys; mount -o remount,rw /proc/sys; umount /proc/keys
        ls /sys/fs/cgroup /sys/firmware
        touch /proc/acpi/x`)
      expect(stdout.trim()).toStartWith('0')
      // Where the kernel has it.
      expect(stderr).toMatch(/can't create \/proc\/sysrq-trigger: (Read-only file system|nonexistent directory)/)
      expect(stderr).toContain("can't create /proc/sys/kernel/core_pattern: Read-only file system")
      expect(stderr).toContain("can't create /sys/power/state: Read-only file system")
      expect(stderr.match(/mount: permission denied/g)?.length).toBe(2)
      expect(stderr).toContain("can't unmount /proc/keys")
      expect(stderr).not.toContain('release_agent')
    })

    step('processes of this machine are not there, and none survives its step', async () => {
      const mark = `88${process.pid}`
      const { stdout } = await shop.run(`
        kill -9 ${process.pid} 2>&1
        (setsid sleep 1000${mark} &) ; sleep 1000${mark} &
        trap '' TERM HUP; ls -d /proc/[0-9]* | wc -l; ls /proc/self/fd | tr '\\n' ' '`)
      expect(stdout).toMatch(/^sh: can't kill pid \d+: No such process\n[2-9]\n0 1 2 3 $/)
      const left = readdirSync('/proc').filter(pid => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`).includes(mark)
        } catch {
          return false
        }
      })
      expect(left).toEqual([])
    })

    step('capabilities are those of docker; su gives no more', async () => {
      const status = 'grep -E "^Cap(Prm|Eff|Bnd|Amb)|^Seccomp:|^NoNewPrivs" /proc/self/status'
      const docker =
        'CapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t2\n'
      expect((await shop.run(status)).stdout).toBe(docker)
      const none = docker.replace(/(Prm|Eff):\t\w+/g, '$1:\t0000000000000000')
      expect((await shop.run(status, { user: '1000' })).stdout).toBe(none)
      expect((await shop.run(`/bin/su -c '${status}'`, { user: '1000' })).stdout).toBe(docker)
    })

    step("another step's secret is nowhere to be found", async () => {
      const bytes = Buffer.from(`hidden-${Math.random()}`)
      const secret = { kind: 'bytes', target: '/run/secrets/s', bytes, mode: 0o444, uid: 0, gid: 0 } as const
      const owner = shop.run('cat /run/secrets/s; sleep 1', { mounts: [secret], env: [`PATH=/bin`, `TOKEN=${bytes}`] })
      const thief = await shop.run(
        'sleep 0.3; ls /run/secrets; cat /proc/[0-9]*/environ | tr "\\0" "\\n"; grep -rs hidden- /dev/shm /dev/mqueue /tmp /run /proc/1/root/run; mount',
      )
      expect((await owner).stdout).toBe(bytes.toString())
      expect(thief.stdout + thief.stderr).not.toContain(bytes.toString())
      const found = spawn('grep', ['-rlsF', bytes.toString(), shop.folder], { stdio: ['ignore', 'pipe', 'ignore'] })
      let files = ''
      for await (const chunk of found.stdout) files += chunk
      expect(files).toBe('')
    })

    step('a step cannot hand its root to another one that goes on writing there', async () => {
      const cache = join(shop.folder, `handed-${runtime}`)
      mkdirSync(cache)
      const mounts = [{ kind: 'directory', source: cache, target: '/cache', readOnly: false }] as const
      const [AF_UNIX, SOCK_DGRAM, O_DIRECTORY] = [1, 2, process.arch === 'arm64' ? 0o40000 : 0o200000]
      const address = Buffer.from('\x01\0/cache/socket\0')
      const control = Buffer.alloc(24)
      control.writeBigUInt64LE(20n)
      control.writeUInt32LE(1, 8) // SOL_SOCKET
      control.writeUInt32LE(1, 12) // SCM_RIGHTS
      control.writeUInt32LE(4, 16)
      const message = (name: Buffer | number, length: number) =>
        [name, length, [Buffer.from('x'), 1], 1, control, control.length, 0] as const
      const taker = attempt(
        [
          { name: 'socket', args: [AF_UNIX, SOCK_DGRAM, 0] },
          { name: 'mknodat', args: [-100, '/cache/ended', 0o010600, 0] },
          { name: 'bind', args: [4, address, address.length] },
          { name: 'recvmsg', args: [4, message(0, 0), 0] },
          // Opens when the test does.
          { name: 'openat', args: [-100, '/cache/ended', 0, 0] },
          { name: 'mkdirat', args: [5, 'late', 0o755] },
        ],
        { mounts },
      )
      while (!existsSync(join(cache, 'socket'))) await Bun.sleep(20)
      const giver = launchProgram(
        [
          { name: 'openat', args: [-100, '/', O_DIRECTORY, 0] },
          { name: 'socket', args: [AF_UNIX, SOCK_DGRAM, 0] },
          { name: 'sendmsg', args: [5, message(address, address.length), 0] },
          { name: 'exit_group', args: [0] },
        ],
        [],
      )
      const probe = { kind: 'bytes', target: '/probe', bytes: giver.bytes, mode: 0o755, uid: 0, gid: 0 } as const
      const { upper, exitCode } = await shop.run('/probe 3>/report', { mounts: [...mounts, probe] })
      expect({ exitCode, failures: giver.read(readFileSync(join(upper, 'report'))).failures }).toEqual({
        exitCode: 0,
        failures: [],
      })
      writeFileSync(join(cache, 'ended'), '')
      expect(await taker).toEqual({ mkdirat: 'EROFS' })
      expect(readdirSync(upper)).not.toContain('late')
    })

    step('links of a hostile image lead nowhere', async () => {
      const outside = join(shop.folder, `target-${runtime}`)
      mkdirSync(join(outside, 'secrets'), { recursive: true })
      writeFileSync(join(outside, 'secrets/token'), '')
      const hostile = join(shop.folder, `hostile-${runtime}`)
      mkdirSync(hostile)
      for (const name of ['etc', 'srv', 'var'])
        symlinkSync(name === 'var' ? `../../../../..${outside}` : outside, join(hostile, name))
      const bytes = { kind: 'bytes', bytes: Buffer.from('x'), mode: 0o400, uid: 0, gid: 0 } as const
      const outcome = await shop.run('cat /srv/deep/secret; ls -l /; echo own > /etc/hosts; rm /etc/hosts', {
        lowers: [shop.base, hostile],
        cwd: '/var/work',
        mounts: [{ ...bytes, target: '/srv/deep/secret' }],
      })
      expect(outcome.stdout).toStartWith('x')
      expect(readdirSync(outside)).toEqual(['secrets'])
      // What the step puts in the way of the removal of stubs does not lead out either.
      await shop.run(
        `mkdir /run2; mv /run/secrets /run2 2>&1 || mv /run /run3; rm -rf /run; ln -s ${outside} /run; ls -l /`,
        {
          mounts: [{ ...bytes, target: '/run/secrets/token' }],
        },
      )
      expect(existsSync(join(outside, 'secrets/token'))).toBe(true)
    })
  })
