import type { ImageManifest } from '../oci/manifest.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import { type PublishTools, repositoryOf, target } from './publication.ts'
import { uploadBlobs } from './upload.ts'

/**
 * Sends the blobs of finished cells while others are still being built. Blobs alone, by digest: manifests and tags wait for the
 * publication, which asks for every blob again and finds it. Whatever goes wrong here is its to say, so the first failure ends
 * the sending ahead.
 */
export class Ahead {
  readonly #tools: PublishTools
  readonly #stop = new AbortController()
  readonly #running = new Set<Promise<void>>()

  constructor(tools: PublishTools) {
    this.#tools = { ...tools, signal: AbortSignal.any([tools.signal, this.#stop.signal]) }
  }

  send(manifest: ImageManifest, references: readonly Reference[]): void {
    const { signal } = this.#tools
    for (const repository of new Set(references.map(repositoryOf))) {
      if (signal.aborted) return
      const work: Promise<void> = this.#upload(manifest, repository)
        .catch(error => this.#stop.abort(error))
        .finally(() => this.#running.delete(work))
      this.#running.add(work)
    }
  }

  /** Nothing is sent ahead any more when this ends; what is on its way is given up. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#running)
  }

  // Asynchronous as a whole: a registry that is blocked fails here too, and that is not the cell's fault.
  async #upload(manifest: ImageManifest, repository: string): Promise<void> {
    await uploadBlobs(manifest, target(parseReference(repository), this.#tools), repository, this.#tools)
  }
}
