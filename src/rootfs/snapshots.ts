import { chmodSync, chownSync, closeSync, mkdirSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { systemError } from '../errors/error.ts'
import type { LayerBlob } from '../layer/content.ts'
import type { Entry } from '../layer/entry.ts'
import type { LayerIndex } from '../layer/index.ts'
import { Tree } from '../layer/tree.ts'
import type { FileBytes, LayerItem } from '../layer/write.ts'
import type { Digest } from '../oci/digest.ts'
import type { Extent } from '../store/snapshots.ts'
import type { Store } from '../store/store.ts'
import { closeFd, listXattrs, openDir, removeXattr } from '../sys/at.ts'
import { decompress } from '../sys/compress.ts'
import { removeTree } from '../sys/remove-tree.ts'
import { writeDirectory } from './directory.ts'
import { overlayItems, standsAlone } from './items.ts'
import type { Marks } from './marks.ts'

export interface LayerToUnpack {
  readonly index: LayerIndex
  /** Of this layer and all below it. */
  readonly chainId: Digest
  /** Its uncompressed bytes; asked for only when the layer was not unpacked before. See `layerBytes`. */
  readonly stream: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>
}

export interface UnpackTools {
  /** Reads files that are in other layers (LayerContent.open). */
  readonly open: (entry: Entry) => FileBytes | Promise<FileBytes>
  readonly signal?: AbortSignal
  /** Told now and then how many bytes of files are written. */
  readonly progress?: (bytes: number) => void
}

/** What a step needs to write to, on one file system; `upper` becomes a snapshot, or all of it goes. */
export interface Scratch {
  /** Empty, 0755. */
  readonly upper: string
  /** Empty. */
  readonly work: string
  /** Removes both and what they hold; after `adopt` only what is left. */
  dispose(): void
}

/** In the names of directories. */
const SUFFIXES: Readonly<Record<Marks, string>> = { trusted: '', user: ' userxattr', names: ' names' }

/** Directories that are being made in this process: cells that need the same one share it. */
const making = new Map<string, Promise<string>>()

/**
 * The real directories of layers, in the form that overlayfs stacks (DESIGN §4): made once per content, kept in the store,
 * shared by all roots that stand on them, never written to afterwards. Works as root and as uid 0 of a user namespace.
 */
export class Snapshots {
  readonly #store: Store
  readonly #marks: Marks

  /** Directories with other marks live side by side. */
  constructor(store: Store, options: { readonly marks: Marks }) {
    this.#store = store
    this.#marks = options.marks
  }

  /** The directory of a layer that lies on `below` (which stays as it is), unpacked now if it was not before. */
  layer(layer: LayerToUnpack, below: Tree, tools: UnpackTools): Promise<string> {
    const { index, chainId, stream } = layer
    const [own, chain] = [`layer ${index.diffId}`, `chain ${chainId}`]
    const known = this.#find(own) ?? this.#find(chain)
    if (known !== undefined) return Promise.resolve(known)
    const alone = standsAlone(index)
    return this.#make(alone ? own : chain, dir =>
      writeDirectory(dir, overlayItems(index, alone ? new Tree() : below), {
        ...tools,
        marks: this.#marks,
        layer: { diffId: index.diffId, stream },
      }),
    )
  }

  /**
   * The directory of what an instruction writes: `items` as writeLayer takes them, parents included. `key` stands for all that is in
   * them, bytes and times too.
   */
  items(key: string, items: () => readonly LayerItem[], tools: UnpackTools): Promise<string> {
    return this.#make(`items ${key}`, dir => writeDirectory(dir, items(), { ...tools, marks: this.#marks }))
  }

  /** The directory that a step left and `adopt` kept under `key`. */
  step(key: string): string | undefined {
    return this.#find(`step ${key}`)
  }

  /** The same with whatever marks: for the files in it. */
  anyStep(key: string): string | undefined {
    const found = Object.values(SUFFIXES).map(suffix => this.#store.snapshot(`step ${key}${suffix}`))
    return this.step(key) ?? found.find(Boolean)
  }

  /** The directory of a step that was kept with other marks, with these. */
  again(key: string, items: () => readonly LayerItem[], tools: UnpackTools): Promise<string> {
    return this.#make(`step ${key}`, dir => writeDirectory(dir, items(), { ...tools, marks: this.#marks }))
  }

  /** For a step that is to run now. */
  scratch(): Scratch {
    const dir = this.#store.scratch()
    const [upper, work] = [join(dir, 'upper'), join(dir, 'work')]
    mkdirSync(upper, { mode: 0o755 })
    mkdirSync(work, { mode: 0o700 })
    plain(upper)
    return { upper, work, dispose: () => void removeTree(dir) }
  }

  /** Where `adopt` will put the directory of a step. */
  place(key: string): string {
    return this.#store.snapshotPath(this.#name(`step ${key}`))
  }

  /** Keeps the upper directory of a step that has ended as the directory of its layer; `extent` as upperChanges found it. */
  adopt(key: string, upper: string, extent: Required<Extent>): string {
    return this.#keep(this.#name(`step ${key}`), upper, extent)
  }

  #name(key: string): string {
    return key + SUFFIXES[this.#marks]
  }

  #find(key: string): string | undefined {
    return this.#store.snapshot(this.#name(key))
  }

  #keep(name: string, dir: string, { bytes, names, content }: Required<Extent>): string {
    return this.#store.keep(name, dir, { bytes, names, content })
  }

  #make(key: string, write: (dir: string) => Promise<Required<Extent>>): Promise<string> {
    const known = this.#find(key)
    if (known !== undefined) return Promise.resolve(known)
    const name = this.#name(key)
    const flight = `${this.#store.root} ${name}`
    let promise = making.get(flight)
    if (promise === undefined) {
      promise = this.#write(name, write).finally(() => making.delete(flight))
      making.set(flight, promise)
    }
    return promise
  }

  async #write(name: string, write: (dir: string) => Promise<Required<Extent>>): Promise<string> {
    const { upper: dir, dispose } = this.scratch()
    try {
      return this.#keep(name, dir, await write(dir))
    } finally {
      dispose()
    }
  }
}

/** What a directory inherits from the folders above the store, of which no image knows: a group, an access list. */
function plain(dir: string): void {
  chownSync(dir, process.geteuid!(), process.getegid!())
  chmodSync(dir, 0o755)
  const fd = openDir(dir)
  for (const name of listXattrs(fd)) if (name.startsWith('system.posix_acl_')) removeXattr(fd, name)
  closeFd(fd)
}

/** The uncompressed bytes of a layer's blob. */
export function layerBytes({ path, compression }: LayerBlob): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  const bytes = fileBytes(path)
  return compression === 'none' ? bytes : decompress(compression, bytes, { name: path })
}

function* fileBytes(path: string): Generator<Uint8Array> {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    throw systemError(error, `reading ${path}`)
  }
  try {
    for (;;) {
      const bytes = Buffer.allocUnsafeSlow(1 << 20)
      const count = readSync(fd, bytes)
      if (count === 0) return
      yield bytes.subarray(0, count)
    }
  } finally {
    closeSync(fd)
  }
}
