import { ArchimageError } from '../errors/error.ts'
import { digestLike, isDigest } from '../oci/digest.ts'
import type { Manifest } from '../oci/manifest.ts'
import { badAnswer } from './failures.ts'
import { readHead } from './manifest-reading.ts'
import { type Site, siteName, siteRequest } from './site.ts'

/** What every registry takes (distribution-spec, "Pushing Manifests"). */
const MAX_MANIFEST = 4 * 1024 * 1024

/**
 * Writes a manifest, by digest or under a tag. True when the registry itself lists it under its subject (OCI-Subject;
 * distribution-spec, "Pushing Manifests with Subject"). Throws TAG_IMMUTABLE when the tag exists, differs, and may not move.
 */
export async function writeManifest(
  site: Site,
  manifest: Manifest,
  tag: string | undefined,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const name = tag ?? manifest.digest
  const request = siteRequest(site, `writing ${tag === undefined ? 'manifest' : 'tag'} ${name}`, {
    method: 'PUT',
    path: `manifests/${name}`,
    actions: 'pull,push',
    headers: { 'content-type': manifest.mediaType },
    body: () => manifest.raw,
    signal,
  })
  const answer = await site.client.request(request)
  if ([200, 201, 202, 204].includes(answer.status)) {
    await answer.drain()
    const said = answer.headers.get('docker-content-digest')
    if (isDigest(said) && said !== digestLike(said, manifest.raw))
      throw badAnswer(request.doing, `it was stored as ${said}, which is not the digest of what was sent`)
    return answer.headers.has('oci-subject')
  }
  const error = await site.client.refusal(request, answer)
  const codes = (error.details['codes'] ?? []) as readonly string[]
  if (codes.includes('MANIFEST_BLOB_UNKNOWN')) site.host.forget(site.repository)
  if (answer.status === 413 && manifest.raw.byteLength > MAX_MANIFEST)
    throw new ArchimageError(error.code, error.message, {
      hint: `it has ${manifest.raw.byteLength} bytes; registries have to take ${MAX_MANIFEST}, and few take more: fewer entries or annotations`,
      details: error.details,
    })
  if (tag === undefined || ![400, 409, 412].includes(answer.status)) throw error
  const there = await readHead(site, tag, signal).catch(() => undefined)
  if (there?.digest === manifest.digest) return false
  if (there === undefined || !meansImmutable(answer.status, error.message, codes)) throw error
  throw new ArchimageError(
    'TAG_IMMUTABLE',
    `${siteName(site)}: the tag ${tag} is ${there.digest} and the registry does not let it move to ${manifest.digest}`,
    {
      hint: 'choose a new tag, or let the registry allow tags to be overwritten',
      cause: error,
      details: error.details,
    },
  )
}

/** 409 and 412 say it by themselves; a 400 says many things, so its text or the absence of a known code decides. */
function meansImmutable(status: number, message: string, codes: readonly string[]): boolean {
  if (/immutab|already.?exist|overwr|updat|redeploy/i.test(message) || status === 409 || status === 412) return true
  const known = ['MANIFEST_', 'DIGEST_INVALID', 'NAME_', 'TAG_INVALID', 'SIZE_INVALID', 'UNSUPPORTED', 'BLOB_']
  return !codes.some(code => known.some(start => code.startsWith(start)))
}
