import { realpathSync, statSync } from 'node:fs'
import { isAbsolute, relative, resolve, sep } from 'node:path'
import { ArchimageError, systemError } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import { cleanPath, fsPath } from '../tar/path-bytes.ts'
import { compileGlob, hasWildcards } from './glob.ts'
import type { HashMemory } from './hash-memory.ts'
import type { IgnoreRules, IgnoreState } from './ignore.ts'
import { type IgnoreFile, readIgnoreFile } from './ignore-file.ts'
import { type ContextEntry, Tree } from './tree.ts'

export type { ContextEntry } from './tree.ts'

/** A build context. Paths are relative to it, with "/", without "." and ".."; "" is the context itself. */
export interface Context {
  /** The folder, absolute and without links. */
  readonly root: string
  /** The ignore file that applies, if there is one, as it was found. */
  readonly ignoreFile?: string
  /** The entry itself, never a link's target; undefined for what is not there or ignored. */
  lookup(path: string): ContextEntry | undefined
  /** The names in a directory in the order of their bytes, without those that are ignored; empty for anything else. */
  list(path: string): string[]
  /** sha256 of a regular file. Throws CONTEXT_INVALID for anything else, CONTEXT_CHANGED when it is being written. */
  digest(path: string): Digest
  /** Where the file is on this machine: a string, or bytes when its name is not UTF-8. */
  path(path: string): string | Buffer
  /**
   * Follows links as in a root directory (an absolute target begins at the context, ".." stops there), the last one too
   * unless `follow` is false. Undefined when the path leads to nothing. Throws CONTEXT_INVALID for a circle of links.
   */
  resolve(path: string, follow?: boolean): string | undefined
  /**
   * The paths that a source of COPY means: links followed in the part without wildcards, Go's filepath.Match for the rest,
   * in walking order. Undefined for a malformed pattern.
   */
  glob(pattern: string): string[] | undefined
  /** Whether its ignore file leaves a source of COPY out for certain (`IgnoreRules.leavesOut`). */
  leavesOut?(source: string): boolean
  /** Hands new hashes to the memory. */
  save(): void
}

export interface ContextOptions {
  /** The Dockerfile: `<Dockerfile>.dockerignore` beside it wins over `.dockerignore`. */
  readonly dockerfile?: string
  /** An ignore file by name; absent: looked for; false: nothing is ignored. */
  readonly ignoreFile?: string | false
  readonly memory: HashMemory
  /** Paths that are never part of the context (what a run writes), absolute or relative to the root. */
  readonly exclude?: readonly string[]
}

const MAX_LINKS = 255
const trees = new WeakMap<HashMemory, Map<string, Tree>>()

/** One tree per root and run: many services have the same context. */
function treeOf(root: string, memory: HashMemory): Tree {
  const known = trees.get(memory) ?? new Map<string, Tree>()
  trees.set(memory, known)
  const tree = known.get(root) ?? new Tree(root, memory)
  known.set(root, tree)
  return tree
}

/** Opens a folder as a context; nothing of it is read yet but the ignore file. Throws CONTEXT_INVALID. */
export function openContext(folder: string, options: ContextOptions): Context {
  const stat = statSync(folder, { throwIfNoEntry: false })
  if (!stat?.isDirectory())
    throw new ArchimageError('CONTEXT_INVALID', `the context ${folder} is ${stat ? 'not a folder' : 'not there'}`, {
      hint: 'give the folder that COPY takes its files from',
    })
  let root: string
  try {
    root = realpathSync(folder)
  } catch (error) {
    throw systemError(error, `opening the context ${folder}`)
  }
  const ignore = options.ignoreFile === false ? undefined : readIgnoreFile(root, options.dockerfile, options.ignoreFile)
  const excluded = new Set(['.archimage'])
  for (const one of options.exclude ?? []) {
    const way = relative(root, resolve(root, one)).split(sep).join('/')
    if (way !== '' && way !== '..' && !way.startsWith('../') && !isAbsolute(way)) excluded.add(way)
  }
  return new FolderContext(treeOf(root, options.memory), ignore, [...excluded])
}

class FolderContext implements Context {
  readonly root: string
  readonly ignoreFile?: string
  readonly #tree: Tree
  readonly #rules: IgnoreRules | undefined
  readonly #excluded: readonly string[]
  readonly #states = new Map<string, IgnoreState>()
  readonly #verdicts = new Map<string, boolean>()

  constructor(tree: Tree, ignore: IgnoreFile | undefined, excluded: readonly string[]) {
    this.root = tree.root
    this.#tree = tree
    this.#rules = ignore?.rules
    if (ignore !== undefined) this.ignoreFile = ignore.file
    this.#excluded = excluded
  }

