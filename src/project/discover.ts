import { type Dirent, readdirSync } from 'node:fs'
import { basename, join, relative } from 'node:path'
import { systemError } from '../errors/error.ts'
import { type DockerfileSet, dockerfilesAmong } from './dockerfile-names.ts'

/** A folder with Dockerfiles. */
export interface Found {
  /** Undefined where the folder's name has no character that a service's name may have. */
  readonly name: string | undefined
  /** Absolute. */
  readonly folder: string
  readonly set: DockerfileSet
}

const BASES = ['src', 'services', 'apps']
const IGNORED = new Set(['node_modules', 'vendor', 'dist', 'testdata'])
/** Folders looked at per base: a repository with more of them has its services elsewhere. */
const MAX_FOLDERS = 5000

/** A folder's name as a component of a repository name (distribution-spec, pull): lower case, no odd characters. */
export function serviceName(folder: string): string | undefined {
  const name = folder
    .normalize('NFKD')
    .replace(/\p{M}+/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/\.{2,}|_{3,}|[._-]*(?:\._|_\.|\.-|-\.|_-|-_)[._-]*/g, '-')
    .replace(/^[._-]+|[._-]+$/g, '')
  return name === '' ? undefined : name
}

function entries(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
  } catch (error) {
    const code = (error as { code?: string }).code
    if (code === 'ENOENT' || code === 'ENOTDIR') return []
    throw systemError(error, `reading ${folder}`)
  }
}

function setOf(list: readonly Dirent[]): DockerfileSet | undefined {
  return dockerfilesAmong(list.filter(entry => entry.isFile() || entry.isSymbolicLink()).map(entry => entry.name))
}

function folders(list: readonly Dirent[]): string[] {
  return list
    .filter(entry => entry.isDirectory() && !entry.name.startsWith('.') && !IGNORED.has(entry.name))
    .map(entry => entry.name)
    .sort()
    .slice(0, MAX_FOLDERS)
}

/**
 * The services of a project folder: a Dockerfile at its root, in the folders of src/, services/ and apps/, and one level
 * deeper below folders that have none. A name depends on its own folder only, so two may be alike.
 */
export function discover(root: string): readonly Found[] {
  const all: { folder: string; set: DockerfileSet }[] = []
  const top = setOf(entries(root))
  if (top !== undefined) all.push({ folder: root, set: top })
  for (const base of BASES)
    for (const name of folders(entries(join(root, base)))) {
      const folder = join(root, base, name)
      const list = entries(folder)
      const set = setOf(list)
      if (set !== undefined) {
        all.push({ folder, set })
        continue
      }
      for (const inner of folders(list)) {
        const deeper = setOf(entries(join(folder, inner)))
        if (deeper !== undefined) all.push({ folder: join(folder, inner), set: deeper })
      }
    }
  return all.map(one => ({ ...one, name: serviceName(basename(one.folder)) }))
}

/** Dockerfiles in places where discovery does not look, for the hint when it found nothing. */
export function strayDockerfiles(root: string): string[] {
  const out: string[] = []
  const look = (folder: string, depth: number): void => {
    const list = entries(folder)
    const set = setOf(list)
    const first = set && (set.main ?? Object.values(set.platforms)[0])
    if (first !== undefined) out.push(join(relative(root, folder), first))
    if (depth > 0)
      for (const name of folders(list).slice(0, 100)) if (out.length < 5) look(join(folder, name), depth - 1)
  }
  look(root, 3)
  return out
}
