import { chmodSync, chownSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { dirname } from 'node:path'
import { ArchimageError } from '../errors/error.ts'
import { MS, mount } from '../sys/mount.ts'
import { MAX_LOWERS } from '../sys/overlay.ts'
import { cover } from './cover.ts'
import { makeDeviceNodes, ownDevices } from './devices.ts'
import { hostsFile, outwardAddress, resolvConf, resolvConfPath } from './hosts.ts'
import { mountLayers } from './layers.ts'
import type { StepNetwork } from './network.ts'
import { lstat, resolveInRoot } from './paths.ts'
import type { Bind, Prepared } from './spec.ts'
import type { Step } from './step.ts'
import { prepareMounts } from './step-mounts.ts'
import { dropStubDirectories, Stubs } from './stubs.ts'
import type { Surroundings } from './surroundings.ts'
import type { Undo } from './undo.ts'
import { lookUpUser, type StepUser } from './user.ts'

/**
 * Makes all that a step finds: its root, what is mounted in it, its user and working directory. Whatever was made is undone by
 * `undo`, so that `step.upper` holds what the step itself did.
 */
export async function prepareStep(
  step: Step,
  network: StepNetwork | undefined,
  around: Surroundings,
  undo: Undo,
): Promise<Omit<Prepared, 'cgroups'>> {
  const place = `${around.memory}/${step.id}`
  const root = makeRoot(step, place, around, undo)
  const stubs = new Stubs(root)
  undo.add(() => stubs.remove())
  for (const name of ['/proc', '/dev', '/sys']) stubs.make(name, 'directory')
  if (!around.mounts) makeDeviceNodes(root, undo)

  const user = lookUpUser(root, step.user)
  const binds = [
    ...nameFiles(step, network, place, stubs),
    ...(await prepareMounts(
      step.mounts,
      { ...around, memory: place, scratch: `${around.scratch}/${step.id}`, root },
      undo,
    )),
  ]
  for (const [i, { source, target }] of binds.entries())
    if (!isMounted(target, binds.slice(0, i)))
      stubs.make(target, lstatSync(source).isDirectory() ? 'directory' : 'file')
  if (!around.mounts)
    for (const [i, bind] of binds.entries()) await cover(root, bind, `${around.scratch}/${step.id}-${i}`, undo)
  if (!isMounted(step.cwd, binds)) makeWorkingDirectory(resolveInRoot(root, step.cwd), user)
  const devices = ownDevices(`${place}/devices`, around, undo)
  return { ...around, root, user, devices, binds, network: step.network === 'none' ? 'own' : network }
}

function makeRoot(step: Step, place: string, around: Surroundings, undo: Undo): string {
  const devices = step.insecure
  const root = `${place}/root`
  if (!around.mounts) return step.upper
  mkdirSync(root)
  if (around.roots === 'copy') {
    undo.mount(step.upper, root, '', MS.BIND)
    if (!devices) mount('', root, '', MS.REMOUNT | MS.BIND | MS.NODEV)
    return root
  }
  // After the unmounting: what came up from there into `upper`, because something was made in it, goes.
  undo.add(() => dropStubDirectories(step))
  // Below everything lies what every step needs to mount something on.
  const lowers = step.lowers.length < MAX_LOWERS ? [around.stubs, ...step.lowers] : step.lowers
  mountLayers(root, { ...step, lowers }, { rootless: around.rootless, devices }, undo)
  undo.add(() => seal(root))
  return root
}

/**
 * Lets nobody write to a root any more: a step may have handed what it had open there to another one, through a socket in a cache
 * mount. Throws STEP_FAILED where a file is still open for writing.
 */
function seal(root: string): void {
  for (let patience = 50; ; patience--) {
    try {
      mount('', root, '', MS.REMOUNT | MS.RDONLY | MS.NODEV)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error
      if (patience === 0)
        throw new ArchimageError('STEP_FAILED', 'another step still writes to files of this one, which has ended', {
          hint: 'do not hand open files from one step to another',
          cause: error,
        })
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)
    }
  }
}

/** /etc/hosts and /etc/resolv.conf. */
function nameFiles(step: Step, network: StepNetwork | undefined, place: string, stubs: Stubs): Bind[] {
  const files = {
    hosts: hostsFile(
      step.hostname,
      step.hosts.map(([name, ip]) => [name, ip === 'host-gateway' ? gateway(step) : ip]),
    ),
    'resolv.conf': resolvers(step, network),
  }
  return Object.entries(files).map(([name, text]) => {
    writeFileSync(`${place}/${name}`, text, { mode: 0o644 })
    const target = `/etc/${name}`
    stubs.make(target, 'file')
    return { source: `${place}/${name}`, target, options: ['ro', 'nosuid', 'nodev', 'noexec'] }
  })
}

/** Where a step reaches this machine: with a network of its own at the address by which this machine reaches others. */
function gateway({ network }: Step): string {
  return (
    (network === 'host' ? undefined : outwardAddress(readText('/proc/net/route'), networkInterfaces())) ?? '127.0.0.1'
  )
}

function resolvers(step: Step, network: StepNetwork | undefined): string {
  const text = readText('/etc/resolv.conf')
  if (step.network === 'host' && /^\s*nameserver/m.test(text)) return text
  const path = resolvConfPath(text)
  return resolvConf(path === '/etc/resolv.conf' ? text : readText(path), network?.resolvers)
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** Whether a path lies in what is mounted over the root, as it is written. */
function isMounted(path: string, binds: readonly Bind[]): boolean {
  const inside = (target: string): boolean => path === target || path.startsWith(`${target.replace(/\/$/, '')}/`)
  return ['/proc', '/dev', '/sys'].some(inside) || binds.some(bind => inside(bind.target))
}

/** As BuildKit makes it: it belongs to the step's user, and stays. */
function makeWorkingDirectory(path: string, user: StepUser): void {
  if (lstat(path) !== undefined) return
  makeWorkingDirectory(dirname(path), user)
  mkdirSync(path)
  chmodSync(path, 0o755)
  chownSync(path, user.uid, user.gid)
}
