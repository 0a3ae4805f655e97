import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { file } from '../fidelity/bases.ts'
import { push } from '../fidelity/push.ts'
import { Sandbox } from '../run/command.ts'
import { hasNamespaces, hasQemu, inNamespace, WITHOUT_QEMU } from './namespace.ts'

const sandbox = new Sandbox('emulation')
const store = join(sandbox.folder, 'store')
let registry: FaultyRegistry
beforeAll(async () => {
  registry = await startFaultyRegistry()
})
afterAll(async () => {
  await registry.close()
  await sandbox.dispose()
})

const archimage = (script: string) =>
  inNamespace(script.replaceAll('$A', 'bin/archimage emulators'), { ARCHIMAGE_HOME: store })
// A kernel before 6.7 has one binfmt_misc for all, which tests leave alone.
const alone = test.skipIf(!hasNamespaces)
const withQemu = test.skipIf(!hasNamespaces || !hasQemu)
const machine = (): string[] => readdirSync('/proc/sys/fs/binfmt_misc')

describe('archimage emulators', () => {
  withQemu('install registers QEMU, uninstall takes away what install registered', async () => {
    const before = machine()
    const { stdout, stderr, code } = await archimage(`
      $A ls arm64 amd64
      $A install linux/arm64 arm/v7
      $A ls linux/arm64
      $A install linux/arm64
      head -c 3 /proc/sys/fs/binfmt_misc/archimage-arm
      echo ':stranger:M::\\x01\\x02:\\xff\\xff:/bin/true:' > /proc/sys/fs/binfmt_misc/register
      $A uninstall arm64
      $A uninstall
      $A ls arm64
      ls /proc/sys/fs/binfmt_misc
      $A uninstall stranger`)
    expect(stderr).not.toContain('error')
    expect(code).toBe(0)
    expect(stdout.replaceAll(/ +/g, ' ').split('\n')).toEqual([
      'PLATFORM RUNS HANDLER EMULATOR FLAGS PROBLEM',
      'linux/arm64 no no emulator is registered for it',
      'linux/amd64 native',
      'linux/arm64 registered archimage-arm64 /usr/bin/qemu-aarch64-static POCF',
      'linux/arm/v7 registered archimage-arm /usr/bin/qemu-arm-static POCF',
      'PLATFORM RUNS HANDLER EMULATOR FLAGS PROBLEM',
      expect.stringMatching(/^linux\/arm64 emulated archimage-arm64 \/usr\/bin\/qemu-aarch64-static \d+\.\S+ POCF$/),
      'linux/arm64 runs already archimage-arm64 /usr/bin/qemu-aarch64-static POCF',
      'enaremoved archimage-arm64',
      'removed archimage-arm',
      'PLATFORM RUNS HANDLER EMULATOR FLAGS PROBLEM',
      'linux/arm64 no no emulator is registered for it',
      'register',
      'status',
      'stranger',
      'removed stranger',
      '',
    ])
    expect(machine()).toEqual(before)
  })

  withQemu('--all registers what there is QEMU for; --json tells it', async () => {
    const { stdout, code } = await archimage('$A install --all --json')
    expect(code).toBe(0)
    const installed = JSON.parse(stdout) as { platform: string; state: string }[]
    const states = Object.fromEntries(installed.map(({ platform, state }) => [platform, state]))
    expect(states).toMatchObject({
      'linux/arm64': 'registered',
      'linux/arm/v7': 'registered',
      'linux/riscv64': 'registered',
    })
    expect(Object.values(states)).not.toContain('failed')
  })

  alone('without QEMU the error says how it is had', async () => {
    const { stderr, code } = await archimage(`${WITHOUT_QEMU}\n$A install linux/riscv64`)
    expect(code).toBe(3)
    expect(stderr).toContain('there is no QEMU for riscv64 in /usr/bin')
    expect(stderr).toContain('without packages: archimage emulators install --image')
    const all = await archimage(`${WITHOUT_QEMU}\n$A install --all`)
    expect([all.code, all.stderr]).toEqual([3, expect.stringContaining('there is no QEMU in')])
  })

  withQemu('handlers that are switched off, all or one, are no obstacle', async () => {
    const { stdout, code } = await archimage(`
      $A install linux/arm64 >&2
      echo 0 > /proc/sys/fs/binfmt_misc/archimage-arm64
      $A ls arm64 | tail -n 1
      $A install arm64 | tail -n 1
      echo 0 > /proc/sys/fs/binfmt_misc/status
      $A ls arm64 | tail -n 1
      $A install arm64 | tail -n 1`)
    expect(code).toBe(0)
    const lines = stdout.split('\n')
    expect(lines[0]).toContain('the handler archimage-arm64 is disabled')
    expect(lines[1]).toContain('registered')
    expect(lines[2]).toContain('binfmt_misc is switched off')
    expect(lines[3]).toContain('archimage-arm64')
  })

  test('mistakes are told', async () => {
    const { run } = sandbox
    const of = async (...args: string[]) => {
      const { code, stderr } = await run.call(sandbox, ['emulators', ...args])
      return [code, stderr]
    }
    expect(await of('instal')).toEqual([2, expect.stringContaining('did you mean "install"?')])
    expect(await of('install')).toEqual([2, expect.stringContaining('needs a platform')])
    expect(await of('ls', 'arm46')).toEqual([2, expect.stringContaining('did you mean')])
    expect(await of('uninstall', 'linux/arm64')).toEqual([0, 'nothing that archimage registered is there\n'])
  })
})

