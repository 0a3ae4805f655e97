import type { Digest } from '../oci/digest.ts'
import type { Manifest } from '../oci/manifest.ts'

/** Of the manifests that were put, which nothing else leads to: they need entries of their own. */
export class Tops {
  readonly #bare = new Map<Digest, Manifest>()
  readonly #reached = new Set<Digest>()

  put(manifest: Manifest, name: string | undefined): void {
    if (name === undefined) this.#bare.set(manifest.digest, manifest)
    else this.#reached.add(manifest.digest)
    if (manifest.kind === 'index') for (const { digest } of manifest.manifests) this.#reached.add(digest)
  }

  /** In the order in which they came. */
  unnamed(): Manifest[] {
    return [...this.#bare.values()].filter(manifest => !this.#reached.has(manifest.digest))
  }
}
