import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { digestLike, isDigest } from '../oci/digest.ts'
import { MAX_JSON } from '../oci/json.ts'
import { type Descriptor, describe, type Manifest, parseManifest } from '../oci/manifest.ts'
import { isIndexType, isManifestType, MANIFEST_ACCEPT } from '../oci/media-types.ts'
import { builtin } from '../sys/builtin.ts'
import type { RegistryRequest } from './client.ts'
import { badAnswer } from './failures.ts'
import { type Site, siteName, siteRequest } from './site.ts'

/** Undefined when there is none. A digest is checked against the bytes. */
export async function readManifest(
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
        return builtin.zlib.gunzipSync(bytes, limit)
      case 'deflate':
        return builtin.zlib.inflateSync(bytes, limit)
      case 'br':
        return builtin.zlib.brotliDecompressSync(bytes, limit)
      case 'zstd':
        return builtin.zlib.zstdDecompressSync(bytes, limit)
    }
  } catch {
    throw badAnswer(doing, `its ${encoding} encoding is damaged or hides more than ${MAX_JSON} bytes`)
  }
  throw badAnswer(doing, `the answer has the encoding "${encoding?.slice(0, 40)}", which nobody asked for`)
}

/** HEAD where that says enough, else GET: many servers leave out the digest, some do not know HEAD. */
export async function readHead(
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
