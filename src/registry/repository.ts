import { brotliDecompressSync, gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib'
import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { type Digest, digestLike, isDigest } from '../oci/digest.ts'
import { MAX_JSON } from '../oci/json.ts'
import { type Descriptor, describe, type Manifest, parseManifest } from '../oci/manifest.ts'
import { isIndexType, isManifestType, MANIFEST_ACCEPT } from '../oci/media-types.ts'
import { type ReadOptions, readBlob } from './blob-reading.ts'
import { type BodySource, blobExists, type WriteOptions, writeBlob } from './blob-writing.ts'
import type { RegistryRequest } from './client.ts'
import { badAnswer } from './failures.ts'
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
    const alive = this.#order(descriptor.digest)
    return readBlob(alive, descriptor, options)
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

  #order(tagOrDigest: string): readonly Site[] {
    const { upstream, byTag, byDigest } = this.#sites
    if (this.#written) return [upstream]
    return [...(isDigest(tagOrDigest) ? byDigest : byTag).filter(site => !site.host.dead), upstream]
  }

  /** Asks the mirrors in order, then upstream, whose answer is the last word. */
  async #anywhere<T>(tagOrDigest: string, ask: (site: Site) => Promise<T | undefined>): Promise<T | undefined> {
    for (const site of this.#order(tagOrDigest)) {
      if (site === this.#sites.upstream) break
      try {
        const found = await ask(site)
        if (found !== undefined) return found
      } catch (error) {
        if (!isArchimageError(error) || error.code === 'CANCELLED' || error.code === 'OFFLINE') throw error
        if (error.code === 'REGISTRY_UNREACHABLE') site.host.dead = true
      }
    }
    return ask(this.#sites.upstream)
  }
}

async function readManifest(
  site: Site,
  tagOrDigest: string,
  signal: AbortSignal | undefined,
): Promise<Manifest | undefined> {
  const what = `reading ${isDigest(tagOrDigest) ? 'manifest' : 'tag'} ${tagOrDigest}`
  const request = siteRequest(site, what, {
    method: 'GET',
    path: `manifests/${tagOrDigest}`,
    actions: 'pull',
    headers: { accept: MANIFEST_ACCEPT },
    signal,
  })
  const raw = await readWhole(site, request)
  if (raw === undefined) return undefined
  if (isDigest(tagOrDigest) && digestLike(tagOrDigest, raw.bytes) !== tagOrDigest)
    throw new ArchimageError(
      'DIGEST_MISMATCH',
      `${siteName(site)}: manifest ${tagOrDigest} was asked, ${digestLike(tagOrDigest, raw.bytes)} came`,
      { hint: 'the registry, or a proxy or cache on the way, is damaged or lies' },
    )
  const name = `${siteName(site)}: ${isDigest(tagOrDigest) ? 'manifest' : 'tag'} ${tagOrDigest}`
  const digest = isDigest(tagOrDigest) ? tagOrDigest : undefined
  return parseManifest(raw.bytes, raw.contentType, name, digest)
}

/** A manifest's bytes. A connection that is cut in the middle is tried again like one that never came about. */
async function readWhole(site: Site, request: RegistryRequest) {
  for (let attempt = 1; ; attempt++) {
    const answer = await site.client.request(request)
    if (answer.status === 404) {
      await answer.drain()
      return undefined
    }
    if (answer.status !== 200) {
      const error = await site.client.refusal(request, answer)
      // Artifactory answers 403 for a tag that is not there, but says so.
      const codes = (error.details['codes'] ?? []) as readonly string[]
      if (codes.includes('MANIFEST_UNKNOWN') || codes.includes('NAME_UNKNOWN')) return undefined
      throw error
    }
    let bytes: Uint8Array | undefined
    try {
      bytes = await answer.bytes(MAX_JSON)
    } catch (error) {
      if (isArchimageError(error)) throw error
      if (attempt >= site.client.tuning.attempts)
        throw badAnswer(request.doing, 'the connection was cut in the middle of the answer, several times')
      site.host.hold(site.client.tuning.backoff * 2 ** (attempt - 1))
      continue
    }
    if (bytes === undefined) throw badAnswer(request.doing, `the manifest is larger than ${MAX_JSON} bytes`)
    const contentType = (answer.headers.get('content-type') ?? '').split(';', 1)[0]!.trim()
    return { bytes: decoded(bytes, answer.headers.get('content-encoding'), request), contentType }
  }
}

/** Some servers compress manifests although we ask them not to. */
function decoded(bytes: Uint8Array, encoding: string | null, { doing }: RegistryRequest): Uint8Array {
  const limit = { maxOutputLength: MAX_JSON }
  try {
    switch (encoding?.trim().toLowerCase() ?? '') {
      case '':
      case 'identity':
        return bytes
      case 'gzip':
      case 'x-gzip':
        return gunzipSync(bytes, limit)
      case 'deflate':
        return inflateSync(bytes, limit)
      case 'br':
        return brotliDecompressSync(bytes, limit)
      case 'zstd':
        return zstdDecompressSync(bytes, limit)
    }
  } catch {
    throw badAnswer(doing, `its ${encoding} encoding is damaged or hides more than ${MAX_JSON} bytes`)
  }
  throw badAnswer(doing, `the answer has the encoding "${encoding?.slice(0, 40)}", which nobody asked for`)
}

/** HEAD where that says enough, else GET: many servers leave out the digest, some do not know HEAD. */
async function readHead(
  site: Site,
  tagOrDigest: string,
  signal: AbortSignal | undefined,
): Promise<Descriptor | undefined> {
  const request = siteRequest(site, `looking for ${tagOrDigest}`, {
    method: 'HEAD',
    path: `manifests/${tagOrDigest}`,
    actions: 'pull',
    headers: { accept: MANIFEST_ACCEPT },
    signal,
  })
  const answer = await site.client.request(request)
  await answer.drain()
  if (answer.status === 404) return undefined
  const mediaType = (answer.headers.get('content-type') ?? '').split(';', 1)[0]!.trim()
  const said = answer.headers.get('docker-content-digest')
  const digest = isDigest(said) ? said : said === null && isDigest(tagOrDigest) ? tagOrDigest : undefined
  const size = Number(answer.headers.get('content-length') ?? Number.NaN)
  const clear =
    answer.status === 200 &&
    (isIndexType(mediaType) || isManifestType(mediaType)) &&
    digest !== undefined &&
    (!isDigest(tagOrDigest) || digest === tagOrDigest) &&
    Number.isSafeInteger(size) &&
    size > 0 &&
    !answer.headers.has('content-encoding')
  if (clear) return { mediaType, digest, size }
  if (answer.status === 401) throw await site.client.refusal(request, answer)
  const manifest = await readManifest(site, tagOrDigest, signal)
  return manifest && describe(manifest)
}

/** 409 and 412 say it by themselves; a 400 says many things, so its text or the absence of a known code decides. */
function meansImmutable(status: number, message: string, codes: readonly string[]): boolean {
  if (/immutab|already.?exist|overwr|updat|redeploy/i.test(message) || status === 409 || status === 412) return true
  const known = ['MANIFEST_', 'DIGEST_INVALID', 'NAME_', 'TAG_INVALID', 'SIZE_INVALID', 'UNSUPPORTED', 'BLOB_']
  return !codes.some(code => known.some(start => code.startsWith(start)))
}
