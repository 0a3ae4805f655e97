import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, linkSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import { root } from '../../scripts/archimage.ts'
import { peerCache } from '../peers/index.ts'

/** Somebody with ranges in /etc/subuid and /etc/subgid: `.ci/run` makes this user. */
export const USER = 'archimage-test'

export function uidOf(name: string): number {
  const line = readFileSync('/etc/passwd', 'utf8').match(new RegExp(`^${name}:[^:]*:(\\d+):`, 'm'))
  if (line === null) throw new Error(`there is no user ${name}: .ci/run makes one`)
  return Number(line[1])
}

/** What is needed of the checkout, where everybody can read it: the checkout itself may lie in root's home. */
export class OtherUsers {
  readonly #folder: string

  constructor() {
    const folder = mkdtempSync(join(tmpdir(), 'archimage-user-'))
    this.#folder = folder
    chmodSync(folder, 0o755)
    for (const name of ['src', 'test', 'scripts', 'package.json', 'bunfig.toml'])
      cpSync(join(root, name), join(folder, name), { recursive: true })
    cpSync(join(peerCache(), 'busybox'), join(folder, 'peers/busybox'), { recursive: true })
    for (const name of ['commander', 'yaml', 'zod'])
      cpSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), { recursive: true })
    try {
      linkSync(process.execPath, join(folder, 'bun'))
    } catch {
      cpSync(process.execPath, join(folder, 'bun'))
    }
  }

  /** Runs a script of the checkout as a user with a home of its own. `forbid`: in a user namespace in which nobody may make another. */
  async run(uid: number, script: string, args: readonly string[], { forbid = false } = {}) {
    const home = mkdtempSync(join(tmpdir(), 'archimage-home-'))
    chmodSync(home, 0o777)
    // Executed again when it is root there: before, it has no capabilities.
    const limit = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    const inside = ['unshare', '--user', 'sh', '-c', 'read _; exec sh -c "$@"', 'sh', limit, 'sh']
    const [command, ...more] = [
      ...(forbid ? inside : []),
      ...['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--'],
      ...[join(this.#folder, 'bun'), `--config=${join(this.#folder, 'bunfig.toml')}`, '--no-env-file', '--no-install'],
      ...[join(this.#folder, script), ...args],
    ] as [string, ...string[]]
    const child = spawn(command, more, {
      cwd: home,
      env: { PATH: process.env['PATH'], HOME: home, TMPDIR: home, ARCHIMAGE_PEERS: join(this.#folder, 'peers') },
    })
    try {
      if (forbid) {
        while (readlinkSync(`/proc/${child.pid}/ns/user`) === readlinkSync('/proc/self/ns/user')) await setImmediate()
        for (const file of ['uid_map', 'gid_map']) writeFileSync(`/proc/${child.pid}/${file}`, '0 0 65536')
      }
      child.stdin.end('\n')
      const [[status], stdout, stderr] = await Promise.all([
        once(child, 'close'),
        text(child.stdout),
        text(child.stderr),
      ])
      return { status: status as number | null, stdout, stderr }
    } finally {
      rmSync(home, { recursive: true, force: true })
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