describe('emulators out of an image', () => {
  const image = (name: string): string => `${registry.address}/${name}`

  async function pushEmulators(name: string): Promise<string> {
    const bytes = readFileSync('/usr/bin/qemu-aarch64-static')
    const program = (path: string, data: Buffer) => ({ ...file(path, '', 0o755), data })
    const platform = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' }
    const other = { os: 'linux', architecture: platform.architecture === 'amd64' ? 'arm64' : 'amd64' }
    await push(registry.address, `${name}:latest`, [
      { platform: other, layers: [{ entries: [file('usr/bin/qemu-aarch64', 'for the other machine')] }] },
      {
        platform,
        layers: [
          {
            entries: [
              file('name', name),
              program('usr/bin/qemu-aarch64', bytes),
              program('usr/bin/binfmt', bytes.subarray(0, 1000)),
            ],
            compression: 'zstd',
          },
          // Neither is a program: passed over.
          {
            entries: [program('usr/bin/qemu-arm', bytes.subarray(0, 100_000)), file('usr/bin/qemu-riscv64', 'text')],
          },
        ],
      },
    ])
    const answer = await fetch(`${registry.url}/v2/${name}/manifests/latest`, { method: 'HEAD' })
    return answer.headers.get('docker-content-digest')!
  }

  withQemu(
    'are registered without QEMU on this machine, and kept',
    async () => {
      const digest = await pushEmulators('tools/emulators')
      const reference = `${image('tools/emulators')}@${digest}`
      const { stdout, stderr, code } = await archimage(`
      ${WITHOUT_QEMU}
      $A install --yes --image=${reference} linux/arm64
      $A ls arm64 | tail -n 1
      $A uninstall
      $A install --all`)
      expect(stderr).not.toContain('error')
      expect(code).toBe(0)
      const lines = stdout.split('\n')
      const kept = join(store, 'emulators', digest.slice(7, 39))
      expect(lines[0]).toContain(`registered  archimage-arm64  ${kept}/qemu-aarch64  POCF`)
      expect(lines[1]).toContain('emulated')
      // What was kept is found again, and nothing else was.
      expect(lines.slice(3).filter(Boolean)).toEqual([expect.stringContaining(`${kept}/qemu-aarch64`)])
      expect(readdirSync(kept)).toEqual(['qemu-aarch64'])
    },
    60_000,
  )

  alone(
    'are refused without a digest, without agreement, and when there are none',
    async () => {
      const digest = await pushEmulators('tools/others')
      const unpinned = await archimage(`$A install --image=${image('tools/others')} arm64`)
      expect([unpinned.code, unpinned.stderr]).toEqual([2, expect.stringContaining(`@${digest}`)])
      const asked = await archimage(`$A install --image=${image('tools/others')}@${digest} arm64 </dev/null`)
      expect([asked.code, asked.stderr]).toEqual([2, expect.stringContaining('give --yes')])
      const absent = await archimage(`$A install --yes --image=${image('tools/none')}@sha256:${'0'.repeat(64)} arm64`)
      expect([absent.code, absent.stderr]).toEqual([1, expect.stringContaining('does not exist')])
      const platform = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' }
      await push(registry.address, 'tools/empty:latest', [{ platform, layers: [{ entries: [file('readme', 'x')] }] }])
      const answer = await fetch(`${registry.url}/v2/tools/empty/manifests/latest`, { method: 'HEAD' })
      const empty = `${image('tools/empty')}@${answer.headers.get('docker-content-digest')}`
      const none = await archimage(`$A install --yes --image=${empty} arm64`)
      expect([none.code, none.stderr]).toEqual([3, expect.stringContaining('there is no emulator for this machine')])
      expect(readdirSync(join(store, 'emulators')).filter(name => name.startsWith('.'))).toEqual([])
    },
    60_000,
  )
})

describe('handlers of a user namespace', () => {
  // The namespace around it stands for the machine: it has arm through a handler that does not work inside images, and no arm64.
  const AROUND = `
    echo ':qemu-arm:M::\\x7fELF\\x01\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x28\\x00::/usr/bin/qemu-arm-static:P' > /proc/sys/fs/binfmt_misc/register`

  withQemu('an ordinary user registers there what is missing, and the machine knows nothing of it', async () => {
    const { stdout, stderr, code } = await inNamespace(`${AROUND}
      unshare --user --map-root-user --mount node_modules/.bin/bun test/emulation/inside.ts
      echo; ls /proc/sys/fs/binfmt_misc`)
    expect([code, stderr]).toEqual([0, ''])
    const [json, ...names] = stdout.trim().split('\n')
    const found = JSON.parse(json!)
    expect(found.before['linux/arm64'].problem.message).toContain('no emulator is registered for it')
    expect(found.before['linux/arm/v7'].problem.message).toContain(
      'the handler qemu-arm (/usr/bin/qemu-arm-static) is registered without the F flag',
    )
    expect(found.after).toMatchObject({
      'linux/arm64': { how: 'emulated', handler: { name: 'archimage-arm64', flags: 'POCF' } },
      'linux/arm/v7': { how: 'emulated', handler: { name: 'qemu-arm', flags: 'PF' } },
    })
    // In another root, with the name that it was started by.
    expect(found.elsewhere).toEqual({ ran: true, level: 0 })
    expect(found.first).toBe('Z'.charCodeAt(0))
    const there = { ran: false, exit: 127 }
    expect(found.alien).toEqual({ here: { ran: true, level: 0 }, there, fixed: { ran: true, level: 0 } })
    expect(found.handlers.sort()).toEqual(['archimage-alien', 'archimage-arm64', 'qemu-arm'])
    expect(names).toEqual(['qemu-arm', 'register', 'status'])
  })
})
