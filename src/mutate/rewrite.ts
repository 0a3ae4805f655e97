import { ArchimageError } from '../errors/error.ts'
import { attestationSubject, platformOf } from '../inspect/describe.ts'
import type { ImageNode } from '../inspect/read.ts'
import { configPlatform, type ImageConfig } from '../oci/config.ts'
import type { Digest } from '../oci/digest.ts'
import { encodeJson, parseJsonObject } from '../oci/json.ts'
import { type ImageIndex, isAttestation, type Manifest, parseManifest } from '../oci/manifest.ts'
import { DOCKER } from '../oci/media-types.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import { type Draft, draftOf, type Json, type NewBlob, sameJson, seal } from './draft.ts'
import { annotated, type Change, withFields } from './edits.ts'

/** What happens to an image, platform by platform. */
export interface Rewriting {
  /** Called once for every image of a platform; returns the same draft for one that stays as it is. */
  readonly image: (draft: Draft, platform: Platform, name: string) => Draft | Promise<Draft>
  /** Annotations of the topmost index, and of entries by platform. */
  readonly indexAnnotations?: Change
  readonly entryAnnotations?: (platform: Platform) => Change
  /** An attestation is of the bytes that an image had: of one that changes it goes, unless it is to be kept. */
  readonly keepAttestations?: boolean
}

/** An image with all that it leads to, after edits. */
export interface Rewritten {
  readonly top: Manifest
  /** Manifests and blobs that the source does not have, children before what names them. */
  readonly manifests: readonly Manifest[]
  readonly blobs: readonly NewBlob[]
  readonly images: readonly RewrittenImage[]
  /** Attestations that were dropped, as their images changed. */
  readonly dropped: readonly Digest[]
}

export interface RewrittenImage {
  readonly platform: string
  readonly before: Digest
  readonly after: Digest
}

const SUBJECT = 'vnd.docker.reference.digest'

/**
 * Edits all images of a tree in one pass, each once; what does not change keeps its bytes, and so does an index all of whose
 * children do. Throws MANIFEST_INVALID for images that are not there or not right, as a part of them would be lost.
 */
export async function rewriteImage(top: ImageNode, name: string, rewriting: Rewriting): Promise<Rewritten> {
  const pass = new Pass(rewriting)
  const manifest = await pass.node(top, name, true)
  return { top: manifest.manifest, ...pass.made() }
}

interface Done {
  readonly manifest: Manifest
  /** That an image had. */
  readonly platform?: Platform
  /** That it was given. */
  readonly given?: Platform
}

class Pass {
  readonly #rewriting: Rewriting
  readonly #images = new Map<string, Promise<Done>>()
  readonly #manifests = new Map<Digest, Manifest>()
  readonly #blobs = new Map<Digest, NewBlob>()
  readonly #report: RewrittenImage[] = []
  readonly #dropped: Digest[] = []

  constructor(rewriting: Rewriting) {
    this.#rewriting = rewriting
  }

  made(): Omit<Rewritten, 'top'> {
    return {
      manifests: [...this.#manifests.values()],
      blobs: [...this.#blobs.values()],
      images: this.#report,
      dropped: this.#dropped,
    }
  }

  async node(node: ImageNode, name: string, isTop: boolean): Promise<Done> {
    const { manifest, config } = node
    if (manifest === undefined || (node.problem !== undefined && config === undefined && manifest.kind === 'image'))
      throw new ArchimageError('MANIFEST_INVALID', `${name}: ${node.descriptor.digest}: ${node.problem}`, {
        hint: 'archimage inspect shows what is there; archimage copy --platform leaves out what is not',
      })
    if (manifest.kind === 'index') return { manifest: await this.#index(node, manifest, name, isTop) }
    if (config === undefined) return { manifest }
    const platform = platformOf(node)!
    const key = `${manifest.digest} ${formatPlatform(platform)}`
    const known = this.#images.get(key) ?? this.#image(node, platform, name)
    this.#images.set(key, known)
    return known
  }

  async #image(node: ImageNode, platform: Platform, name: string): Promise<Done> {
    const original = node.manifest as Extract<Manifest, { kind: 'image' }>
    const what = `${name}, ${formatPlatform(platform)}`
    const before = { manifest: original, rawConfig: node.rawConfig! }
    const draft = await this.#rewriting.image(draftOf(before, what), platform, what)
    const { manifest, blobs } = seal(draft, before)
    for (const blob of blobs) this.#blobs.set(blob.descriptor.digest, blob)
    if (manifest !== original) this.#manifests.set(manifest.digest, manifest)
    this.#report.push({ platform: formatPlatform(platform), before: original.digest, after: manifest.digest })
    const given = configPlatform(draft.config as unknown as ImageConfig)
    const kept = formatPlatform(given) === formatPlatform(configPlatform(node.config!))
    return { manifest, platform, ...(kept ? {} : { given }) }
  }

  async #index(node: ImageNode, index: ImageIndex, name: string, isTop: boolean): Promise<ImageIndex> {
    const done: (Done | undefined)[] = []
    for (const child of node.children)
      done.push(isAttestation(child.descriptor) ? undefined : await this.node(child, name, false))
    const now = new Map(node.children.map((child, i) => [child.descriptor.digest as string, done[i]?.manifest.digest]))
    const json = parseJsonObject(index.raw, name)
    const docker = index.mediaType === DOCKER.index
    const entries = (json['manifests'] as readonly Json[]).flatMap((entry, i) => {
      const child = node.children[i]!
      const { manifest, platform, given } = done[i] ?? {}
      if (manifest === undefined) return this.#attestation(entry, child, now)
      const change = platform === undefined ? [] : (this.#rewriting.entryAnnotations?.(platform) ?? [])
      const same = manifest.digest === child.descriptor.digest
      const moved = same ? entry : entryFor(entry, manifest, given)
      return [change.length === 0 ? moved : annotated(moved, change, docker)]
    })
    const document = isTop
      ? annotated({ ...json, manifests: entries }, this.#rewriting.indexAnnotations ?? [], docker)
      : { ...json, manifests: entries }
    if (sameJson(document, json)) return index
    const rewritten = parseManifest(encodeJson(document), index.mediaType) as ImageIndex
    this.#manifests.set(rewritten.digest, rewritten)
    return rewritten
  }

  #attestation(entry: Json, child: ImageNode, now: ReadonlyMap<string, Digest | undefined>): Json[] {
    const subject = attestationSubject(child.descriptor)
    const after = subject === undefined ? undefined : now.get(subject)
    if (after === undefined || after === subject) return [entry]
    if (this.#rewriting.keepAttestations === true)
      return [{ ...entry, annotations: { ...(entry['annotations'] as Json), [SUBJECT]: after } }]
    this.#dropped.push(child.descriptor.digest)
    return []
  }
}

/** An entry of an index that leads to another manifest, and is for another platform where that was `given`. */
function entryFor(entry: Json, manifest: Manifest, given: Platform | undefined): Json {
  const { data: _stale, ...rest } = entry
  return withFields(rest, {
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.raw.byteLength,
    ...(given === undefined || entry['platform'] === undefined ? {} : { platform: given }),
  })
}
