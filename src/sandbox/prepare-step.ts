import { chmodSync, chownSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { MAX_LOWERS } from '../sys/overlay.ts'
import { hostsFile, resolvConf, resolvConfPath } from './hosts.ts'
import type { StepNetwork } from './network.ts'
import { mountLayers } from './overlay.ts'
import { lstat, resolveInRoot } from './paths.ts'
import type { Bind, Prepared } from './spec.ts'
import type { Step } from './step.ts'
import { prepareMounts } from './step-mounts.ts'
import { Stubs } from './stubs.ts'
import type { Undo } from './undo.ts'
import { lookUpUser, type StepUser } from './user.ts'

/** What all steps of this process have in common. */
export interface Surroundings {
  /** A directory in memory. */
  readonly memory: string
  /** One on the disk of the snapshots. */
  readonly scratch: string
  /** The lowest layer of all roots, see makeStubLayer. */
  readonly stubs: string
  readonly rootless: boolean
  readonly cgroups2: boolean
  readonly inRootCgroup: boolean
  readonly openFiles: number
  readonly capabilities: readonly string[]
  readonly ttyGroup: boolean
  readonly groupsDenied: boolean
}

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
  const root = `${place}/root`
  mkdirSync(root)
  // Below everything lies what every step needs to mount something on: it is there without being written into `upper`.
  const lowers = step.lowers.length < MAX_LOWERS ? [around.stubs, ...step.lowers] : step.lowers
  mountLayers(root, { ...step, lowers }, { rootless: around.rootless, devices: step.insecure }, undo)
  const stubs = new Stubs(root)
  undo.add(() => stubs.remove())

  for (const name of ['/proc', '/dev', '/sys']) stubs.make(name, 'directory')

  const user = lookUpUser(root, step.user)
  const binds = [
    ...nameFiles(step, network, place, stubs),
    ...(await prepareMounts(
      step.mounts,
      { memory: place, scratch: `${around.scratch}/${step.id}`, root, rootless: around.rootless },
      undo,
    )),
  ]
  for (const [i, { source, target }] of binds.entries())
    if (!isMounted(target, binds.slice(0, i)))
      stubs.make(target, lstatSync(source).isDirectory() ? 'directory' : 'file')
  if (!isMounted(step.cwd, binds)) makeWorkingDirectory(resolveInRoot(root, step.cwd), user)
  return { ...around, root, user, binds, network: step.network === 'none' ? 'own' : network }
}

/** What roots seldom have, and what steps' mounts stand on. On the disk of the snapshots: st_dev of files would differ from their directories'. */
export function makeStubLayer(at: string): void {
  for (const name of ['', '/proc', '/dev', '/sys', '/etc']) {
    mkdirSync(at + name)
    chmodSync(at + name, 0o755)
  }
  for (const name of ['hosts', 'resolv.conf']) {
    writeFileSync(`${at}/etc/${name}`, '')
    chmodSync(`${at}/etc/${name}`, 0o644)
  }
}

/** /etc/hosts and /etc/resolv.conf. */
function nameFiles(step: Step, network: StepNetwork | undefined, place: string, stubs: Stubs): Bind[] {
  const files = { hosts: hostsFile(step.hostname, step.hosts), 'resolv.conf': resolvers(step, network) }
  return Object.entries(files).map(([name, text]) => {
    writeFileSync(`${place}/${name}`, text, { mode: 0o644 })
    const target = `/etc/${name}`
    stubs.make(target, 'file')
    return { source: `${place}/${name}`, target, options: ['ro', 'nosuid', 'nodev', 'noexec'] }
  })
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
