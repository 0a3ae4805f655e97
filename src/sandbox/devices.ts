import { chmodSync, closeSync, lstatSync, mkdirSync, openSync, rmSync, symlinkSync } from 'node:fs'
import { dirname } from 'node:path'
import { isArchimageError } from '../errors/error.ts'
import { makeNode } from '../sys/ffi.ts'
import { MS, mount } from '../sys/mount.ts'
import { lstat, resolveInRoot } from './paths.ts'
import { isReachable, keepingTimes } from './stubs.ts'
import type { Undo } from './undo.ts'

/** Docker's devices; a step opens them and no others. */
const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty'] as const

/** What else a step gets that is not confined, as far as this machine has it. */
const MORE_DEVICES = ['kmsg', 'cuse', 'fuse', 'kvm', 'net/tun', 'loop-control'] as const

export const DEVICE_LINKS = [
  ['fd', '/proc/self/fd'],
  ['stdin', '/proc/self/fd/0'],
  ['stdout', '/proc/self/fd/1'],
  ['stderr', '/proc/self/fd/2'],
  ['ptmx', 'pts/ptmx'],
] as const

/** Names below /dev. */
export function devicesFor(insecure: boolean): readonly string[] {
  return insecure ? [...DEVICES, ...MORE_DEVICES.filter(name => lstat(`/dev/${name}`) !== undefined)] : DEVICES
}

/** The same as nodes of their own, in a root where nothing can be bound. Where they may not be made, the step has none. */
export function makeDeviceNodes(root: string, undo: Undo): void {
  for (const name of DEVICES) {
    const at = resolveInRoot(root, `/dev/${name}`)
    const { rdev } = lstatSync(`/dev/${name}`)
    if (lstat(at) !== undefined || !makeDevice(at, rdev)) continue
    chmodSync(at, 0o666)
    undo.add(() => {
      if (isReachable(root, at)) keepingTimes(dirname(at), () => rmSync(at, { force: true }))
    })
  }
}

function makeDevice(at: string, rdev: number): boolean {
  try {
    keepingTimes(dirname(at), () => makeNode(at, 'char', 0o666, (rdev >> 8) & 0xfff, rdev & 0xff))
    return true
  } catch (error) {
    if (isArchimageError(error) && error.code === 'PERMISSION') return false
    throw error
  }
}

/**
 * Device nodes that belong to the step alone: a root that changes mode or owner of /dev/null must not reach that of this machine. In a user
 * namespace nodes cannot be made; there those of this machine serve, which root of the namespace does not own.
 * Returns the directory to bind them from.
 */
export function ownDevices(
  at: string,
  { rootless, mounts }: { rootless: boolean; mounts: boolean },
  undo: Undo,
): string {
  if (rootless || !mounts) return '/dev'
  mkdirSync(at)
  undo.mount('tmpfs', at, 'tmpfs', MS.NOSUID | MS.NOEXEC, 'mode=755,size=64k')
  for (const name of DEVICES) {
    if (!makeDevice(`${at}/${name}`, lstatSync(`/dev/${name}`).rdev)) return '/dev'
    chmodSync(`${at}/${name}`, 0o666)
  }
  return at
}

/** Where a device is bound from. */
export function deviceSource(devices: string, name: string): string {
  return (DEVICES as readonly string[]).includes(name) ? `${devices}/${name}` : `/dev/${name}`
}

/**
 * Makes a /dev in an empty file system in memory, its devices bound from `devices`: the file system itself opens none, so that a
 * step that may make device nodes (docker's CAP_MKNOD) gains nothing by it, without a cgroup that forbids it.
 */
export function makeDevices(at: string, devices: string): void {
  for (const name of DEVICES) {
    closeSync(openSync(`${at}/${name}`, 'wx', 0o666))
    mount(`${devices}/${name}`, `${at}/${name}`, '', MS.BIND)
  }
  for (const [name, target] of DEVICE_LINKS) symlinkSync(target, `${at}/${name}`)
  for (const name of ['pts', 'shm', 'mqueue']) mkdirSync(`${at}/${name}`)
}
