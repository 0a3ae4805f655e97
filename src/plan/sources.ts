import { compileGlob, hasWildcards } from '../context/glob.ts'
import { type IgnoreState, patternRules } from '../context/ignore.ts'
import { ArchimageError } from '../errors/error.ts'
import { suggest } from '../errors/suggest.ts'
import type { Entry } from '../layer/entry.ts'
import type { CopyOp } from './lowered.ts'
import { join, nameOf, parentOf } from './posix.ts'
import { resolveLinks, type SourceTree } from './source-tree.ts'

/** One thing that a COPY source names, with all that is below it and wanted. */
export interface SourceMatch {
  /** Base name before links were followed: what the file is called in a directory that it is copied into. */
  readonly name: string
  /** Where it is in the source tree, links followed. */
  readonly path: string
  readonly entry: Entry
  /** What is below, relative to `path`, parents first, byte order in each directory. */
  readonly below: readonly { readonly path: string; readonly entry: Entry; readonly parentOnly: boolean }[]
  /** For remote sources, where it is not as the instruction says: whether an archive is unpacked. */
  readonly unpack?: boolean
  /** A directory that is copied itself, with its own mode and owner, and not only what is in it. */
  readonly whole?: true
}

/**
 * Finds what the sources of a COPY or ADD name, as BuildKit does: wildcards per component, links followed for the source
 * itself and its parents but not below it, --exclude and --parents as patterns of .dockerignore's kind.
 * A source without wildcard that does not exist is NOT_FOUND; a wildcard may match nothing.
 */
export function findSources(op: CopyOp, tree: SourceTree): SourceMatch[] {
  return op.sources.flatMap(source => (op.parents ? withParents(op, source, tree) : plain(op, source, tree)))
}

function plain(op: CopyOp, source: string, tree: SourceTree): SourceMatch[] {
  return matches(join('/', source), tree).map(path => one(op, path, source, tree, undefined))
}

/** `--parents`: below the pivot (`/./`, else the root) the pattern keeps its folders. */
function withParents(op: CopyOp, source: string, tree: SourceTree): SourceMatch[] {
  const pivot = source.indexOf('/./')
  const root = join('/', pivot < 0 ? '' : source.slice(0, pivot))
  const pattern = join('/', pivot < 0 ? source : source.slice(pivot + 3)).slice(1)
  if (
    !hasWildcards(root) &&
    !hasWildcards(pattern) &&
    resolveLinks(tree, `${root}/${pattern}`, { followLast: false }).entry === undefined
  )
    throw missing(source, join(root, pattern), tree)
  const roots = matches(root, tree)
  // Of a context only what the whole pattern matches is sent, so that a file never takes the place of the pivot.
  const found = tree.transferred && hasWildcards(root) ? roots.filter(path => isDirectory(path, tree)) : roots
  return found.map(path => one(op, path, source, tree, pattern))
}

function isDirectory(path: string, tree: SourceTree): boolean {
  return resolveLinks(tree, path).entry?.type === 'dir'
}

/** What a mount shows of a source: one path, taken literally, with everything below it. Throws NOT_FOUND. */
export function findMounted(path: string, tree: SourceTree): SourceMatch {
  return one({ excludes: [] }, path.slice(1), path, tree, undefined)
}

/** The paths (without leading slash) that a cleaned absolute source matches. */
function matches(path: string, tree: SourceTree): string[] {
  const parts = path.split('/').filter(Boolean)
  const first = parts.findIndex(hasWildcards)
  if (first < 0) return [parts.join('/')]
  const start = resolveLinks(tree, parts.slice(0, first).join('/')).path
  let level = [start]
  for (const [i, part] of parts.slice(first).entries()) {
    const matcher = hasWildcards(part) ? compileGlob(part) : (name: string) => name === part.replaceAll(/\\(.)/g, '$1')
    if (!matcher)
      throw new ArchimageError('DOCKERFILE_INVALID', `"${path.slice(1)}" is not a well formed pattern`, {
        hint: 'a "[" needs its "]"; write \\[ for a bracket in a name',
      })
    const last = first + i === parts.length - 1
    level = level.flatMap(dir =>
      tree.lookup(dir)?.type === 'dir'
        ? tree
            .list(dir)
            .filter(matcher)
            .map(name => (dir === '' ? name : `${dir}/${name}`))
            .filter(path => last || tree.lookup(path)?.type === 'dir')
        : [],
    )
  }
  return level
}

