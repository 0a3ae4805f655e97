import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { type Context, openContext } from '../context/context.ts'
import { formatGitSource, type GitSource } from '../context/git-source.ts'
import type { HashMemory } from '../context/hash-memory.ts'
import { isArchive, isArchiveFile } from '../context/is-archive.ts'
import type { Location } from '../context/location.ts'
import { dockerfileFromStdin, emptyContext, readStdin } from '../context/stdin.ts'
import type { BuildTools, ContextFolder } from '../engines/engine.ts'
import { type ArchiveTree, archiveTree } from '../engines/native/archive.ts'
import { imageTree } from '../engines/native/base.ts'
import { readFile } from '../engines/native/read-file.ts'
import type { StepSettings } from '../engines/steps.ts'
import { ArchimageError, systemError } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import { ContextView, fileTree, folderTree } from '../plan/context-view.ts'
import type { BaseImage } from '../plan/lowered.ts'
import { type RemoteSource, remoteId } from '../plan/remote.ts'
import { type SourceTree, treeSource } from '../plan/source-tree.ts'
import { Clones, type CloneTools } from '../remote/clones.ts'
import { type Download, Downloads, type DownloadTools } from '../remote/downloads.ts'
import type { Store } from '../store/store.ts'
import { createHasher } from '../sys/hash.ts'

export interface ContextTools extends DownloadTools, CloneTools {
  /** Paths that are never part of a context. */
  readonly exclude: readonly string[]
  /** Brings a layer of an image here. */
  readonly fetch: BuildTools['fetch']
}

export interface OpenOptions {
  /** Of folders: as they are, or as git knows them. */
  readonly modes: 'context' | 'git'
  /** Of folders: the Dockerfile, whose own ignore file wins. */
  readonly dockerfile?: string
  /** The context of the build itself: archives behind URLs are unpacked, and what is no archive is the Dockerfile. */
  readonly main?: true
}

/** Files that can be copied from. */
export interface Opened {
  readonly tree: SourceTree
  /** The moment that belongs to it, in seconds since 1970: of the commit, of the download, of the newest file in the archive. */
  readonly time?: number
  /** The folder itself, where others may read it as it is. */
  readonly folder?: ContextFolder
  /** It came as a Dockerfile alone. */
  readonly dockerfile?: Uint8Array
}

/** What a URL's content is called in a context (BuildKit, dockerui). */
const FILE = 'context'
const MAX_DOCKERFILE = 16 << 20

/** Opens contexts and what ADD takes from elsewhere, each once in a run. */
export class Contexts {
  private readonly tools: ContextTools
  private readonly downloads: Downloads
  private readonly clones: Clones
  private readonly memory: HashMemory
  private readonly folders = new Map<string, Context>()
  private readonly opened = new Map<string, Promise<Opened>>()
  private readonly views = new Map<SourceTree, ContextView[]>()

  constructor(tools: ContextTools) {
    this.tools = tools
    this.downloads = new Downloads(tools)
    this.clones = new Clones(tools)
    this.memory = hashMemory(tools.store)
  }

  /** A context; the same for the same location and options. */
  open(location: Location, options: OpenOptions): Promise<Opened> {
    return this.once(JSON.stringify([location, options]), () => this.openNew(location, options))
  }

  /** The files of an image as a context. */
  image(image: BaseImage): Promise<Opened> {
    return this.once(image.manifest.digest, async () => ({
      tree: treeSource(await imageTree(image, this.tools), image.name),
    }))
  }

  /** A source of ADD. */
  source(source: RemoteSource): Promise<Opened> {
    return this.once(remoteId(source), async () => {
      if (source.kind === 'git') return this.checkout(source.git)
      const file = await this.downloads.get(source.url, source.checksum)
      return { tree: this.fileTree(source.name, file, source.url), ...timeOf(file) }
    })
  }

  /** What COPY looks into; with `times` the files' own times count. */
  view(tree: SourceTree, times: boolean): ContextView {
    const views = this.views.get(tree) ?? []
    this.views.set(tree, views)
    views[times ? 1 : 0] ??= new ContextView(tree, { times })
    return views[times ? 1 : 0]!
  }

  /** The moment that belongs to a repository or a download; without Last-Modified it is that of the newest file in the archive. */
  async time({ time, tree }: Opened): Promise<number | undefined> {
    if (time !== undefined) return time
    const [path = ''] = tree.list('')
    return (await this.unpacked({ path, entry: tree.lookup(path)! }))?.newest
  }

  /** The bytes of a Dockerfile that is in a context; undefined when it is not there. */
  async dockerfile(tree: SourceTree, name: string): Promise<Uint8Array | undefined> {
    return readFile(tree, name, MAX_DOCKERFILE, this.tools)
  }

  /** The text behind a URL, such as that of a Dockerfile. */
  async text(url: string): Promise<Uint8Array> {
    const { digest } = await this.downloads.get(url)
    return this.tools.store.read(digest, MAX_DOCKERFILE)
  }

  /** Keeps what was hashed for the next run. */
  save(): void {
    for (const context of this.folders.values()) context.save()
  }

  private once(key: string, open: () => Promise<Opened>): Promise<Opened> {
    let promise = this.opened.get(key)
    if (promise === undefined) {
      promise = open()
      this.opened.set(key, promise)
    }
    return promise
  }

