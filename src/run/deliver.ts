import { ArchimageError, cancelled } from '../errors/error.ts'
import { assembleIndex, type Member } from '../manifests/assemble.ts'
import { configPlatform, parseImageConfig } from '../oci/config.ts'
import { describe, type ImageIndex, type ImageManifest } from '../oci/manifest.ts'
import type { Platform } from '../oci/platform.ts'
import { formatReference } from '../oci/reference.ts'
import type { Service } from '../project/project.ts'
import type { Store } from '../store/store.ts'
import { storeTransport } from '../transports/store.ts'
import { verifyImage } from '../verify/verify.ts'
import { withSources } from './blobs.ts'
import type { ServiceResult } from './events.ts'
import { toFailure } from './failure.ts'
import type { Publication, PublishTools, TagWish } from './publication.ts'
import { publish } from './publish.ts'
import type { RunRequest } from './run.ts'

/** An image of the run: what outputs (`-o`) are made of. */
export interface ServiceImage {
  readonly service: Service
  readonly index: ImageIndex
  readonly members: readonly Member[]
}

export interface Delivered {
  /** In the order of the request. */
  readonly services: readonly ServiceResult[]
  /** By service: why it is not where it should be. */
  readonly errors: ReadonlyMap<string, ArchimageError>
}

/** One index per service of which every cell that was asked for is right; named in the store. */
export function assembleImages(
  request: RunRequest,
  store: Store,
  manifestOf: (service: Service, platform: Platform) => ImageManifest | undefined,
): ServiceImage[] {
  const images: ServiceImage[] = []
  for (const service of request.services) {
    const manifests = request.platformsOf(service).map(platform => manifestOf(service, platform))
    if (!manifests.every(manifest => manifest !== undefined)) continue
    // What the index says of an image is what its config says, with the os.version of a windows base.
    const members = manifests.map(manifest => ({
      platform: configPlatform(parseImageConfig(store.read(manifest.config.digest))),
      manifest,
    }))
    const index = assembleIndex(members, {
      docker: request.settings.docker,
      annotations: request.indexAnnotations,
    })
    store.put(index.raw)
    images.push({ service, index, members })
  }
  const names = images.flatMap(({ service, index, members }) => [
    ...request.names(service).map(reference => ({ reference, manifest: index as ImageIndex | ImageManifest })),
    ...members.flatMap(({ platform, manifest }) =>
      request.archNames(service, platform).map(reference => ({ reference, manifest })),
    ),
  ])
  store.tagAll(
    names.map(({ reference, manifest }) => ({
      name: formatReference(reference),
      descriptor: describe(manifest),
      origin: 'built' as const,
    })),
  )
  return images
}

/**
 * Publishes complete services, where that was asked for, and looks up where each of them should be (DESIGN §5, publication is
 * a barrier). `stopped` is aborted when the run was given up for a reason of its own (--fail-fast).
 */
export async function deliver(
  images: readonly ServiceImage[],
  request: RunRequest,
  tools: PublishTools & { readonly stopped: AbortSignal },
): Promise<Delivered> {
  const errors = new Map<string, ArchimageError>()
  const held = request.push ? unpublished(images, request, tools) : undefined
  if (held) for (const { service } of images) errors.set(service.name, held)
  const publishing = request.push && !held && images.length > 0
  if (publishing) tools.emit({ type: 'phase', phase: 'publish' })
  const published = publishing
    ? await publish(
        images.map(image => publicationOf(image, request)),
        request.atomic,
        { ...tools, noClobber: request.noClobber ?? false },
      )
    : undefined
  for (const [service, error] of published?.failures ?? []) errors.set(service, error)
  const verified = new Map<string, ServiceResult['verified']>()
  const readable = request.push ? (published?.problems.size ?? 0) : images.length
  if (readable > 0 && !tools.signal.aborted) {
    tools.emit({ type: 'phase', phase: 'verify' })
    await Promise.all(
      images.map(async image => {
        const found = await lookUp(image, published?.problems.get(image.service.name), request, tools)
        if (found !== undefined) verified.set(image.service.name, [found])
      }),
    )
  }
  const services = request.services.map(service => {
    const image = images.find(candidate => candidate.service === service)
    const error = errors.get(service.name)
    return {
      service: service.name,
      image: service.image,
      ...(image ? { digest: image.index.digest } : {}),
      tags: (published?.tags ?? []).flatMap(({ service: name, ...tag }) => (name === service.name ? [tag] : [])),
      verified: verified.get(service.name) ?? [],
      ...(error ? { failure: toFailure(error) } : {}),
    }
  })
  return { services, errors }
}

/** Why nothing at all is published. */
function unpublished(
  images: readonly ServiceImage[],
  request: RunRequest,
  { signal, stopped }: { readonly signal: AbortSignal; readonly stopped: AbortSignal },
): ArchimageError | undefined {
  if (signal.aborted) return cancelled()
  if (stopped.aborted) return new ArchimageError('INCOMPLETE', cancelled(stopped.reason).message)
  if (request.atomic && request.services.some(service => !images.some(image => image.service === service)))
    return new ArchimageError('INCOMPLETE', 'not every service is complete, and --atomic was given', {
      hint: 'mend what failed, or publish the complete services without --atomic',
    })
  return undefined
}

/** All that a service's names need; the main one last. */
function publicationOf({ service, index, members }: ServiceImage, request: RunRequest): Publication {
  const [main, ...others] = request.names(service)
  const wishes: TagWish[] = [
    ...members.flatMap(({ platform, manifest }) =>
      request.archNames(service, platform).map(reference => ({ reference, manifest })),
    ),
    ...others.map(reference => ({ reference, manifest: index })),
    ...(main ? [{ reference: main, manifest: index }] : []),
  ]
  const untagged = wishes.map(({ reference: { tag: _, ...name }, manifest }) => ({ reference: name, manifest }))
  return {
    service: service.name,
    children: members.map(({ manifest }) => manifest),
    tags: request.byDigest ? untagged.slice(-1) : wishes,
  }
}

/** What was pushed has been read back by its publication; what was only built is looked up in the store. */
async function lookUp(
  { service, index, members }: ServiceImage,
  pushed: readonly string[] | undefined,
  request: RunRequest,
  { store, blobs, signal, emit }: PublishTools,
): Promise<ServiceResult['verified'][number] | undefined> {
  const [main] = request.names(service)
  const found = (where: string, problems: readonly string[]) => {
    const ok = problems.length === 0
    emit({ type: 'verified', service: service.name, where, ok, problems })
    return { where, ok, problems }
  }
  if (pushed && main) return found(formatReference(main), pushed)
  if (request.push) return undefined
  const expected = { platforms: members.map(({ platform }) => platform), digest: index.digest }
  const { problems } = await verifyImage(withSources(storeTransport(store, ''), blobs), index.digest, expected, {
    signal,
  })
  return found('store', problems)
}
