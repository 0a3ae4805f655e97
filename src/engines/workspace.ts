import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { isAbsolute, join, relative, resolve, sep } from 'node:path'
import { ArchimageError, systemError } from '../errors/error.ts'
import type { LayerContent } from '../layer/content.ts'
import type { SourceTree } from '../plan/source-tree.ts'
import { removeTree } from '../sys/remove-tree.ts'
import { fsPath } from '../tar/path-bytes.ts'
import type { BuildTools, Cell } from './engine.ts'
import { layerContent } from './native/layer-content.ts'

/** What a cell is for an engine that reads files: a Dockerfile, what is ignored, folders. `remove` takes them away again. */
export interface Workspace {
  /** For whatever else the build needs; on the file system of the store. */
  readonly root: string
  /** Lies beside `ignoreFile`, which has its name with `.dockerignore` behind it. */
  readonly dockerfile: string
  readonly ignoreFile: string
  readonly context: string
  remove(): void
}

/**
 * Writes the files of a cell into `root`, a folder of its own. The context is read where it is, or copied where an engine would
 * not see it as archimage does.
 */
export async function openWorkspace(
  cell: Cell,
  dockerfile: string,
  root: string,
  tools: BuildTools,
): Promise<Workspace> {
  const { folder, exclude } = cell.source
  const files = { dockerfile: join(root, 'Dockerfile'), ignoreFile: join(root, 'Dockerfile.dockerignore') }
  const remove = (): void => void removeTree(root)
  const content = layerContent(tools)
  try {
    writeFileSync(files.dockerfile, dockerfile)
    const ignored = folder?.ignoreFile === undefined ? '' : readFileSync(folder.ignoreFile, 'latin1')
    const more = folder ? excludedBelow(folder.root, exclude).map(pattern) : []
    writeFileSync(files.ignoreFile, Buffer.from([ignored, ...more, ''].join('\n'), 'latin1'))
    const context = folder?.root ?? (await copyTree(cell.context, join(root, 'context'), content))
    return { root, ...files, context, remove }
  } catch (error) {
    remove()
    throw systemError(error, 'preparing the build')
  } finally {
    content.close()
  }
}

/** Whether a named context is a folder that an engine sees as archimage does: no other modes, no files that do not belong to it. */
export function isReadInPlace({ service, source }: Pick<Cell, 'service' | 'source'>, path: string): boolean {
  return (
    service.modes === 'context' &&
    isAbsolute(path) &&
    statSync(path, { throwIfNoEntry: false })?.isDirectory() === true &&
    !excludedBelow(path, source.exclude).some(one => existsSync(join(path, one)))
  )
}

/** The named contexts that are files and that a cell copies from or mounts. */
export function namedFolders({ lowered }: Pick<Cell, 'lowered'>): string[] {
  return [...new Set(lowered.sources.flatMap(({ source }) => (source.kind === 'directory' ? [source.path] : [])))]
}

/** The paths below a context that are no part of it. */
function excludedBelow(root: string, exclude: readonly string[]): string[] {
  const ways = ['.archimage', ...exclude].map(path => relative(root, resolve(root, path)).split(sep).join('/'))
  return [...new Set(ways)].filter(way => way !== '' && way !== '..' && !way.startsWith('../') && !isAbsolute(way))
}

/** A line of an ignore file that means this path and what is below it. */
function pattern(path: string): string {
  return Buffer.from(`/${path.replace(/[\\*?[\]!]/g, '\\$&')}`).toString('latin1')
}

/** Copies a tree to the disk; owners are lost, as with every context that an engine reads from there. */
async function copyTree(tree: SourceTree, target: string, layers: LayerContent): Promise<string> {
  const first = new Map<string, string>()
  const copy = async (path: string): Promise<void> => {
    const entry = tree.lookup(path)
    const to = path === '' ? target : `${target}/${path}`
    const at = fsPath(to)
    if (entry === undefined) return
    if (entry.type === 'dir') {
      mkdirSync(at, { recursive: true })
      for (const name of tree.list(path)) await copy(path === '' ? name : `${path}/${name}`)
    } else if (entry.type === 'symlink') {
      symlinkSync(fsPath(entry.link ?? ''), at)
      return
    } else if (entry.type !== 'file')
      throw new ArchimageError('UNSUPPORTED', `${path} is no file, folder or link: another engine cannot be given it`, {
        hint: 'leave it out with .dockerignore',
      })
    else {
      const known = entry.inode === undefined ? undefined : first.get(entry.inode)
      if (known !== undefined) {
        linkSync(fsPath(known), at)
        return
      }
      if (entry.inode !== undefined) first.set(entry.inode, to)
      const { content } = entry
      if (content?.kind === 'host')
        copyFileSync(typeof content.path === 'string' ? fsPath(content.path) : content.path, at)
      else {
        const bytes = await layers.open(entry)
        writeFileSync(at, '')
        for await (const piece of bytes instanceof Uint8Array ? [bytes] : bytes) appendFileSync(at, piece)
      }
    }
    chmodSync(at, entry.mode)
    utimesSync(at, entry.mtime, entry.mtime)
  }
  await copy('')
  if (!existsSync(target)) mkdirSync(target)
  return target
}
