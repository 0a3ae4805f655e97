import { readFileSync } from 'node:fs'
import { MS, mount, unmount } from '../sys/mount.ts'
import type { Runtime } from './oci-runtime.ts'

/**
 * Runtimes make cgroups where they can, and what is killed leaves them behind. In our mount namespace they cannot: crun, which
 * is told to make none, sees nothing; runc, which insists on looking, finds all of it read-only.
 */
export function hideCgroups(runtime: Runtime): void {
  if (runtime.name === 'crun') {
    mount('tmpfs', '/sys/fs/cgroup', 'tmpfs', MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC, 'size=4k')
    return
  }
  if (runtime.name !== 'runc') return
  for (const { target, flags } of mountsBelow('/sys/fs/cgroup'))
    mount('', target, '', MS.REMOUNT | MS.BIND | MS.RDONLY | flags)
}

/** For the next runtime to be tried. */
export function showCgroups(runtime: Runtime): void {
  if (runtime.name === 'crun') unmount('/sys/fs/cgroup')
}

const FLAGS: Readonly<Record<string, number>> = { nosuid: MS.NOSUID, nodev: MS.NODEV, noexec: MS.NOEXEC }

/** What is mounted at a path and below it, with the flags that a remount has to repeat. See proc_pid_mountinfo(5). */
export function mountsBelow(path: string): { readonly target: string; readonly flags: number }[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .flatMap(line => {
      const [, , , , at, options] = line.split(' ')
      if (at === undefined || options === undefined) return []
      const target = at.replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)))
      if (target !== path && !target.startsWith(`${path}/`)) return []
      return [{ target, flags: options.split(',').reduce((sum, option) => sum | (FLAGS[option] ?? 0), 0) }]
    })
}