function one(
  op: Pick<CopyOp, 'excludes'>,
  path: string,
  source: string,
  tree: SourceTree,
  include: string | undefined,
): SourceMatch {
  const followed = resolveLinks(tree, path)
  if (!followed.entry) throw missing(source, `/${path}`, tree)
  const entry = withDigest(followed.path, followed.entry, tree)
  const below = entry.type === 'dir' ? walk(followed.path, tree, include, op.excludes) : []
  return { name: nameOf(path), path: followed.path, entry, below }
}

function withDigest(path: string, entry: Entry, tree: SourceTree): Entry {
  return entry.type === 'file' && entry.digest === undefined ? { ...entry, digest: tree.digest(path) } : entry
}

function walk(
  root: string,
  tree: SourceTree,
  include: string | undefined,
  excludes: readonly string[],
): SourceMatch['below'] {
  const includes = include === undefined ? undefined : patternRules([include])
  const excluded = excludes.length === 0 ? undefined : patternRules(excludes)
  const out: { path: string; entry: Entry; parentOnly: boolean }[] = []
  visit(root, '', includes?.root, excluded?.root)
  return out

  function visit(
    dir: string,
    relative: string,
    inside: IgnoreState | undefined,
    outside: IgnoreState | undefined,
  ): void {
    for (const name of tree.list(dir)) {
      const full = dir === '' ? name : `${dir}/${name}`
      const path = relative === '' ? name : `${relative}/${name}`
      const entry = tree.lookup(full)
      if (!entry) continue
      if (entry.type !== 'dir') {
        const wanted = !(excluded?.ignores(path, outside!) ?? false) && (includes?.ignores(path, inside!) ?? true)
        if (wanted) out.push({ path, entry: withDigest(full, entry, tree), parentOnly: false })
        continue
      }
      const [inState, outState] = [includes?.descend(path, inside!), excluded?.descend(path, outside!)]
      const left = outState?.ignored ?? false
      if (left && !excluded!.mayKeepBelow(path)) continue
      // A directory that is not wanted itself is made only when something below it is.
      const wanted = !left && (inState?.ignored ?? true)
      const at = out.length
      out.push({ path, entry, parentOnly: !wanted })
      visit(full, path, inState, outState)
      if (!wanted && out.length === at + 1) out.pop()
    }
  }
}

function missing(source: string, path: string, tree: SourceTree): ArchimageError {
  const base = nameOf(path)
  const parent = resolveLinks(tree, parentOf(path))
  const link = tree.lookup(join(parent.path, base))
  if (link?.type === 'symlink')
    return new ArchimageError(
      'NOT_FOUND',
      `"${source}" ${hasWildcards(source) ? `matches ${path.slice(1)},` : 'is'} a link to ${link.link}, which does not exist in ${tree.name}`,
      {
        hint: 'links are followed inside only; copy what it points to, or make it part of the context',
      },
    )
  // A context lists what it holds, sockets too, but has no entry for them.
  if (link === undefined && parent.entry?.type === 'dir' && tree.list(parent.path).includes(base))
    return new ArchimageError('NOT_FOUND', `"${source}" is a socket, which an image cannot hold`)
  const near = parent.entry?.type === 'dir' ? suggest(base, tree.list(parent.path)) : undefined
  const meant =
    near === undefined
      ? undefined
      : withoutArchitecture(near) === withoutArchitecture(base)
        ? `there is "${near}", which is for another platform: was this one not made?`
        : `did you mean "${near}"?`
  return new ArchimageError('NOT_FOUND', `"${source}" does not exist in ${tree.name}`, {
    hint:
      meant ??
      (tree.list('').length === 0
        ? `${tree.name} is empty; a Dockerfile on standard input gets its folder with: archimage build -f - FOLDER`
        : 'check the name, and that no line of .dockerignore leaves it out'),
  })
}

/** `app-arm64` is no mistyped `app-amd64`. */
function withoutArchitecture(name: string): string {
  return name.replace(/amd64|x86_64|arm64|aarch64|armv?\d?|386|riscv64|s390x|ppc64le/g, '')
}
