import { type ArchimageError, cancelled, isArchimageError, systemError } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import type { ImageManifest, Manifest } from '../oci/manifest.ts'
import type { Reference } from '../oci/reference.ts'
import type { Registry } from '../registry/registry.ts'
import type { Repository } from '../registry/repository.ts'
import type { Store } from '../store/store.ts'
import type { BlobFetcher } from './blobs.ts'
import type { Emit, TagState } from './events.ts'

/** One tag to be written: which manifest it shall name. A reference without tag: content by digest only. */
export interface TagWish {
  readonly reference: Reference
  readonly manifest: Manifest
}

/** One service on its way out: all that its tags need, the main tag last. */
export interface Publication {
  readonly service: string
  readonly children: readonly ImageManifest[]
  readonly tags: readonly TagWish[]
}

export interface TagOutcome {
  readonly service: string
  readonly reference: string
  readonly digest: Digest
  readonly state: TagState
}

export interface PublishTools {
  readonly store: Store
  readonly registry: Registry
  readonly blobs: BlobFetcher
  readonly emit: Emit
  readonly signal: AbortSignal
  readonly noClobber?: boolean
}

export function repositoryOf(reference: Reference): string {
  return `${reference.registry}/${reference.repository}`
}

/** Where a publication is written and read back: the registry itself, never a mirror of it. */
export function target(reference: Reference, tools: PublishTools): Repository {
  return tools.registry.repository(reference).upstream()
}

/** What stopped a publication, as an error of ours; bugs are thrown on. */
export function failure(error: unknown, signal: AbortSignal): ArchimageError {
  if (signal.aborted) return cancelled(signal.reason)
  if (isArchimageError(error)) return error
  return systemError(error, 'publishing')
}
