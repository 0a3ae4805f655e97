import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { root } from '../../scripts/archimage.ts'
import { type Outcome, run } from '../peers/process.ts'

/** Puts a binfmt_misc of the namespace's own where the machine's was: nothing is registered in it. */
const MOUNT = 'mount -t binfmt_misc none /proc/sys/fs/binfmt_misc'
const ENTER = ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-ec']

/** Whether this kernel gives a user namespace handlers of its own (Linux 6.7), and lets us have one. */
export const hasNamespaces: boolean =
  process.platform === 'linux' && spawnSync(ENTER[0]!, [...ENTER.slice(1), MOUNT]).status === 0

export const hasQemu: boolean = ['aarch64', 'arm', 'riscv64'].every(name => existsSync(`/usr/bin/qemu-${name}-static`))

/** Runs a shell script in such a namespace, in the checkout; the handlers of the machine are neither seen nor touched. */
export function inNamespace(script: string, env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  return run([...ENTER, `${MOUNT}\n${script}`], { cwd: root, env, timeout: 45_000 })
}

/** A line of a script that hides all QEMU of the machine. */
export const WITHOUT_QEMU = 'for f in /usr/bin/qemu-*; do mount --bind /dev/null "$f"; done'
