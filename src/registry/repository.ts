import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { type Digest, digestLike, isDigest } from '../oci/digest.ts'
import type { Descriptor, Manifest } from '../oci/manifest.ts'
import { type ReadOptions, readBlob } from './blob-reading.ts'
import { type BodySource, blobExists, type WriteOptions, writeBlob } from './blob-writing.ts'
import { badAnswer, type MirrorAnswer, withMirrors } from './failures.ts'
import { readHead, readManifest } from './manifest-reading.ts'
import { type Site, siteName, siteRequest } from './site.ts'
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

  /** Throws TAG_IMMUTABLE when the tag exists, differs, and may not move. */
  async putManifest(manifest: Manifest, tag?: string, options: Options = {}): Promise<Digest> {
    this.#written = true
    const site = this.#sites.upstream
    const name = tag ?? manifest.digest
    const request = siteRequest(site, `writing ${tag === undefined ? 'manifest' : 'tag'} ${name}`, {
      method: 'PUT',
      path: `manifests/${name}`,
      actions: 'pull,push',
      headers: { 'content-type': manifest.mediaType },
      body: () => manifest.raw,
      signal: options.signal,
    })
    const answer = await site.client.request(request)
    if ([200, 201, 202, 204].includes(answer.status)) {
      await answer.drain()
      const said = answer.headers.get('docker-content-digest')
      if (isDigest(said) && said !== digestLike(said, manifest.raw))
        throw badAnswer(request.doing, `it was stored as ${said}, which is not the digest of what was sent`)
      return manifest.digest
    }
    const error = await site.client.refusal(request, answer)
    const codes = (error.details['codes'] ?? []) as readonly string[]
    if (codes.includes('MANIFEST_BLOB_UNKNOWN')) site.host.forget(site.repository)
    if (tag === undefined || ![400, 409, 412].includes(answer.status)) throw error
    const there = await readHead(site, tag, options.signal).catch(() => undefined)
    if (there?.digest === manifest.digest) return manifest.digest
    if (there === undefined || !meansImmutable(answer.status, error.message, codes)) throw error
    throw new ArchimageError(
      'TAG_IMMUTABLE',
      `${this.name}: the tag ${tag} is ${there.digest} and the registry does not let it move to ${manifest.digest}`,
      {
        hint: 'choose a new tag, or let the registry allow tags to be overwritten',
        cause: error,
        details: error.details,
      },
    )
  }

  tags(options: Options = {}): AsyncIterable<string> {
    return listTags(this.#sites.upstream, options.signal)
  }

  /** False when there was nothing. Throws UNSUPPORTED when the registry does not delete. */
  async deleteManifest(tagOrDigest: string, options: Options = {}): Promise<boolean> {
    this.#written = true
    const site = this.#sites.upstream
    const request = siteRequest(site, `deleting ${tagOrDigest}`, {
      method: 'DELETE',
      path: `manifests/${tagOrDigest}`,
      actions: 'pull,delete',
      signal: options.signal,
    })
    const answer = await site.client.request(request)
    if ([200, 202, 204].includes(answer.status)) {
      await answer.drain()
      return true
    }
    if (answer.status === 404) {
      await answer.drain()
      return false
    }
    const error = await site.client.refusal(request, answer)
    const codes = (error.details['codes'] ?? []) as readonly string[]
    if (answer.status !== 405 && !codes.includes('UNSUPPORTED') && !codes.includes('DIGEST_INVALID')) throw error
    throw new ArchimageError('UNSUPPORTED', error.message, {
      hint: isDigest(tagOrDigest)
        ? "the registry does not delete: distribution's needs REGISTRY_STORAGE_DELETE_ENABLED=true"
        : 'this registry deletes by digest only, and all tags of that digest with it',
      cause: error,
      details: error.details,
    })
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

/** 409 and 412 say it by themselves; a 400 says many things, so its text or the absence of a known code decides. */
function meansImmutable(status: number, message: string, codes: readonly string[]): boolean {
  if (/immutab|already.?exist|overwr|updat|redeploy/i.test(message) || status === 409 || status === 412) return true
  const known = ['MANIFEST_', 'DIGEST_INVALID', 'NAME_', 'TAG_INVALID', 'SIZE_INVALID', 'UNSUPPORTED', 'BLOB_']
  return !codes.some(code => known.some(start => code.startsWith(start)))
}
