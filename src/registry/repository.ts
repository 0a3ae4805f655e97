import { isArchimageError } from '../errors/error.ts'
import { type Digest, isDigest } from '../oci/digest.ts'
import type { Descriptor, Manifest } from '../oci/manifest.ts'
import { type ReadOptions, readBlob } from './blob-reading.ts'
import { type BodySource, blobExists, type WriteOptions, writeBlob } from './blob-writing.ts'
import { deleteManifest, deleteTag } from './deleting.ts'
import { type MirrorAnswer, withMirrors } from './failures.ts'
import { readHead, readManifest } from './manifest-reading.ts'
import { writeManifest } from './manifest-writing.ts'
import { addReferrer, listReferrers, removeReferrer } from './referrers.ts'
import { type Site, siteName } from './site.ts'
import { listTags } from './tags.ts'

interface Options {
  readonly signal?: AbortSignal
}

/** The places that a repository is read from, in order; the last one is where it is written. */
export interface Sites {
  readonly upstream: Site
  readonly byTag: readonly Site[]
  readonly byDigest: readonly Site[]
}

/** One repository of a registry. Has the shape of `Transport`; what it throws is described in failures.ts. */
export class Repository {
  readonly name: string
  readonly #sites: Sites
  readonly #reading = new Map<string, Promise<Manifest | undefined>>()
  /** After a write only upstream is asked: mirrors may be behind. */
  #written = false

  constructor(sites: Sites) {
    this.#sites = sites
    this.name = siteName(sites.upstream)
  }

  /** Host as in references, and the name there: where writes go. */
  get registry(): string {
    return this.#sites.upstream.host.registry
  }

  get repository(): string {
    return this.#sites.upstream.repository
  }

  /** The same without mirrors. */
  upstream(): Repository {
    return new Repository({ upstream: this.#sites.upstream, byTag: [], byDigest: [] })
  }

  /**
   * The manifest that a tag or digest names; undefined when there is none. A digest is checked against the bytes.
   * Questions for the same one at the same time are one request.
   */
  async manifest(tagOrDigest: string, options: Options = {}): Promise<Manifest | undefined> {
    const shared = this.#reading.get(tagOrDigest)
    if (shared !== undefined && options.signal === undefined) return shared
    const work = this.#anywhere(tagOrDigest, site => readManifest(site, tagOrDigest, options.signal))
    if (options.signal !== undefined) return work
    this.#reading.set(tagOrDigest, work)
    try {
      return await work
    } finally {
      this.#reading.delete(tagOrDigest)
    }
  }

  async head(tagOrDigest: string, options: Options = {}): Promise<Descriptor | undefined> {
    return this.#anywhere(tagOrDigest, site => readHead(site, tagOrDigest, options.signal))
  }

  /** False also when it is there with another size. */
  async hasBlob(descriptor: Descriptor, options: Options = {}): Promise<boolean> {
    const found = await this.#anywhere(descriptor.digest, async site =>
      (await blobExists(site, descriptor, options.signal)) ? true : undefined,
    )
    if (found === true && !this.#mirrored) this.#sites.upstream.host.remember(descriptor.digest, this.repository)
    return found === true
  }

  /** Streams a blob; fails before its end when digest or size do not hold. Throws NOT_FOUND. */
  async blob(descriptor: Descriptor, options: ReadOptions = {}): Promise<ReadableStream<Uint8Array>> {
    const { upstream } = this.#sites
    const said = this.#dead(descriptor.digest)
    return readBlob([...this.#mirrors(descriptor.digest), upstream], descriptor, options, said)
  }

  /** The blob is there afterwards, or this throws; `from` names repositories to mount from. */
  async putBlob(
    descriptor: Descriptor,
    body: BodySource,
    options: WriteOptions = {},
  ): Promise<'exists' | 'mounted' | 'uploaded'> {
    this.#written = true
    return writeBlob(this.#sites.upstream, descriptor, body, options)
  }

  /**
   * Throws TAG_IMMUTABLE when the tag exists, differs, and may not move. A manifest with a subject is listed under it
   * afterwards, by the registry or by us (distribution-spec, "Pushing Manifests with Subject").
   */
  async putManifest(manifest: Manifest, tag?: string, options: Options = {}): Promise<Digest> {
    this.#written = true
    const site = this.#sites.upstream
    const listed = await writeManifest(site, manifest, tag, options.signal)
    if (listed) site.host.referrers = 'api'
    else await addReferrer(site, manifest, options.signal)
    return manifest.digest
  }

  tags(options: Options = {}): AsyncIterable<string> {
    return listTags(this.#sites.upstream, options.signal)
  }

  /** What has `subject` as its subject, all or of one type: by the registry's API, else by the fallback tag. */
  referrers(subject: Digest, options: Options & { readonly artifactType?: string } = {}): AsyncIterable<Descriptor> {
    return listReferrers(this.#sites.upstream, subject, options.artifactType, options.signal)
  }

  /** False when there was nothing. Throws UNSUPPORTED when the registry does not delete. */
  async deleteManifest(tagOrDigest: string, options: Options = {}): Promise<boolean> {
    this.#written = true
    const site = this.#sites.upstream
    const { signal } = options
    // Where referrers are listed in a tag, nobody but us takes this one out of it.
    const ours = isDigest(tagOrDigest) && site.host.referrers !== 'api'
    const before = ours ? await readManifest(site, tagOrDigest, signal).catch(() => undefined) : undefined
    const subject = before?.subject?.digest
    const deleted = await deleteManifest(site, tagOrDigest, signal)
    if (deleted && subject !== undefined) await removeReferrer(site, subject, tagOrDigest as Digest, signal)
    return deleted
  }

  /**
   * Takes a tag away; its manifest and other tags stay. False when there was no such tag. Throws UNSUPPORTED where tags go
   * only with their manifests and those are not deleted either.
   */
  async deleteTag(tag: string, options: Options = {}): Promise<boolean> {
    this.#written = true
    return deleteTag(this.#sites.upstream, tag, options.signal)
  }

  get #mirrored(): boolean {
    return this.#sites.byTag.length + this.#sites.byDigest.length > 0
  }

  #all(tagOrDigest: string): readonly Site[] {
    if (this.#written) return []
    return isDigest(tagOrDigest) ? this.#sites.byDigest : this.#sites.byTag
  }

  #mirrors(tagOrDigest: string): readonly Site[] {
    return this.#all(tagOrDigest).filter(site => site.host.dead === undefined)
  }

  /** What was heard of mirrors that were given up before. */
  #dead(tagOrDigest: string): MirrorAnswer[] {
    return this.#all(tagOrDigest).flatMap(({ host, repository }) =>
      host.dead === undefined ? [] : [{ mirror: `${host.registry}/${repository}`, error: host.dead }],
    )
  }

  /** Asks the mirrors in order, then upstream, whose answer is the last word. */
  async #anywhere<T>(tagOrDigest: string, ask: (site: Site) => Promise<T | undefined>): Promise<T | undefined> {
    const said = this.#dead(tagOrDigest)
    for (const site of this.#mirrors(tagOrDigest)) {
      const mirror = `${site.host.registry}/${site.repository}`
      try {
        const found = await ask(site)
        if (found !== undefined) return found
        said.push({ mirror })
      } catch (error) {
        if (!isArchimageError(error) || error.code === 'CANCELLED' || error.code === 'OFFLINE') throw error
        if (error.code === 'REGISTRY_UNREACHABLE') site.host.dead = error
        said.push({ mirror, error })
      }
    }
    try {
      return await ask(this.#sites.upstream)
    } catch (error) {
      throw withMirrors(error, said)
    }
  }
}
