import { MS, mount } from '../sys/mount.ts'

/**
 * Stacks directories, the lowest first; without `upper` nobody can write. Device nodes in it open nothing (see devices.ts)
 * unless `devices` says so.
 */
export function mountLayers(
  at: string,
  lowers: readonly string[],
  options: { readonly upper?: string; readonly work?: string; readonly rootless: boolean; readonly devices?: boolean },
): void {
  const data = [
    `lowerdir=${lowers.toReversed().map(escaped).join(':')}`,
    ...(options.upper === undefined ? [] : [`upperdir=${escaped(options.upper)}`, `workdir=${escaped(options.work!)}`]),
    'redirect_dir=off,metacopy=off,index=off',
    ...(options.rootless ? ['userxattr'] : []),
  ]
  mount('overlay', at, 'overlay', options.devices === true ? 0 : MS.NODEV, data.join(','))
}

const escaped = (path: string): string => path.replace(/[\\:,]/g, '\\$&')
