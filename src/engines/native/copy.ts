import { posix } from 'node:path'
import { applyChmod, parseChmod } from '../../dockerfile/chmod.ts'
import { ArchimageError } from '../../errors/error.ts'
import type { Entry } from '../../layer/entry.ts'
import type { CopyOp } from '../../plan/lowered.ts'
import type { SourceMatch } from '../../plan/sources.ts'
import { type Change, ROOT } from './change.ts'
import type { Owner } from './owner.ts'

export interface CopyContext {
  /** From --chown; undefined keeps the owner of the source. */
  readonly owner: Owner | undefined
  /** Entries of an archive that is to be unpacked, or undefined when the file is none. */
  readonly unpack: (match: SourceMatch) => readonly { readonly path: string; readonly entry: Entry }[] | undefined
}

/** Copies what was found for a COPY or ADD to its destination, with the rules of BuildKit's copy (fsutil). */
export function applyCopy(change: Change, op: CopyOp, matches: readonly SourceMatch[], context: CopyContext): void {
  const chmod = op.chmod === undefined ? undefined : parseChmod(op.chmod)
  const directoryMode = chmod && 'octal' in chmod ? chmod.octal & 0o777 : 0o755
  const owner = context.owner ?? ROOT
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

  for (const match of [...matches, ...heredocs]) {
    const archive = op.unpack ? context.unpack(match) : undefined
    if (archive) {
      const dest = change.resolve(op.dest)
      change.makeDirectories(dest, 0o755, owner)
      unpackInto(change, dest, archive, context.owner)
      continue
    }
    change.makeDirectories(change.resolve(isDirectory ? op.dest : posix.dirname(op.dest)), directoryMode, owner)
    copyMatch(match)
  }

  function copyMatch(match: SourceMatch): void {
    let dest = change.resolve(op.dest)
    const there = change.lookup(dest)
    if (match.entry.type === 'dir') {
      if (!there) change.makeDirectories(dest, directoryMode, owner)
      else if (there.type !== 'dir') throw blocked(dest, 'a file is in the way of a directory')
      for (const { path, entry, parentOnly } of match.below)
        copyOne(dest === '' ? path : `${dest}/${path}`, entry, parentOnly, match)
      return
    }
    if (there?.type === 'dir') dest = dest === '' ? match.name : `${dest}/${match.name}`
    change.makeDirectories(posix.dirname(dest) === '.' ? '' : posix.dirname(dest), directoryMode, owner)
    copyOne(dest, match.entry, false, match)
  }

  function copyOne(dest: string, entry: Entry, parentOnly: boolean, match: SourceMatch): void {
    const there = change.lookup(dest)
    if (entry.type === 'dir') {
      if (there && there.type !== 'dir') throw blocked(dest, 'it is there and is no directory')
      // A folder that only leads to something wanted does not change one that exists.
      if (there && parentOnly) return
    } else if (there?.type === 'dir') throw blocked(dest, `a directory is there, and /${match.path} is none`)
    change.put(dest, {
      ...entry,
      ...(context.owner ?? { uid: entry.uid, gid: entry.gid }),
      mode: entry.type === 'symlink' ? 0o777 : mode(entry),
    })
  }
}

function blocked(dest: string, why: string): ArchimageError {
  return new ArchimageError('STEP_FAILED', `cannot copy to /${dest}: ${why}`, { hint: 'choose another destination' })
}

/** Unpacks an archive's entries below `dest` as docker's ADD does: owners and modes of the archive, existing things replaced. */
function unpackInto(
  change: Change,
  dest: string,
  entries: readonly { readonly path: string; readonly entry: Entry }[],
  owner: Owner | undefined,
): void {
  for (const { path, entry } of entries) {
    if (path === '') continue
    const full = dest === '' ? path : `${dest}/${path}`
    const parent = change.resolve(posix.dirname(full) === '.' ? '' : posix.dirname(full))
    change.makeDirectories(parent, 0o755, ROOT)
    const target = parent === '' ? posix.basename(full) : `${parent}/${posix.basename(full)}`
    change.put(target, owner ? { ...entry, ...owner } : entry)
  }
}
