import type { CopyOptions } from '../copy/request.ts'
import type { Place } from '../errors/error.ts'
import type { HostOptions } from '../registry/registry.ts'

/** What a file asks to be kept in step. */
export interface SyncEntry {
  /** Where in the file. */
  readonly place: Place
  /** A whole registry, a repository with its tags, or one image. */
  readonly kind: 'registry' | 'repository' | 'image'
  /** Registry, repository or image, as the file says it. */
  readonly source: string
  /** The same at the other end; where the file says it. */
  readonly target?: string
  /** Tags and digests that the file names one by one: nothing is listed. */
  readonly names?: readonly string[]
  readonly tags: (tag: string) => boolean
  readonly repositories: (name: string) => boolean
  readonly options: CopyOptions
}

export interface SyncFile {
  readonly entries: readonly SyncEntry[]
  /** How registries are to be asked. */
  readonly hosts: Readonly<Record<string, HostOptions>>
  /** Images at a time. */
  readonly jobs?: number
  /** docker's and podman's credentials are not to be used. */
  readonly ownCredentialsOnly: boolean
  /** What of it is not done, by name. */
  readonly warnings: readonly string[]
}

export const every = (): boolean => true
