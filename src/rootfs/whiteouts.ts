import { closeFd, createFileAt, getXattrAt, makeNodeAt, type Stat, setXattr } from '../sys/at.ts'

/**
 * On a disk that is an overlay itself the device 0:0 cannot be made. Roots are copied there, no overlay reads the directory, and an
 * empty file with this attribute stands for it.
 */
const MARK = 'user.archimage.whiteout'

/** An overlay's mark that there is nothing. */
export function makeWhiteout(dir: number, name: Buffer | string): void {
  try {
    makeNodeAt(dir, name, 'char', 0)
  } catch (error) {
    if ((error as { code?: string }).code !== 'EPERM') throw error
    const fd = createFileAt(dir, name, 0)
    try {
      setXattr(fd, MARK, Buffer.from('y'))
    } finally {
      closeFd(fd)
    }
  }
}

export function isWhiteout(dir: number, name: Buffer | string, { type, major, minor, size }: Stat): boolean {
  if (type === 'char') return major === 0 && minor === 0
  return type === 'file' && size === 0 && getXattrAt(dir, name, MARK) !== undefined
}