  lookup(path: string): ContextEntry | undefined {
    const clean = cleanPath(path)
    return clean !== undefined && this.#visible(clean) ? this.#tree.entry(clean) : undefined
  }

  list(path: string): string[] {
    const clean = cleanPath(path)
    if (clean === undefined || !this.#visible(clean) || this.#tree.entry(clean)?.type !== 'dir') return []
    const prefix = clean === '' ? '' : `${clean}/`
    return this.#tree.names(clean).filter(name => this.#visible(prefix + name))
  }

  digest(path: string): Digest {
    const clean = cleanPath(path)
    const entry = clean !== undefined && this.#visible(clean) ? this.#tree.entry(clean) : undefined
    if (clean === undefined || entry?.type !== 'file')
      throw new ArchimageError('CONTEXT_INVALID', `${path} is ${entry ? 'no regular file' : 'not in the context'}`)
    return this.#tree.digest(clean, entry)
  }

  path(path: string): string | Buffer {
    return fsPath(this.#tree.absolute(cleanPath(path) ?? ''))
  }

  resolve(path: string, follow = true): string | undefined {
    const todo = path.split('/').reverse()
    const at: string[] = []
    let links = 0
    while (todo.length > 0) {
      const part = todo.pop()!
      if (part === '' || part === '.') continue
      if (part === '..') {
        at.pop()
        continue
      }
      at.push(part)
      const entry = this.lookup(at.join('/'))
      if (entry === undefined) return undefined
      const last = todo.every(rest => rest === '' || rest === '.')
      if (entry.type !== 'symlink') {
        if (!last && entry.type !== 'dir') return undefined
        continue
      }
      if (last && !follow) continue
      if (++links > MAX_LINKS)
        throw new ArchimageError('CONTEXT_INVALID', `${path} leads through more than ${MAX_LINKS} links`, {
          hint: 'links that point at each other in a circle have no target',
        })
      at.pop()
      const link = entry.link!
      if (link.startsWith('/')) at.length = 0
      todo.push(...link.split('/').reverse())
    }
    return at.join('/')
  }

  glob(pattern: string): string[] | undefined {
    const parts = (cleanPath(pattern) ?? '').split('/')
    const first = parts.findIndex(hasWildcards)
    if (first < 0) {
      const found = this.resolve(parts.join('/'), false)
      return found === undefined ? [] : [found]
    }
    const tests = parts.slice(first).map(compileGlob)
    if (tests.includes(undefined)) return undefined
    const start = this.resolve(parts.slice(0, first).join('/'))
    if (start === undefined) return []
    const out: string[] = []
    const walk = (folder: string, depth: number): void => {
      for (const name of this.list(folder)) {
        if (!tests[depth]!(name)) continue
        const path = folder === '' ? name : `${folder}/${name}`
        if (depth === tests.length - 1) out.push(path)
        else if (this.lookup(path)?.type === 'dir') walk(path, depth + 1)
      }
    }
    walk(start, 0)
    return out
  }

  leavesOut(source: string): boolean {
    return this.#rules?.leavesOut(source) ?? false
  }

  save(): void {
    this.#tree.save()
  }

  #state(folder: string, rules: IgnoreRules): IgnoreState {
    if (folder === '') return rules.root
    const known = this.#states.get(folder)
    if (known !== undefined) return known
    const state = rules.descend(folder, this.#state(parentOf(folder), rules))
    this.#states.set(folder, state)
    return state
  }

  /** Not ignored, or an ignored directory below which an exception keeps something (as BuildKit sends it). */
  #visible(path: string): boolean {
    if (path === '') return true
    for (const one of this.#excluded)
      if (path.startsWith(one) && (path.length === one.length || path[one.length] === '/')) return false
    const rules = this.#rules
    if (rules === undefined) return true
    // Each path is asked for several times: in a listing, as an entry, for its hash.
    const known = this.#verdicts.get(path)
    if (known !== undefined) return known
    const visible =
      !rules.ignores(path, this.#state(parentOf(path), rules)) || (rules.mayKeepBelow(path) && this.#keepsBelow(path))
    this.#verdicts.set(path, visible)
    return visible
  }

  #keepsBelow(folder: string): boolean {
    return (
      this.#tree.entry(folder)?.type === 'dir' &&
      this.#tree.names(folder).some(name => this.#visible(`${folder}/${name}`))
    )
  }
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf('/')
  return slash < 0 ? '' : path.slice(0, slash)
}
