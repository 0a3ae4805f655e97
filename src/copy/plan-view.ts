import type { ArchimageError } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import { type Descriptor, isAttestation } from '../oci/manifest.ts'
import { formatPlatform } from '../oci/platform.ts'
import { blobsOf, type ImagePlan, nameOf, type PlannedManifest } from './plan.ts'
import type { CopyImage } from './request.ts'
import { onSide } from './side.ts'

/** A plan as data for others: what `--dry-run --json` prints. */
export interface PlanView {
  readonly source: string
  readonly target: string
  /** `copy`: something has to be done. */
  readonly state: 'copy' | 'same' | 'kept' | 'failed'
  /** What the source's name leads to. */
  readonly digest?: Digest
  /** What the tags will lead to; absent where layers are compressed anew. */
  readonly result?: Digest
  readonly tags: readonly { readonly tag: string; readonly now?: Digest }[]
  readonly manifests: readonly ManifestView[]
  /** What the manifests need that are not there; with `there` those that the destination has. */
  readonly blobs: readonly { readonly digest: Digest; readonly size: number; readonly there: boolean }[]
  readonly error?: { readonly code: string; readonly message: string; readonly hint?: string }
}

export interface ManifestView {
  readonly digest: Digest
  readonly mediaType: string
  readonly size: number
  readonly platform?: string
  readonly attestation?: boolean
  readonly there: boolean
  /** For referrers and digest tags. */
  readonly belongs?: 'referrer' | 'digest tag'
  readonly tag?: string
}

/** Asks the destination for every blob of a plan. */
export async function viewPlan(plan: ImagePlan, signal: AbortSignal): Promise<PlanView> {
  const { image, root, extras, tags, source, recompress } = plan
  const target = onSide(image.target.transport, 'destination')
  const same = image.source.site !== undefined && sameSite(image)
  const blobs = new Map<Digest, Descriptor>()
  const collect = ({ there, manifest, children }: PlannedManifest): void => {
    if (there || manifest === undefined) return
    for (const blob of blobsOf(manifest, image.options.foreignLayers === true)) blobs.set(blob.digest, blob)
    for (const child of children) collect(child)
  }
  if (plan.state === 'copy') for (const node of [root, ...extras.map(extra => extra.root)]) collect(node)
  const there = await Promise.all([...blobs.values()].map(blob => same || target.hasBlob(blob, { signal })))
  const manifests = plan.state === 'copy' ? viewTree(root, undefined) : []
  return {
    source: nameOf(image),
    target: image.target.label,
    state: plan.state,
    digest: source.digest,
    ...(recompress ? {} : { result: root.descriptor.digest }),
    tags,
    manifests: [
      ...manifests,
      ...extras.flatMap(extra =>
        viewTree(extra.root, undefined).map(view => ({
          ...view,
          belongs: extra.tag === undefined ? ('referrer' as const) : ('digest tag' as const),
          ...(extra.tag === undefined ? {} : { tag: extra.tag }),
        })),
      ),
    ],
    blobs: [...blobs.values()].map(({ digest, size }, i) => ({ digest, size, there: there[i]! })),
  }
}

export function viewFailure(image: CopyImage, { code, message, hint }: ArchimageError): PlanView {
  return {
    ...{ source: nameOf(image), target: image.target.label, state: 'failed' },
    tags: image.tags.map(tag => ({ tag })),
    ...{ manifests: [], blobs: [] },
    error: { code, message, ...(hint === undefined ? {} : { hint }) },
  }
}

function sameSite({ source, target }: CopyImage): boolean {
  return source.site?.registry === target.site?.registry && source.site?.repository === target.site?.repository
}

/** Children first, as they will be written. */
function viewTree(node: PlannedManifest, entry: Descriptor | undefined): ManifestView[] {
  const { manifest, there, children } = node
  const { digest, mediaType, size } = node.descriptor
  const entries = manifest?.kind === 'index' ? manifest.manifests : []
  const platform = (entry ?? node.descriptor).platform
  const attestation = entry !== undefined && isAttestation(entry)
  return [
    ...children.flatMap(child =>
      viewTree(
        child,
        entries.find(one => one.digest === child.descriptor.digest),
      ),
    ),
    {
      ...{ digest, mediaType, size },
      ...(platform === undefined || attestation ? {} : { platform: formatPlatform(platform) }),
      ...(attestation ? { attestation } : {}),
      there,
    },
  ]
}
