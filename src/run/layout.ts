import { closeSync, constants, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { ArchimageError, isArchimageError, systemError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts'
import { MAX_JSON } from '../oci/json.ts'
import { type Descriptor, type ImageIndex, type Manifest, parseManifest } from '../oci/manifest.ts'
import type { Store } from '../store/store.ts'
import { readRegularFile } from '../sys/files.ts'

/** As tools name images in the index of a layout: containerd's whole name first, then the tag. */
const NAMES = ['io.containerd.image.name', 'org.opencontainers.image.ref.name']

/** Another OCI layout than the store (image-spec, image-layout.md); what is needed of it is copied into the store. */
export class Layout {
  readonly folder: string
  private readonly store: Store

  constructor(folder: string, store: Store) {
    this.folder = folder
    this.store = store
  }

  /**
   * The manifest or index that is meant: by digest, by the name or tag in index.json, or the only one. Throws
   * CONTEXT_INVALID for what is no layout, NOT_FOUND with the names that it has.
   */
  top({ tag, digest }: { readonly tag?: string; readonly digest?: Digest }): Manifest {
    const { manifests } = this.index()
    const found =
      digest === undefined
        ? (NAMES.map(key => manifests.find(one => one.annotations?.[key] === (tag ?? 'latest'))).find(Boolean) ??
          (manifests.length === 1 ? manifests[0] : undefined))
        : (manifests.find(one => one.digest === digest) ?? { digest })
    if (found !== undefined) return this.manifest(found)
    const names = manifests.flatMap(one => NAMES.flatMap(key => one.annotations?.[key] ?? []))
    throw new ArchimageError('NOT_FOUND', `${this.folder} has no image "${tag ?? 'latest'}"`, {
      hint:
        didYouMean(tag ?? 'latest', names) ??
        (names.length > 0 ? `it has ${[...new Set(names)].join(', ')}` : 'name the image by its digest: …@sha256:…'),
    })
  }

  /** What a name in index.json leads to; undefined when there is no such name. Throws CONTEXT_INVALID. */
  find(name: string): Manifest | undefined {
    const found = this.index().manifests.find(one => NAMES.some(key => one.annotations?.[key] === name))
    return found && this.manifest(found)
  }

  /** Makes sure that the store has a blob. Throws NOT_FOUND, DIGEST_MISMATCH. */
  bring({ digest, size }: Pick<Descriptor, 'digest'> & { readonly size?: number }): void {
    const { store } = this
    if (store.has(digest, size)) return
    const path = this.path(digest)
    const buffer = Buffer.allocUnsafe(1 << 20)
    const writer = store.create(algorithmOf(digest))
    let fd = -1
    let length = 0
    try {
      fd = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
      for (let count = readSync(fd, buffer); count > 0; count = readSync(fd, buffer)) {
        writer.write(buffer.subarray(0, count))
        length += count
      }
      writer.commit({ digest, size: size ?? length })
    } catch (error) {
      writer.abort()
      if ((error as NodeJS.ErrnoException).code === 'ENOENT')
        throw new ArchimageError('NOT_FOUND', `${this.folder} has no blob ${digest}`, {
          hint: 'the layout is not whole: copy it again',
        })
      throw isArchimageError(error) ? error : systemError(error, `reading ${path}`)
    } finally {
      if (fd >= 0) closeSync(fd)
    }
  }

  manifest(descriptor: Pick<Descriptor, 'digest'> & Partial<Descriptor>): Manifest {
    this.bring(descriptor)
    return this.store.manifest(descriptor.digest, descriptor.mediaType)
  }

  private index(): ImageIndex {
    const path = join(this.folder, 'index.json')
    const bytes = readRegularFile(path, MAX_JSON)
    if (bytes === undefined || typeof bytes === 'string')
      throw new ArchimageError('CONTEXT_INVALID', `${this.folder} is no OCI layout: there is no index.json`, {
        hint: 'an OCI archive has to be unpacked first',
      })
    const index = parseManifest(bytes, 'application/vnd.oci.image.index.v1+json', path)
    if (index.kind !== 'index') throw new ArchimageError('CONTEXT_INVALID', `${path} is no index`)
    return index
  }

  private path(digest: Digest): string {
    return join(this.folder, 'blobs', algorithmOf(digest), hexOf(digest))
  }
}
