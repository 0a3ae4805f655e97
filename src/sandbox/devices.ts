import { closeSync, mkdirSync, openSync, symlinkSync } from 'node:fs'
import { MS, mount } from '../sys/mount.ts'
import { lstat } from './paths.ts'

/** Docker's devices; a step opens them and no others. */
const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty'] as const

/** What else a step gets that is not confined, as far as this machine has it. */
const MORE_DEVICES = ['kmsg', 'cuse', 'fuse', 'kvm', 'net/tun', 'loop-control'] as const

export const DEVICE_LINKS = [
  ['fd', '/proc/self/fd'],
  ['stdin', '/proc/self/fd/0'],
  ['stdout', '/proc/self/fd/1'],
  ['stderr', '/proc/self/fd/2'],
  ['core', '/proc/kcore'],
  ['ptmx', 'pts/ptmx'],
] as const

/** Names below /dev. */
export function devicesFor(insecure: boolean): readonly string[] {
  return insecure ? [...DEVICES, ...MORE_DEVICES.filter(name => lstat(`/dev/${name}`) !== undefined)] : DEVICES
}

/**
 * Makes a /dev in an empty file system in memory. Devices are those of this machine, bound: the file system itself opens none, so that a
 * step that may make device nodes (docker's CAP_MKNOD) gains nothing by it, without a cgroup that forbids it.
 */
export function makeDevices(at: string): void {
  for (const name of DEVICES) {
    closeSync(openSync(`${at}/${name}`, 'wx', 0o666))
    mount(`/dev/${name}`, `${at}/${name}`, '', MS.BIND)
  }
  for (const [name, target] of DEVICE_LINKS) symlinkSync(target, `${at}/${name}`)
  for (const name of ['pts', 'shm', 'mqueue']) mkdirSync(`${at}/${name}`)
}
