import { relative } from 'node:path'
import type { Location } from '../context/location.ts'
import type { Dockerfile } from '../dockerfile/ast.ts'
import { parseDockerfile } from '../dockerfile/parse.ts'
import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { readRegularFile } from '../sys/files.ts'
import type { Contexts, Opened } from './contexts.ts'

/** Where Dockerfiles come from that are no files of this machine. */
export interface DockerfileSettings {
  /** Text by path: from standard input. */
  readonly dockerfiles: ReadonlyMap<string, Uint8Array>
  /** The context of the one image that is built, where it is no folder. */
  readonly main?: MainContext
  /** Where the Dockerfile that `path` stands for is (`-f https://…`). */
  readonly dockerfileUrl?: { readonly path: string; readonly url: string }
}

export interface MainContext {
  readonly location: Location
  /** The Dockerfile is in there, by this name or one of the usual ones; else it is a file of this machine. */
  readonly inside?: { readonly name?: string }
}

export interface ReadDockerfile {
  readonly dockerfile: Dockerfile
  readonly text: string
}

const LARGEST = 16 * 1024 * 1024
const NAMES = ['Dockerfile', 'Containerfile', 'dockerfile']

/** The Dockerfiles of a run, each read and parsed once. */
export class Dockerfiles {
  private readonly root: string
  private readonly settings: DockerfileSettings
  private readonly fetched = new Map<string, { readonly name: string; readonly bytes: Uint8Array }>()
  private readonly read = new Map<string, ReadDockerfile>()

  /** `root`: what names in messages are relative to. */
  constructor(root: string, settings: DockerfileSettings) {
    this.root = root
    this.settings = settings
  }

  /** Brings the Dockerfile at `path` here where it is in a URL, or in a context that is no folder. */
  async fetch(path: string, main: Opened | undefined, contexts: Contexts): Promise<void> {
    const { dockerfileUrl: from, main: where } = this.settings
    if (from?.path === path) this.fetched.set(path, { name: from.url, bytes: await contexts.text(from.url) })
    else if (main !== undefined && where?.inside !== undefined)
      this.fetched.set(path, await inContext(main, where.inside.name, contexts))
  }

  /** Throws DOCKERFILE_INVALID. */
  at(path: string): ReadDockerfile {
    let read = this.read.get(path)
    if (!read) {
      const name = this.fetched.get(path)?.name ?? shortPath(path, this.root)
      const bytes = this.bytes(path)
      read = { dockerfile: parseDockerfile(bytes, name), text: new TextDecoder().decode(bytes) }
      this.read.set(path, read)
    }
    return read
  }

  /** What the file holds. Throws DOCKERFILE_INVALID when there is none. */
  bytes(path: string): Uint8Array {
    return this.fetched.get(path)?.bytes ?? this.settings.dockerfiles.get(path) ?? readBytes(path)
  }
}

async function inContext(
  { tree, dockerfile }: Opened,
  file: string | undefined,
  contexts: Contexts,
): Promise<{ readonly name: string; readonly bytes: Uint8Array }> {
  if (dockerfile !== undefined) {
    if (file === undefined) return { name: 'Dockerfile', bytes: dockerfile }
    throw new ArchimageError('USAGE', `-f ${file}: the context is a Dockerfile itself, there are no files in it`)
  }
  for (const name of file === undefined ? NAMES : [file]) {
    const bytes = await contexts.dockerfile(tree, name)
    if (bytes !== undefined) return { name, bytes }
  }
  throw new ArchimageError('DOCKERFILE_INVALID', `${tree.name} has no ${file ?? 'Dockerfile'}`, {
    hint: (file && didYouMean(file, tree.list(''))) || 'name it with -f, as it is called in there',
  })
}

function readBytes(path: string): Uint8Array {
  const read = readRegularFile(path, LARGEST)
  if (typeof read === 'object') return read
  if (read === undefined)
    throw new ArchimageError('DOCKERFILE_INVALID', `there is no Dockerfile at ${path}`, {
      hint: 'name it with -f, or in archimage.yaml: dockerfile',
    })
  throw new ArchimageError('DOCKERFILE_INVALID', `${path} ${read}, so it is no Dockerfile`)
}

/** As people know the file: relative to where the project is, when it is below. */
export function shortPath(path: string, root: string): string {
  const short = relative(root, path)
  return short === '' || short.startsWith('..') ? path : short
}
