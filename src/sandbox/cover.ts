import { chmodSync, chownSync, lstatSync, mkdirSync, renameSync } from 'node:fs'
import { dirname } from 'node:path'
import { copyRoot } from '../rootfs/copy.ts'
import { removeTree } from '../sys/remove-tree.ts'
import { lstat, resolveInRoot } from './paths.ts'
import type { Bind } from './spec.ts'
import { isReachable, keepingTimes } from './stubs.ts'
import type { Undo } from './undo.ts'

/**
 * Stands in for a bind mount where nothing can be mounted. What is at the target is put aside, and the source itself lies there
 * until the step has ended, or a copy of it when it is not to be changed. `aside` does not exist, on the same disk.
 */
export async function cover(root: string, { source, target, options }: Bind, aside: string, undo: Undo): Promise<void> {
  const real = resolveInRoot(root, target)
  const parent = dirname(real)
  const original = lstat(real)
  if (original !== undefined) keepingTimes(parent, () => renameSync(real, aside))
  const copied = options.includes('ro') && lstatSync(source).isDirectory()
  if (copied) await copyDirectory(source, real)
  else keepingTimes(parent, () => renameSync(source, real))
  undo.add(() => {
    // The step may have put links where directories were.
    if (!isReachable(root, real)) return
    keepingTimes(parent, () => {
      if (copied) removeTree(real)
      else if (lstat(real) !== undefined) renameSync(real, source)
      if (original !== undefined) renameSync(aside, real)
    })
  })
}

async function copyDirectory(source: string, target: string): Promise<void> {
  const { uid, gid, mode } = lstatSync(source)
  keepingTimes(dirname(target), () => mkdirSync(target))
  await copyRoot([source], target, { marks: 'trusted' })
  chownSync(target, uid, gid)
  chmodSync(target, mode & 0o7777)
}
