import { ArchimageError } from '../errors/error.ts'
import { algorithmOf, type Digest } from '../oci/digest.ts'
import type { Descriptor, Manifest } from '../oci/manifest.ts'
import type { Store } from '../store/store.ts'
import { type LayoutTransport, layoutTransport } from '../transports/layout.ts'
import { storeTransport } from '../transports/store.ts'

/** Another OCI layout than the store; what is needed of it is copied into the store. */
export class Layout {
  readonly #from: LayoutTransport
  readonly #store: Store

  constructor(folder: string, store: Store) {
    this.#from = layoutTransport(folder)
    this.#store = store
  }

  /**
   * The manifest or index that is meant: by digest, by the name or tag in index.json, or the only one. Throws
   * MANIFEST_INVALID for what is no layout, NOT_FOUND with the names that it has.
   */
  async top({ tag, digest }: { readonly tag?: string; readonly digest?: Digest }): Promise<Manifest> {
    const wanted = { ...(tag === undefined ? {} : { name: tag }), ...(digest === undefined ? {} : { digest }) }
    return this.#keep(await this.#from.manifest(this.#from.resolve(wanted)), tag ?? digest ?? 'latest')
  }

  /** What a name in index.json leads to; undefined when there is no such name. */
  async find(name: string): Promise<Manifest | undefined> {
    const found = await this.#from.manifest(name)
    return found && this.#keep(found, name)
  }

  async manifest({ digest }: Descriptor): Promise<Manifest> {
    return this.#keep(await this.#from.manifest(digest), digest)
  }

  /** Makes sure that the store has a blob. Throws NOT_FOUND, DIGEST_MISMATCH. */
  async bring(descriptor: Descriptor): Promise<void> {
    await storeTransport(this.#store, '').putBlob(descriptor, () => this.#from.blob(descriptor), { checked: true })
  }

  #keep(manifest: Manifest | undefined, name: string): Manifest {
    if (manifest === undefined)
      throw new ArchimageError('NOT_FOUND', `${this.#from.name} has no manifest ${name}`, {
        hint: 'it is not whole: copy it again',
      })
    this.#store.put(manifest.raw, algorithmOf(manifest.digest))
    return manifest
  }
}
