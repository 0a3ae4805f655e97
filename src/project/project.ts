import type { Platform } from '../oci/platform.ts'

/** How times inside the layers of a service come about (DESIGN §4, times). */
export type Timestamps = 'content' | 'keep' | 'commit'

/** One image that the project builds, for each of its platforms. All paths are absolute. */
export interface Service {
  readonly name: string
  /** Image name without registry and tag: `ai-infra-backend`. */
  readonly image: string
  readonly context: string
  readonly dockerfile: string
  /** Dockerfiles of single platforms, by `formatPlatform`; they win over `dockerfile`. */
  readonly dockerfiles: Readonly<Record<string, string>>
  /** There are only Dockerfiles of single platforms, `dockerfile` is the first of them: ask `dockerfileFor`. */
  readonly platformDockerfilesOnly?: true
  readonly platforms: readonly Platform[]
  readonly args: Readonly<Record<string, string>>
  readonly target?: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  /** Named contexts (`--build-context name=value`). */
  readonly buildContexts: Readonly<Record<string, string>>
  readonly prebuild?: string | readonly string[]
  readonly timestamps: Timestamps
  readonly modes: 'context' | 'git'
  /** Why the final stage may be of another platform than the one that is built. */
  readonly platformException?: string
  /** How discovery came to it, for `plan`, `ls` and `init`: "the COPY sources are below the project's root". */
  readonly because: string
}

export interface Project {
  readonly root: string
  /** archimage.yaml, when there is one. */
  readonly file?: string
  /** `harbor.example.com/ai-infra`, when one is configured. */
  readonly registry?: string
  readonly tag: string
  /** Further tags, written with the main one. */
  readonly extraTags: readonly string[]
  /** Pattern of tags of one platform: `{tag}-{arch}` or `{image}-{arch}:{tag}`; used with --arch-tags. */
  readonly archTags: string
  readonly platforms: readonly Platform[]
  readonly services: readonly Service[]
  readonly warnings: readonly string[]
}
