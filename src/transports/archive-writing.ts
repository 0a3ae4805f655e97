import { readSync, writeSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { ArchimageError, cancelled, isArchimageError, systemError } from '../errors/error.ts'
import { type Digest, isDigest } from '../oci/digest.ts'
import { encodeJson } from '../oci/json.ts'
import { type Descriptor, describe, type Manifest } from '../oci/manifest.ts'
import { isForeignLayer } from '../oci/media-types.ts'
import { END_OF_ARCHIVE, encodeHeader, padding } from '../tar/writer.ts'
import type { ArchiveOutput, ArchiveSink } from './archive-sink.ts'
import { blobPath, dockerListing, type Loadable, loadableOf, onlyLoadable } from './docker-listing.ts'
import { fileExtent, streamExtent } from './extent.ts'
import { EMPTY_INDEX, encodeIndexFile, LAYOUT_VERSION, namedEntry, wholeName, withEntries } from './index-file.ts'
import { receive } from './receive.ts'
import { Tops } from './tops.ts'
import type { BodySource, PutBlobOptions, TransferOptions, Transport } from './transport.ts'

/** 1980-02-01 (DESIGN §4): some readers of tar distrust 1970. */
const OWNER = { uid: 0, gid: 0, mtime: 318_211_200 } as const
const CHUNK = 1 << 20

/** Room for a blob in the file: its header and what has to stand before it, then its bytes. */
interface Region {
  readonly descriptor: Descriptor
  readonly header: Buffer
  readonly start: number
  state: 'empty' | 'whole' | Promise<boolean>
}

/**
 * Writes an archive that is an OCI layout, and that docker and podman load too: what fits is listed in manifest.json, with
 * `docker` everything must. Blobs go to their places in the file as they come, many at once. `commit` adds the manifests and the
 * index and hands the file over; the same images give the same bytes, whatever came first. Nothing of it is seen before.
 * Throws INCOMPLETE where a blob of an image was not put.
 */
export class ArchiveWriting implements Transport {
  readonly name: string
  readonly #sink: ArchiveSink
  readonly #docker: boolean
  readonly #regions = new Map<Digest, Region>()
  readonly #manifests = new Map<Digest, Manifest>()
  readonly #names = new Map<string, Digest>()
  readonly #folders = new Set<string>()
  readonly #tops = new Tops()
  #output: ArchiveOutput | undefined
  #end = 0

  constructor(sink: ArchiveSink, docker: boolean) {
    this.name = sink.place
    this.#sink = sink
    this.#docker = docker
  }

  async manifest(tagOrDigest: string): Promise<Manifest | undefined> {
    return this.#find(isDigest(tagOrDigest) ? tagOrDigest : this.#names.get(tagOrDigest))
  }

  async head(tagOrDigest: string): Promise<Descriptor | undefined> {
    const found = await this.manifest(tagOrDigest)
    return found && describe(found)
  }

  async *tags(): AsyncGenerator<string> {
    yield* this.#names.keys()
  }

  async hasBlob({ digest, size }: Descriptor): Promise<boolean> {
    const region = this.#regions.get(digest)
    return region?.state === 'whole' && region.descriptor.size === size
  }

  async blob(descriptor: Descriptor, options?: TransferOptions & { readonly start?: number }) {
    const region = this.#regions.get(descriptor.digest)
    if (region?.state !== 'whole' || this.#output === undefined)
      throw new ArchimageError('NOT_FOUND', `${this.name} has no blob ${descriptor.digest} yet`)
    const extent = fileExtent(this.#output.fd, region.start + region.header.length, region.descriptor.size)
    return streamExtent(extent, descriptor, this.name, options)
  }

  async putBlob(
    descriptor: Descriptor,
    body: BodySource,
    options: PutBlobOptions = {},
  ): Promise<'exists' | 'uploaded'> {
    const region = this.#region(descriptor)
    for (;;) {
      if (region.state === 'whole') return 'exists'
      if (region.state === 'empty') break
      // of two that bring the same blob, the second one waits, and takes over when the first one fails
      await region.state
    }
    const { promise, resolve } = Promise.withResolvers<boolean>()
    region.state = promise
    try {
      const { fd } = this.#open()
      const start = region.start + region.header.length
      writeAt(fd, region.header, region.start)
      await receive(descriptor, body, (chunk, at) => writeAt(fd, chunk, start + at), options)
      region.state = 'whole'
      return 'uploaded'
    } catch (error) {
      region.state = 'empty'
      throw isArchimageError(error) ? error : systemError(error, `writing ${this.name}`)
    } finally {
      resolve(true)
    }
  }

  fits(top: Manifest, name: string, find: (digest: Digest) => Manifest | undefined): void {
    if (this.#docker) onlyLoadable(top, find, this.name, name)
  }

  async putManifest(manifest: Manifest, name?: string): Promise<Digest> {
    this.#manifests.set(manifest.digest, manifest)
    this.#tops.put(manifest, name)
    if (name !== undefined) this.#names.set(name, manifest.digest)
    return manifest.digest
  }

  async commit({ signal }: TransferOptions = {}): Promise<void> {
    if (this.#manifests.size === 0) return
    const named = [...this.#names].sort(([a], [b]) => (a < b ? -1 : 1))
    const bare = this.#tops
      .unnamed()
      .map(manifest => manifest.digest)
      .sort()
    const { manifests, blobs } = this.#walk([...named.map(([, digest]) => digest), ...bare])
    const entries = [
      ...named.map(([name, digest]) => [digest, name] as const),
      ...bare.map(digest => [digest] as const),
    ]
    const index = withEntries(
      EMPTY_INDEX,
      entries.map(([digest, name]) => namedEntry(describe(this.#manifests.get(digest)!), name)),
    )
    const images = this.#loadable(named, bare)
    const listing = images.length === 0 ? [] : [['manifest.json', encodeJson(dockerListing(images))] as const]
    const files = [
      ...manifests.map(manifest => [blobPath(manifest.digest), manifest.raw] as const),
      ...listing,
      ['oci-layout', LAYOUT_VERSION] as const,
      ['index.json', encodeIndexFile(index)] as const,
    ]
    try {
      await this.#arrange(blobs, signal)
      const tail = Buffer.concat([...files.flatMap(([path, bytes]) => this.#file(path, bytes)), END_OF_ARCHIVE])
      const output = this.#open()
      writeAt(output.fd, tail, this.#end)
      await output.deliver(this.#end + tail.length, images, signal)
    } catch (error) {
      throw isArchimageError(error) ? error : systemError(error, `writing ${this.name}`)
    } finally {
      await this.close()
    }
  }

  async close(): Promise<void> {
    this.#output?.discard()
    this.#output = undefined
    this.#regions.clear()
    this.#manifests.clear()
    this.#names.clear()
    this.#folders.clear()
    this.#end = 0
  }

  #find(digest: Digest | undefined): Manifest | undefined {
    return digest === undefined ? undefined : this.#manifests.get(digest)
  }

  #open(): ArchiveOutput {
    this.#output ??= this.#sink.create()
    return this.#output
  }

  /** The room of a blob, at the end of what there is so far when it has none. */
  #region(descriptor: Descriptor): Region {
    const { digest, size } = descriptor
    const there = this.#regions.get(digest)
    if (there !== undefined && there.descriptor.size !== size)
      throw new ArchimageError(
        'DIGEST_MISMATCH',
        `blob ${digest} is said to have ${there.descriptor.size} and ${size} bytes`,
      )
    if (there !== undefined) return there
    const header = this.#header(blobPath(digest), size)
    const region: Region = { descriptor, header, start: this.#end, state: 'empty' }
    this.#regions.set(digest, region)
    this.#end += header.length + size + padding(size)
    return region
  }

  /** The header of a file, behind those of the folders that come up for the first time. */
  #header(path: string, size: number): Buffer {
    const names = path.split('/').slice(0, -1)
    const folders = names.map((_, i) => names.slice(0, i + 1).join('/')).filter(folder => !this.#folders.has(folder))
    for (const folder of folders) this.#folders.add(folder)
    return Buffer.concat([
      ...folders.map(folder => encodeHeader({ path: folder, type: 'dir', mode: 0o755, size: 0, ...OWNER })),
      encodeHeader({ path, type: 'file', mode: 0o644, size, ...OWNER }),
    ])
  }

  #file(path: string, bytes: Uint8Array): Uint8Array[] {
    return [this.#header(path, bytes.length), bytes, END_OF_ARCHIVE.subarray(0, padding(bytes.length))]
  }

  /** Everything that these lead to, each once: manifests, and the blobs of images in their order. */
  #walk(tops: readonly Digest[]): { readonly manifests: Manifest[]; readonly blobs: Descriptor[] } {
    const manifests = new Map<Digest, Manifest>()
    const blobs = new Map<Digest, Descriptor>()
    const visit = (digest: Digest): void => {
      const manifest = this.#find(digest)
      if (manifest === undefined || manifests.has(digest)) return
      manifests.set(digest, manifest)
      if (manifest.kind === 'index') {
        for (const child of manifest.manifests) visit(child.digest)
        return
      }
      for (const blob of [manifest.config, ...manifest.layers]) {
        const there = this.#regions.get(blob.digest)
        if (there?.state === 'whole') blobs.set(blob.digest, blob)
        else if (!isForeignLayer(blob.mediaType))
          throw new ArchimageError(
            'INCOMPLETE',
            `${this.name}: blob ${blob.digest} of manifest ${digest} was not written`,
          )
      }
    }
    for (const digest of tops) visit(digest)
    return { manifests: [...manifests.values()], blobs: [...blobs.values()] }
  }

  #loadable(named: readonly (readonly [string, Digest])[], bare: readonly Digest[]): Loadable[] {
    const names = new Map<Digest, string[]>()
    for (const [name, digest] of named) {
      const list = names.get(digest) ?? []
      const whole = wholeName(name)
      if (whole !== undefined) list.push(whole)
      names.set(digest, list)
    }
    const find = (digest: Digest): Manifest | undefined => this.#find(digest)
    return [...names, ...bare.map(digest => [digest, []] as const)].flatMap(([digest, names]) => {
      const top = this.#manifests.get(digest)!
      const manifest = this.#docker ? onlyLoadable(top, find, this.name, names[0] ?? digest) : loadableOf(top, find)
      const whole = manifest?.layers.every(layer => this.#regions.get(layer.digest)?.state === 'whole')
      if (manifest !== undefined && whole) return [{ manifest, names }]
      if (manifest === undefined || !this.#docker) return []
      throw new ArchimageError(
        'UNSUPPORTED',
        `${this.name}: ${names[0] ?? digest} has layers that lie outside of any registry, and must hold every layer there`,
        { hint: 'write it with oci-archive:FILE, or to a registry: both keep the address of such layers' },
      )
    })
  }

  /** Sees to it that the file has just these blobs, in this order: as it is, or copied into a new one. */
  async #arrange(blobs: readonly Descriptor[], signal: AbortSignal | undefined): Promise<void> {
    const regions = [...this.#regions.values()]
    if (regions.length === blobs.length && regions.every((region, i) => region.descriptor.digest === blobs[i]!.digest))
      return
    const before = this.#output
    const starts = new Map(regions.map(region => [region.descriptor.digest, region.start + region.header.length]))
    this.#output = undefined
    this.#regions.clear()
    this.#folders.clear()
    this.#end = 0
    try {
      for (const blob of blobs) {
        const region = this.#region(blob)
        const { fd } = this.#open()
        writeAt(fd, region.header, region.start)
        await copyRange(
          before!.fd,
          starts.get(blob.digest)!,
          fd,
          region.start + region.header.length,
          blob.size,
          signal,
        )
      }
    } finally {
      before?.discard()
    }
  }
}

function writeAt(fd: number, bytes: Uint8Array, at: number): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, at + done)
}

async function copyRange(
  from: number,
  start: number,
  to: number,
  at: number,
  size: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK, size))
  for (let done = 0; done < size; ) {
    if (signal?.aborted) throw cancelled(signal.reason)
    const count = readSync(from, buffer, 0, Math.min(buffer.length, size - done), start + done)
    if (count === 0) throw new Error('a temporary file was cut short')
    writeAt(to, buffer.subarray(0, count), at + done)
    done += count
    await setImmediate()
  }
}
