import { type Context, openContext } from '../context/context.ts'
import { formatGitSource, type GitSource } from '../context/git-source.ts'
import type { HashMemory } from '../context/hash-memory.ts'
import { ContextView, fileTree, folderTree } from '../plan/context-view.ts'
import { type RemoteSource, remoteId } from '../plan/remote.ts'
import type { SourceTree } from '../plan/source-tree.ts'
import { Clones, type CloneTools } from '../remote/clones.ts'
import { type Download, Downloads, type DownloadTools } from '../remote/downloads.ts'
import type { Store } from '../store/store.ts'

export type RemoteTools = DownloadTools & CloneTools

/** Turns URLs and git repositories into trees that COPY and ADD take from. One for a whole run. */
export class Remotes {
  private readonly tools: RemoteTools
  private readonly downloads: Downloads
  private readonly clones: Clones
  private readonly memory: HashMemory
  private readonly contexts: Context[] = []
  private readonly views = new Map<string, Promise<ContextView>>()

  constructor(tools: RemoteTools) {
    this.tools = tools
    this.downloads = new Downloads(tools)
    this.clones = new Clones(tools)
    this.memory = hashMemory(tools.store)
  }

  /** A source of ADD. With `times` the time of the file counts. */
  view(source: RemoteSource, times: boolean): Promise<ContextView> {
    const key = `${times} ${remoteId(source)}`
    let view = this.views.get(key)
    if (view === undefined) {
      view = this.open(source, times)
      this.views.set(key, view)
    }
    return view
  }

  private async open(source: RemoteSource, times: boolean): Promise<ContextView> {
    if (source.kind === 'git') return new ContextView(await this.checkout(source.git), { times })
    return new ContextView(
      fileTree(source.url, source.name, this.file(await this.downloads.get(source.url, source.checksum))),
      { times },
    )
  }

  /** The modes are those that git knows, and times those of the commit, whatever a checkout on this machine made. */
  private async checkout(source: GitSource): Promise<SourceTree> {
    const { folder, time } = await this.clones.get(source)
    const context = openContext(folder, { ignoreFile: false, memory: this.memory })
    this.contexts.push(context)
    return folderTree(context, { name: formatGitSource(source), modes: 'git', mtime: time, transferred: false })
  }

  /** Keeps what was hashed for the next run. */
  save(): void {
    for (const context of this.contexts) context.save()
  }

  private file({ digest, size, modified = 0 }: Download): Parameters<typeof fileTree>[2] {
    return { path: this.tools.store.blobPath(digest), digest, size, mtime: modified }
  }
}

/** Hashes of files, remembered in the store's records. */
export function hashMemory(store: Store): HashMemory {
  return {
    load: root => store.records.blob('context', root),
    save: (root, bytes) => store.records.putBlob('context', root, bytes),
  }
}
