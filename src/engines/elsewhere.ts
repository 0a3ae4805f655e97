import { ArchimageError } from '../errors/error.ts'
import { Tree } from '../layer/tree.ts'
import { ContextView, findIn } from '../plan/context-view.ts'
import type { CopyOp } from '../plan/lowered.ts'
import { treeSource } from '../plan/source-tree.ts'
import type { BuildTools, Cell } from './engine.ts'
import { archiveEntries } from './native/archive.ts'
import { Change } from './native/change.ts'
import { unpackInto } from './native/copy.ts'
import { layerContent } from './native/layer-content.ts'

/** An ADD that takes something from elsewhere as an engine gets it: a COPY from a folder that has all of it. */
export interface Elsewhere {
  readonly op: CopyOp
  /** The name of the folder among the directories of the cell. */
  readonly path: string
  /** Words of the COPY. */
  readonly sources: readonly string[]
}

/** A name that is the same as a pattern and for a shell. */
const PLAIN = /^[\w.,:+@%=~-]+$/

/**
 * Makes folders of what ADD takes from URLs and repositories, which is here already: an engine would fetch it again, perhaps
 * something else by then, and old ones know no repositories. Throws UNSUPPORTED for what cannot be written as one COPY.
 */
export async function withoutElsewhere(
  cell: Cell,
  tools: BuildTools,
): Promise<{ readonly cell: Cell; readonly elsewhere: readonly Elsewhere[] }> {
  const elsewhere: Elsewhere[] = []
  const directories = new Map(cell.directories)
  for (const { index, ops } of cell.lowered.stages.values())
    for (const [i, op] of ops.entries()) {
      if (op.kind !== 'copy' || op.remotes === undefined) continue
      const path = `sources of ${index}.${i}`
      const { tree, sources } = await folderOf(op, cell, tools)
      directories.set(path, new ContextView(treeSource(tree, `what line ${op.line} adds`), { times: true }))
      elsewhere.push({ op, path, sources })
    }
  return { cell: elsewhere.length === 0 ? cell : { ...cell, directories }, elsewhere }
}

/** A tree with a directory for each source, in their order. */
async function folderOf(
  op: CopyOp,
  cell: Cell,
  tools: BuildTools,
): Promise<{ readonly tree: Tree; readonly sources: readonly string[] }> {
  const fail = (what: string): ArchimageError =>
    new ArchimageError('UNSUPPORTED', `${what} cannot be handed to another engine`, {
      place: { file: cell.lowered.file, line: op.line },
      hint: 'give it an instruction of its own',
    })
  if (op.files.length > 0) throw fail('a heredoc in an ADD from elsewhere')
  const change = new Change(new Tree())
  const sources: string[] = []
  const content = layerContent(tools)
  try {
    for (const [i, match] of findIn(op, cell)
      .flatMap(found => found.matches)
      .entries()) {
      const put = (path: string, entry: Parameters<Change['put']>[1]): void =>
        change.put(path, entry.inode === undefined ? entry : { ...entry, inode: `${i} ${entry.inode}` })
      const archive =
        (match.unpack ?? op.unpack)
          ? await archiveEntries(match, { ...tools, open: entry => content.open(entry) })
          : undefined
      const isFile = archive === undefined && match.entry.type !== 'dir'
      change.makeDirectories(String(i), 0o755, undefined)
      if (archive) unpackInto(change, String(i), archive, undefined, String(i))
      else if (!isFile) for (const { path, entry } of match.below) put(`${i}/${path}`, entry)
      else if (PLAIN.test(match.name)) put(`${i}/${match.name}`, match.entry)
      else throw fail(`a file with the name "${match.name}"`)
      sources.push(isFile ? `/${i}/${match.name}` : `/${i}/`)
    }
  } finally {
    content.close()
  }
  return { tree: change.tree, sources }
}
