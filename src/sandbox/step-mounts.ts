import { chmodSync, chownSync, cpSync, lstatSync, mkdirSync, writeFileSync } from 'node:fs'
import { ArchimageError } from '../errors/error.ts'
import { MS } from '../sys/mount.ts'
import { removeTree } from '../sys/remove-tree.ts'
import { copyLayers, mountLayers } from './layers.ts'
import { lstat, resolveInRoot } from './paths.ts'
import { serveSocket } from './socket.ts'
import type { Bind } from './spec.ts'
import type { StepMount } from './step.ts'
import type { Surroundings } from './surroundings.ts'
import type { Undo } from './undo.ts'

/** Where a step's mounts are made. */
export interface Places extends Pick<Surroundings, 'memory' | 'scratch' | 'mounts' | 'roots' | 'rootless'> {
  /** The step's root as the step finds it. */
  readonly root: string
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
      const root = await lay(one.lowers, !one.readOnly, at, scratch, places, undo)
      const source = resolveInRoot(root, one.path)
      if (lstat(source) === undefined)
        throw new ArchimageError('STEP_FAILED', `mount ${one.target}: ${one.path} does not exist in its source`, {
          hint: 'check from= and source= of the mount',
        })
      return { source, options: one.readOnly ? ['ro', 'nodev'] : ['nodev'] }
    }
    case 'scratch-copy': {
      const stat = lstatSync(one.source)
      if (stat.isDirectory())
        return { source: await lay([one.source], true, at, scratch, places, undo), options: ['nodev'] }
      mkdirSync(scratch, { recursive: true })
      undo.add(() => removeTree(scratch))
      cpSync(one.source, `${scratch}/file`, { preserveTimestamps: true })
      chownSync(`${scratch}/file`, stat.uid, stat.gid)
      return { source: `${scratch}/file`, options: ['nodev'] }
    }
    case 'tmpfs': {
      mkdirSync(at)
      const there = lstat(resolveInRoot(places.root, one.target))
      const mode = there?.isDirectory() ? there.mode & 0o7777 : 0o1777
      const size = one.size === undefined ? '' : `,size=${one.size}`
      if (places.mounts) undo.mount('tmpfs', at, 'tmpfs', MS.NOSUID | MS.NODEV, `mode=${mode.toString(8)}${size}`)
      else chmodSync(at, mode)
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

/** Layers as a directory; what is written to it is thrown away. */
async function lay(
  lowers: readonly string[],
  writable: boolean,
  at: string,
  scratch: string,
  places: Places,
  undo: Undo,
): Promise<string> {
  if (places.roots === 'copy') {
    await copyLayers(scratch, lowers, undo)
    return scratch
  }
  const [upper, work] = [`${scratch}/upper`, `${scratch}/work`]
  if (writable) {
    undo.add(() => removeTree(scratch))
    for (const directory of [upper, work]) mkdirSync(directory, { recursive: true })
  }
  mkdirSync(at)
  mountLayers(at, { lowers, ...(writable ? { upper, work } : {}) }, places, undo)
  return at
}

function give(
  path: string,
  { uid, gid, mode }: { readonly uid: number; readonly gid: number; readonly mode: number },
): void {
  chownSync(path, uid, gid)
  chmodSync(path, mode & 0o7777)
}