  private async openNew(location: Location, options: OpenOptions): Promise<Opened> {
    switch (location.kind) {
      case 'path':
        return statSync(location.path, { throwIfNoEntry: false })?.isFile()
          ? this.archive(location.path, digestOf(location.path), location.path)
          : openedFolder(this.folder(location.path, options.dockerfile), options)
      case 'stdin':
        return this.stdin()
      case 'git':
        return this.checkout(location.git)
      case 'http':
        return this.download(location.url, options.main === true)
      default:
        throw new ArchimageError('UNSUPPORTED', `a context of the kind "${location.kind}" has no folder of its own`)
    }
  }

  /** A folder, with the ignore file that goes with a Dockerfile. Throws CONTEXT_INVALID. */
  folder(path: string, dockerfile?: string): Context {
    const key = JSON.stringify([path, dockerfile])
    let context = this.folders.get(key)
    if (context === undefined) {
      const { exclude } = this.tools
      context = openContext(path, { ...(dockerfile === undefined ? {} : { dockerfile }), memory: this.memory, exclude })
      this.folders.set(key, context)
    }
    return context
  }

  /** The modes are those that git knows, and times those of the commit, whatever a checkout on this machine made. */
  private async checkout(source: GitSource): Promise<Opened> {
    const { folder, time } = await this.clones.get(source)
    const context = openContext(folder, { ignoreFile: false, memory: this.memory })
    this.folders.set(folder, context)
    const name = formatGitSource(source)
    return { tree: folderTree(context, { name, modes: 'git', mtime: time, transferred: false }), time }
  }

  private async download(url: string, main: boolean): Promise<Opened> {
    const file = await this.downloads.get(url)
    const alone = { tree: this.fileTree(FILE, file, url), ...timeOf(file) }
    if (!main) return alone
    const { store } = this.tools
    const path = store.blobPath(file.digest)
    if (!isArchiveFile(path)) return { ...alone, dockerfile: store.read(file.digest, MAX_DOCKERFILE) }
    return { ...(await this.archive(path, file, url)), ...timeOf(file) }
  }

  private async stdin(): Promise<Opened> {
    const chunks = readStdin()
    const first = chunks.next()
    if (first.done || !isArchive(first.value))
      return {
        tree: folderTree(emptyContext(), { modes: 'context' }),
        dockerfile: dockerfileFromStdin(first.done ? [] : withFirst(first.value, chunks)),
      }
    const writer = this.tools.store.create()
    try {
      for (const chunk of withFirst(first.value, chunks)) writer.write(chunk)
    } catch (error) {
      writer.abort()
      throw error
    }
    const file = writer.commit()
    return this.archive(this.tools.store.blobPath(file.digest), file, 'standard input')
  }

  private async archive(
    path: string,
    { digest, size }: { readonly digest: Digest; readonly size: number },
    name: string,
  ): Promise<Opened> {
    const entry = { type: 'file', mode: 0o600, uid: 0, gid: 0, mtime: 0, size, digest } as const
    const archive = await this.unpacked({ path: name, entry: { ...entry, content: { kind: 'host', path } } })
    if (archive === undefined)
      throw new ArchimageError('CONTEXT_INVALID', `${name} is no archive that can be a context`, {
        hint: 'a context is a folder, or a tar: plain, or compressed with gzip, bzip2, xz or zstd',
      })
    const { tree, newest } = archive
    return { tree: treeSource(tree, 'the build context'), ...(newest === undefined ? {} : { time: newest }) }
  }

  private unpacked(file: Parameters<typeof archiveTree>[0]): Promise<ArchiveTree | undefined> {
    const open = (): never => {
      throw new Error(`${file.path} is no layer`)
    }
    return archiveTree(file, { ...this.tools, open })
  }

  private fileTree(name: string, { digest, size, modified = 0 }: Download, title: string): SourceTree {
    return fileTree(title, name, { path: this.tools.store.blobPath(digest), digest, size, mtime: modified })
  }
}

function digestOf(path: string): { readonly digest: Digest; readonly size: number } {
  const hasher = createHasher()
  const buffer = Buffer.allocUnsafe(1 << 20)
  let [fd, size] = [-1, 0]
  try {
    fd = openSync(path, 'r')
    for (let count = readSync(fd, buffer); count > 0; count = readSync(fd, buffer)) {
      hasher.update(buffer.subarray(0, count))
      size += count
    }
  } catch (error) {
    throw systemError(error, `reading ${path}`)
  } finally {
    if (fd >= 0) closeSync(fd)
  }
  return { digest: `sha256:${hasher.hex()}`, size }
}

function openedFolder(context: Context, { modes }: OpenOptions): Opened {
  const { root, ignoreFile } = context
  const folder = { root, ...(ignoreFile === undefined ? {} : { ignoreFile }) }
  return { tree: folderTree(context, { modes }), ...(modes === 'context' ? { folder } : {}) }
}

function timeOf({ modified }: Download): { readonly time?: number } {
  return modified === undefined ? {} : { time: modified }
}

function* withFirst<T>(first: T, rest: Iterable<T>): Generator<T> {
  yield first
  yield* rest
}

/** Hashes of files, remembered in the store's records. */
function hashMemory(store: Store): HashMemory {
  return {
    load: root => store.records.blob('context', root),
    save: (root, bytes) => store.records.putBlob('context', root, bytes),
  }
}

/** The text of a secret (`--secret`) that gives access to a source. */
export function secretOf({ secrets }: StepSettings, id: string): string | undefined {
  const found = secrets.get(id)
  return found && Buffer.from(found.bytes).toString('utf8')
}
