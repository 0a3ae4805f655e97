import { applyChmod, parseChmod } from '../../dockerfile/chmod.ts'
import { ArchimageError } from '../../errors/error.ts'
import type { Entry } from '../../layer/entry.ts'
import type { CopyOp } from '../../plan/lowered.ts'
import { join, nameOf, parentOf } from '../../plan/posix.ts'
import { resolveLinks } from '../../plan/source-tree.ts'
import type { SourceMatch } from '../../plan/sources.ts'
import type { ArchiveEntry } from './archive.ts'
import { type Change, ROOT } from './change.ts'
import type { Owner } from './owner.ts'

export interface CopyContext {
  /** From --chown; undefined keeps the owner of the source. */
  readonly owner: Owner | undefined
  /** Entries of an archive that is to be unpacked, or undefined when the file is none. */
  readonly unpack: (match: SourceMatch) => readonly ArchiveEntry[] | undefined
  /** Of this instruction, among all of a build. */
  readonly serial: string
}

/** Copies what was found for a COPY or ADD to its destination, with the rules of BuildKit's copy (fsutil). */
export function applyCopy(change: Change, op: CopyOp, matches: readonly SourceMatch[], context: CopyContext): void {
  const chmod = op.chmod === undefined ? undefined : parseChmod(op.chmod)
  const directoryMode = chmod && 'octal' in chmod ? chmod.octal & 0o777 : 0o755
  const { owner } = context
  const mode = (entry: Entry): number =>
    chmod === undefined ? entry.mode : applyChmod(entry.mode, entry.type === 'dir', chmod)
  const isDirectory = op.dest.endsWith('/') || op.dest.endsWith('/.')

  const heredocs = op.files.map((file): SourceMatch => {
    const bytes = Buffer.from(file.content)
    return {
      name: file.name,
      path: file.name,
      entry: { type: 'file', mode: 0o644, ...ROOT, size: bytes.length, mtime: 0, content: { kind: 'bytes', bytes } },
      below: [],
    }
  })

  for (const [i, match] of [...matches, ...heredocs].entries()) {
    const archive = context.unpack(match)
    if (archive) {
      const dest = change.resolve(op.dest)
      change.makeDirectories(dest, 0o755, owner)
      unpackInto(change, dest, archive, owner, `${context.serial}.${i}`)
      continue
    }
    change.makeDirectories(change.resolve(isDirectory ? op.dest : parentOf(op.dest)), directoryMode, owner)
    copyMatch(match)
  }

  function copyMatch(match: SourceMatch): void {
    let dest = change.resolve(op.dest)
    const there = change.lookup(dest)
    if (match.entry.type === 'dir') {
      if (!there && match.whole) {
        change.makeDirectories(parentOf(dest), directoryMode, owner)
        copyOne(dest, match.entry, false, match)
      } else if (!there) change.makeDirectories(dest, directoryMode, owner)
      else if (there.type !== 'dir') throw blocked(dest, 'a file is in the way of a directory')
      for (const { path, entry, parentOnly } of match.below)
        copyOne(dest === '' ? path : `${dest}/${path}`, entry, parentOnly, match)
      return
    }
    if (there?.type === 'dir') dest = dest === '' ? match.name : `${dest}/${match.name}`
    change.makeDirectories(parentOf(dest), directoryMode, owner)
    copyOne(dest, match.entry, false, match)
  }

  function copyOne(dest: string, entry: Entry, parentOnly: boolean, match: SourceMatch): void {
    const there = change.lookup(dest)
    if (entry.type === 'dir') {
      if (there && there.type !== 'dir') throw blocked(dest, 'it is there and is no directory')
      // A folder that only leads to something wanted gives its mode to one that exists, and nothing else.
      if (there && parentOnly) {
        change.put(dest, { ...there, mode: entry.mode })
        return
      }
    } else if (there?.type === 'dir') throw blocked(dest, `a directory is there, and /${match.path} is none`)
    change.put(dest, {
      ...entry,
      ...(owner ?? { uid: entry.uid, gid: entry.gid }),
      mode: entry.type === 'symlink' ? 0o777 : mode(entry),
    })
  }
}

function blocked(dest: string, why: string): ArchimageError {
  return new ArchimageError('STEP_FAILED', `cannot copy to /${dest}: ${why}`, { hint: 'choose another destination' })
}

/**
 * Unpacks an archive's entries below `dest` as docker's ADD does, which makes `dest` the root meanwhile: owners and modes
 * of the archive, existing things replaced, links followed inside `dest`. `serial` tells the files apart that get several
 * names here.
 */
export function unpackInto(
  change: Change,
  dest: string,
  entries: readonly ArchiveEntry[],
  owner: Owner | undefined,
  serial: string,
): void {
  const root = dest
  /** The names that each file with several got here. */
  const names = new Map<string, Set<string>>()
  let last: { readonly dir: string; readonly parent: string } | undefined
  for (const [number, { path, entry, link, inode }] of entries.entries()) {
    if (path === '') continue
    const dir = parentOf(path)
    if (last?.dir !== dir) last = { dir, parent: folderFor(path) }
    const target = join(last.parent, nameOf(path))
    const before = change.lookup(target)
    if (link === undefined) change.put(target, { ...entry!, ...owner })
    else shareFile(number, path, target, link, { ...inode, ...owner })
    // The way to places below may be another one now.
    if (entry?.type === 'symlink' || before?.type === 'dir' || before?.type === 'symlink') last = undefined
  }

  function folderFor(path: string): string {
    const dir = parentOf(path)
    const parent = resolveLinks(change, dir, { root })
    if (!parent.entry && resolveLinks(change, dir, { root, followLast: false }).entry)
      throw blocked(parent.path, `the link at ${dir} leads to nothing, so "${path}" cannot be put there`)
    change.makeDirectories(parent.path, 0o755, ROOT)
    return parent.path
  }

  /** A further name for a file of the archive, or one that was there. The file becomes what the link's header says. */
  function shareFile(number: number, path: string, target: string, link: string, header: Partial<Entry>): void {
    const { path: source, entry } = resolveLinks(change, link, { root, followLast: false })
    if (!entry || entry.type === 'dir' || source === target)
      throw new ArchimageError(
        'TAR_INVALID',
        `"${path}" is a hard link to "${link}", ${entry ? 'which is no file' : 'which does not exist'}`,
      )
    // Names that a base or an earlier file of the instruction has stay with the old file, as on an overlay.
    const known = entry.inode !== undefined && names.get(entry.inode)?.has(source) ? entry.inode : undefined
    const id = known ?? `${serial}:${number}`
    const group = names.get(id) ?? new Set([source])
    names.set(id, group)
    const shared: Entry = {
      ...entry,
      ...header,
      mode: entry.type === 'symlink' ? entry.mode : (header.mode ?? entry.mode),
      ...(header.xattrs && { xattrs: { ...entry.xattrs, ...header.xattrs } }),
      inode: id,
    }
    for (const name of group) if (name === source || change.lookup(name)?.inode === id) change.put(name, shared)
    change.put(target, shared)
    group.add(target)
  }
}
