import { chmodSync, chownSync, cpSync, lstatSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { ArchimageError } from '../errors/error.ts'
import { MS } from '../sys/mount.ts'
import { mountLayers } from './overlay.ts'
import { lstat, resolveInRoot } from './paths.ts'
import { serveSocket } from './socket.ts'
import type { Bind } from './spec.ts'
import type { StepMount } from './step.ts'
import type { Undo } from './undo.ts'

export interface Places {
  /** A directory of the step on a file system in memory. */
  readonly memory: string
  /** One on the disk of the snapshots, for what is thrown away; made when it is needed. */
  readonly scratch: string
  /** The step's root as the step finds it. */
  readonly root: string
  readonly rootless: boolean
}

/** Makes what a step's mounts show; all of them are directories or files to be bound. */
export async function prepareMounts(mounts: readonly StepMount[], places: Places, undo: Undo): Promise<Bind[]> {
  const binds: Bind[] = []
  for (const [i, one] of mounts.entries()) {
    const made = await prepare(one, `${places.memory}/mount-${i}`, `${places.scratch}/${i}`, places, undo)
    binds.push({ target: one.target, ...made })
  }
  // What lies in another one's target comes after it.
  const depth = ({ target }: Bind): number => target.split('/').filter(part => part !== '' && part !== '.').length
  return binds.sort((a, b) => depth(a) - depth(b))
}

async function prepare(
  one: StepMount,
  at: string,
  scratch: string,
  places: Places,
  undo: Undo,
): Promise<Omit<Bind, 'target'>> {
  switch (one.kind) {
    case 'directory':
      return { source: one.source, options: one.readOnly ? ['ro', 'nodev'] : ['nodev'] }
    case 'layers': {
      const root = `${at}-root`
      mkdirSync(root)
      const writable = one.readOnly ? {} : scratchPair(scratch, undo)
      mountLayers(root, { lowers: one.lowers, ...writable }, places, undo)
      const source = resolveInRoot(root, one.path)
      if (lstat(source) === undefined)
        throw new ArchimageError('STEP_FAILED', `mount ${one.target}: ${one.path} does not exist in its source`, {
          hint: 'check from= and source= of the mount',
        })
      return { source, options: one.readOnly ? ['ro'] : [] }
    }
    case 'scratch-copy': {
      const stat = lstatSync(one.source)
      if (!stat.isDirectory()) {
        mkdirSync(scratch, { recursive: true })
        undo.add(() => rmSync(scratch, { recursive: true, force: true }))
        cpSync(one.source, `${scratch}/file`, { preserveTimestamps: true })
        chownSync(`${scratch}/file`, stat.uid, stat.gid)
        return { source: `${scratch}/file`, options: ['nodev'] }
      }
      mkdirSync(at)
      mountLayers(at, { lowers: [one.source], ...scratchPair(scratch, undo) }, places, undo)
      return { source: at, options: [] }
    }
    case 'tmpfs': {
      mkdirSync(at)
      const there = lstat(resolveInRoot(places.root, one.target))
      const mode = there?.isDirectory() ? (there.mode & 0o7777).toString(8) : '1777'
      const size = one.size === undefined ? '' : `,size=${one.size}`
      undo.mount('tmpfs', at, 'tmpfs', MS.NOSUID | MS.NODEV, `mode=${mode}${size}`)
      return { source: at, options: ['nosuid', 'nodev'] }
    }
    case 'bytes': {
      writeFileSync(at, one.bytes, { mode: 0o600, flag: 'wx' })
      give(at, one)
      const exec = (one.mode & 0o111) === 0 ? ['noexec'] : []
      return { source: at, options: ['ro', 'nosuid', 'nodev', ...exec] }
    }
    case 'socket': {
      undo.add(await serveSocket(at, one.source))
      give(at, one)
      return { source: at, options: ['nosuid', 'nodev'] }
    }
  }
}

/** Upper and work directory for writes that are thrown away. */
function scratchPair(scratch: string, undo: Undo): { readonly upper: string; readonly work: string } {
  mkdirSync(`${scratch}/work`, { recursive: true })
  undo.add(() => rmSync(scratch, { recursive: true, force: true }))
  mkdirSync(`${scratch}/upper`)
  return { upper: `${scratch}/upper`, work: `${scratch}/work` }
}

function give(
  path: string,
  { uid, gid, mode }: { readonly uid: number; readonly gid: number; readonly mode: number },
): void {
  chownSync(path, uid, gid)
  chmodSync(path, mode & 0o7777)
}
