import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Entry } from '../../layer/entry.ts'
import type { Tree } from '../../layer/tree.ts'
import { closeFd, getXattrAt, listFd, listXattrsAt, openDir, type Stat, statAt } from '../../sys/at.ts'
import { unmount } from '../../sys/mount.ts'
import { overlayMount } from '../../sys/overlay.ts'
import { decodePath, encodePath, fsPath } from '../../tar/path-bytes.ts'

/** What can be seen of one path; hard links by the least of their names. */
export interface Seen {
  readonly type: string
  readonly mode: number
  readonly owner: string
  readonly size: number
  /** Without it for directories: an image says nothing of when something in them changed. */
  readonly mtime: number | undefined
  readonly what: string
  readonly xattrs: string
  readonly link: string
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** Everything below a directory, by path, as the system shows it. */
export function seenIn(root: string): Map<string, Seen> {
  const found = new Map<string, Seen>()
  const names = new Map<string, string>()
  const walk = (path: string): void => {
    const fd = openDir(fsPath(path === '' ? root : `${root}/${path}`))
    for (const { name } of listFd(fd).sort((a, b) => Buffer.compare(a.name, b.name))) {
      const at = path === '' ? decodePath(name) : `${path}/${decodePath(name)}`
      const stat = statAt(fd, name)
      // a whiteout that hides nothing is listed and is not there
      if (stat === undefined) throw new Error(`${at} is listed, and is not there`)
      found.set(at, seen(fd, name, stat, fsPath(`${root}/${at}`), at, names))
      if (stat.type === 'dir') walk(at)
    }
    closeFd(fd)
  }
  walk('')
  return found
}

function seen(
  fd: number,
  name: Buffer,
  stat: Stat,
  full: string | Buffer,
  path: string,
  names: Map<string, string>,
): Seen {
  const { type, mode, uid, gid, nlink, ino, mtime, major, minor } = stat
  const xattrs = listXattrsAt(fd, name)
    .filter(key => key === 'security.capability' || key.startsWith('user.'))
    .sort()
    .map(key => `${key}=${getXattrAt(fd, name, key)!.toString('base64')}`)
  const key = String(ino)
  if (nlink > 1 && type !== 'dir' && !names.has(key)) names.set(key, path)
  return {
    type,
    mode: type === 'symlink' ? 0o777 : mode,
    owner: `${uid}:${gid}`,
    size: type === 'file' ? stat.size : 0,
    mtime: type === 'dir' ? undefined : mtime.seconds,
    what:
      type === 'file'
        ? sha256(readFileSync(full))
        : type === 'symlink'
          ? decodePath(readlinkSync(full, { encoding: 'buffer' }))
          : type === 'char' || type === 'block'
            ? `${major}:${minor}`
            : '',
    xattrs: xattrs.join(),
    link: nlink > 1 && type !== 'dir' ? names.get(key)! : path,
  }
}

/** The same of a tree. */
export function seenInTree(tree: Tree): Map<string, Seen> {
  const found = new Map<string, Seen>()
  const names = new Map<string, string>()
  const walked = [...tree.walk()].filter(({ path }) => path !== '')
  // in the order in which a directory is walked
  walked.sort((a, b) =>
    Buffer.compare(encodePath(a.path.replaceAll('/', '\0')), encodePath(b.path.replaceAll('/', '\0'))),
  )
  for (const { path, entry } of walked) {
    const { type, mode, uid, gid, size, mtime, link, major = 0, minor = 0, xattrs = {}, inode } = entry
    if (inode !== undefined && type !== 'dir' && !names.has(inode)) names.set(inode, path)
    found.set(path, {
      type,
      mode: type === 'symlink' ? 0o777 : mode,
      owner: `${uid}:${gid}`,
      size,
      mtime: type === 'dir' ? undefined : mtime,
      what:
        type === 'file'
          ? digest(entry)
          : type === 'symlink'
            ? link!
            : type === 'char' || type === 'block'
              ? `${major}:${minor}`
              : '',
      xattrs: Object.keys(xattrs)
        .sort()
        .map(key => `${key}=${xattrs[key]}`)
        .join(),
      link: inode === undefined || type === 'dir' ? path : names.get(inode)!,
    })
  }
  return found
}

const digest = ({ digest: known, content }: Entry): string =>
  known?.slice(7) ?? (content?.kind === 'bytes' ? sha256(content.bytes) : '')

/** Mounts an overlay at `folder/target` while `act` runs. */
export async function mounted<T>(
  folder: string,
  lowers: readonly string[],
  upper: { readonly upper: string; readonly work: string } | undefined,
  act: (target: string) => T | Promise<T>,
  userxattr = false,
): Promise<T> {
  const target = join(folder, 'target')
  mkdirSync(target, { recursive: true })
  overlayMount({ lowers, ...upper, target, userxattr })
  try {
    return await act(target)
  } finally {
    unmount(target)
  }
}
