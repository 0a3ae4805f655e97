import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts'
import { MAX_JSON } from '../oci/json.ts'
import { type Descriptor, encodeIndex, type ImageIndex, type Manifest, parseManifest } from '../oci/manifest.ts'
import type { Answer } from './answer.ts'
import type { RegistryRequest } from './client.ts'
import { badAnswer } from './failures.ts'
import { readManifest } from './manifest-reading.ts'
import { writeManifest } from './manifest-writing.ts'
import { type Site, siteName, siteRequest } from './site.ts'
import { nextQuery } from './tags.ts'

const MAX_PAGES = 1000
const WRITES = 5
/** Answers of servers that do not know the path. */
const UNKNOWN_PATH = new Set([404, 405, 406, 410, 501])

/** The tag that lists referrers where the registry does not (distribution-spec, "Referrers Tag Schema"). */
export function referrersTag(subject: Digest): string {
  return `${algorithmOf(subject)}-${hexOf(subject).slice(0, 64)}`
}

/** What has `subject` as its subject: by the registry's API, else by the fallback tag. In no particular order. */
export async function* listReferrers(
  site: Site,
  subject: Digest,
  artifactType: string | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Descriptor> {
  const wanted = (entry: Descriptor) => artifactType === undefined || entry.artifactType === artifactType
  const what = `listing referrers of ${subject}`
  const query = artifactType === undefined ? '' : `?artifactType=${encodeURIComponent(artifactType)}`
  const seen = new Set<string>()
  let path: string | undefined = `referrers/${subject}${query}`
  while (site.host.referrers !== 'tag' && path !== undefined && !seen.has(path) && seen.size < MAX_PAGES) {
    const request = siteRequest(site, what, { method: 'GET', path, actions: 'pull', signal })
    const answer = await site.client.request(request)
    const page = await readPage(site, request, answer, seen.size > 0)
    if (page === undefined) break
    seen.add(path)
    site.host.referrers = 'api'
    const filtered = /\bartifactType\b/i.test(answer.headers.get('oci-filters-applied') ?? '')
    yield* filtered ? page.manifests : page.manifests.filter(wanted)
    const next = nextQuery(answer.headers.get('link'), answer.url)
    path = next === undefined ? undefined : `referrers/${subject}${next}`
  }
  if (seen.size > 0) return
  const list = await readList(site, referrersTag(subject), signal)
  yield* (list?.manifests ?? []).filter(wanted)
}

/** Undefined where there is no such API. A web page with status 200 is none either. */
async function readPage(
  site: Site,
  request: RegistryRequest,
  answer: Answer,
  known: boolean,
): Promise<ImageIndex | undefined> {
  if (answer.status !== 200) {
    const error = await site.client.refusal(request, answer)
    const codes = (error.details['codes'] ?? []) as readonly string[]
    if (known || !(UNKNOWN_PATH.has(answer.status) || codes.includes('UNSUPPORTED'))) throw error
    // A repository that is not there says nothing about the API.
    if (!codes.includes('NAME_UNKNOWN')) site.host.referrers = 'tag'
    return undefined
  }
  const bytes = await answer.bytes(MAX_JSON)
  if (bytes === undefined) throw badAnswer(request.doing, `the list is larger than ${MAX_JSON} bytes`)
  try {
    const page = parseManifest(bytes, undefined, `${siteName(site)}: ${request.doing.what}`)
    if (page.kind === 'index') return page
  } catch (error) {
    const json = /json/i.test(answer.headers.get('content-type') ?? '')
    if (known || json || !isArchimageError(error)) throw error
  }
  if (known) throw badAnswer(request.doing, 'the answer is not a list of referrers')
  site.host.referrers = 'tag'
  return undefined
}

async function readList(site: Site, tag: string, signal: AbortSignal | undefined): Promise<ImageIndex | undefined> {
  const list = await readManifest(site, tag, signal)
  if (list === undefined || list.kind === 'index') return list
  throw new ArchimageError(
    'MANIFEST_INVALID',
    `${siteName(site)}: the tag ${tag} is an image, not a list of referrers`,
    {
      hint: 'the name is reserved by the distribution spec; give that image another tag and delete this one',
    },
  )
}

/** Lists `manifest` under its subject in the fallback tag, after a PUT that was answered without OCI-Subject. */
export async function addReferrer(site: Site, manifest: Manifest, signal: AbortSignal | undefined): Promise<void> {
  if (manifest.subject === undefined) return
  const artifactType = manifest.artifactType || (manifest.kind === 'image' ? manifest.config.mediaType : undefined)
  const entry: Descriptor = {
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.raw.byteLength,
    ...(artifactType === undefined ? {} : { artifactType }),
    annotations: manifest.annotations,
  }
  await change(site, referrersTag(manifest.subject.digest), signal, list =>
    list.some(other => other.digest === entry.digest) ? undefined : [...list, entry],
  )
}

/** Takes what was deleted out of the fallback tag, where there is one. */
export async function removeReferrer(
  site: Site,
  subject: Digest,
  digest: Digest,
  signal: AbortSignal | undefined,
): Promise<void> {
  await change(site, referrersTag(subject), signal, list =>
    list.some(entry => entry.digest === digest) ? list.filter(entry => entry.digest !== digest) : undefined,
  )
}

/**
 * Reads the list, writes it changed, and reads it again: whoever wrote at the same time may have overwritten it. One at
 * a time in this process; between processes the spec has nothing better.
 */
async function change(
  site: Site,
  tag: string,
  signal: AbortSignal | undefined,
  edit: (list: readonly Descriptor[]) => readonly Descriptor[] | undefined,
): Promise<void> {
  const { bringing } = site.host
  const key = `${site.repository}:${tag}`
  const before = bringing.get(key) ?? Promise.resolve()
  const work = before.then(write, write)
  bringing.set(key, work)
  try {
    await work
  } finally {
    if (bringing.get(key) === work) bringing.delete(key)
  }

  async function write(): Promise<void> {
    for (let attempt = 0; attempt <= WRITES; attempt++) {
      const now = await readList(site, tag, signal)
      const manifests = edit(now?.manifests ?? [])
      if (manifests === undefined) return
      await writeManifest(
        site,
        encodeIndex({ docker: false, manifests, annotations: now?.annotations ?? {} }),
        tag,
        signal,
      )
    }
    throw new ArchimageError(
      'REGISTRY_ERROR',
      `${siteName(site)}: others keep writing the tag ${tag} at the same time`,
      {
        hint: 'the registry has no API for referrers, so that this tag has to list them: push again when the others are done',
      },
    )
  }
}
