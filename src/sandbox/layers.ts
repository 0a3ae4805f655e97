import { mkdirSync } from 'node:fs'
import { copyRoot } from '../rootfs/copy.ts'
import { unmount } from '../sys/mount.ts'
import { overlayMount } from '../sys/overlay.ts'
import { removeTree } from '../sys/remove-tree.ts'
import type { Undo } from './undo.ts'

export interface Layers {
  /** The lowest first. */
  readonly lowers: readonly string[]
  /** Both or none: without them nobody can write. */
  readonly upper?: string
  readonly work?: string
}

/** Stacks directories at `target`. Device nodes in them open nothing (see devices.ts), unless `devices` says so. */
export function mountLayers(
  target: string,
  { lowers, upper, work }: Layers,
  { rootless, devices = false }: { readonly rootless: boolean; readonly devices?: boolean },
  undo: Undo,
): void {
  const writable = upper === undefined || work === undefined ? {} : { upper, work }
  overlayMount({ lowers, target, userxattr: rootless, nodev: !devices, ...writable })
  undo.add(() => unmount(target))
}

/** The same as a copy on the disk, `target` is made. */
export async function copyLayers(target: string, lowers: readonly string[], undo: Undo): Promise<void> {
  mkdirSync(target, { recursive: true })
  undo.add(() => removeTree(target))
  await copyRoot(lowers, target, { marks: 'names' })
}
