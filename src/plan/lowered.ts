import type { Range } from '../dockerfile/ast.ts'
import type { MountSharing } from '../dockerfile/mounts.ts'
import type { ImageConfig } from '../oci/config.ts'
import type { ImageManifest } from '../oci/manifest.ts'
import type { Platform } from '../oci/platform.ts'
import type { RemoteSource } from './remote.ts'

/** An image of one platform that a stage stands on or copies from. */
export interface BaseImage {
  /** As people know it: `alpine:3.20`, `service base`. */
  readonly name: string
  readonly manifest: ImageManifest
  readonly config: ImageConfig
  readonly platform: Platform
  /** False when a lower variant serves the platform that was asked for. */
  readonly exact: boolean
  /** The service of this project that the image comes from. */
  readonly service?: string
  /** Where missing blobs come from: a whole reference without tag, or undefined for the store alone. */
  readonly repository?: string
}

/** Where COPY, ADD and mounts take their files from. */
export type CopySource =
  /** `COPY --from=scratch`: an empty folder. */
  | { readonly kind: 'scratch' }
  | { readonly kind: 'context' }
  | { readonly kind: 'stage'; readonly stage: number }
  | { readonly kind: 'image'; readonly image: BaseImage }
  | { readonly kind: 'directory'; readonly path: string }

interface OpBase {
  readonly line: number
  readonly range: Range
  /** Short text for progress: "COPY dist/app /app". */
  readonly label: string
}

/** COPY or ADD with every word expanded; `dest` is absolute and keeps a trailing slash. */
export interface CopyOp extends OpBase {
  readonly kind: 'copy'
  readonly add: boolean
  readonly from: CopySource
  readonly sources: readonly string[]
  /** Those of `sources` that are URLs or git repositories; the others are paths. */
  readonly remotes?: readonly { readonly word: string; readonly from: RemoteSource }[]
  readonly files: readonly { readonly name: string; readonly content: string }[]
  readonly dest: string
  readonly chown?: string
  readonly chmod?: string
  readonly link: boolean
  readonly parents: boolean
  readonly excludes: readonly string[]
  /** Whether archives are unpacked: ADD's local ones unless it says otherwise. */
  readonly unpack: boolean
}

export interface WorkdirOp extends OpBase {
  readonly kind: 'workdir'
  readonly path: string
  readonly user: string
}

interface MountPlace {
  /** Absolute, cleaned. */
  readonly target: string
}

/** Who a file in the step belongs to. */
interface MountOwner {
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

/** What one `RUN --mount`, or a heredoc that is run as a file, puts into the root of a step. */
export type RunMount =
  | (MountPlace & {
      readonly kind: 'bind'
      readonly from: CopySource
      /** In the source, absolute. */
      readonly path: string
      /** Otherwise the step may write there, and what it writes is dropped. */
      readonly readOnly: boolean
    })
  | (MountPlace & {
      readonly kind: 'cache'
      readonly id: string
      readonly sharing: MountSharing
      /** What a new directory begins with. */
      readonly from: CopySource
      readonly path: string
      readonly owner?: MountOwner
      readonly readOnly: boolean
    })
  | (MountPlace & { readonly kind: 'tmpfs'; readonly size?: number })
  /** A file at `target`, a variable, or both. */
  | ({
      readonly kind: 'secret'
      readonly id: string
      readonly target?: string
      readonly env?: string
      readonly required: boolean
    } & MountOwner)
  | (MountPlace & { readonly kind: 'ssh'; readonly id: string; readonly required: boolean } & MountOwner)
  /** The script of a heredoc that begins with `#!`. */
  | (MountPlace & { readonly kind: 'script'; readonly content: string })

/** A RUN step with every word expanded. Values of secrets, proxies and limits are no part of it. */
export interface RunOp extends OpBase {
  readonly kind: 'run'
  readonly args: readonly string[]
  /** `NAME=value`, in the order that BuildKit gives. */
  readonly env: readonly string[]
  readonly cwd: string
  readonly user: string
  /** Parents before what is mounted inside them. */
  readonly mounts: readonly RunMount[]
  readonly network: StepNetwork
  /** `RUN --security=insecure`. */
  readonly insecure: boolean
  readonly hostname: string
}

export type StepNetwork = 'default' | 'none' | 'host'

export type Op = CopyOp | WorkdirOp | RunOp

export interface LoweredStage {
  readonly index: number
  /** `build`, or `stage-1` for one without a name. */
  readonly name: string
  readonly base:
    | { readonly kind: 'scratch' }
    | { readonly kind: 'image'; readonly image: BaseImage }
    | { readonly kind: 'stage'; readonly stage: number }
  /** The named context whose files it stands on, where that is no image; they are its first op. */
  readonly files?: string
  /** Each op makes one layer. */
  readonly ops: readonly Op[]
  /** Config and history as they stand at the end of the stage, with an empty rootfs. */
  readonly config: ImageConfig
  readonly platform: Platform
  /** A named context of the stage's name stands in for it: none of its instructions counts. */
  readonly replaced?: true
}

/** What a name in `--from` or in a mount turned out to be. */
export interface NamedSource {
  /** Of the instruction; of its FROM for triggers of a base. */
  readonly range: Range
  readonly name: string
  readonly source: CopySource
}

/** A Dockerfile for one platform, with everything expanded and resolved: only what the target needs. */
export interface Lowered {
  readonly file: string
  readonly target: LoweredStage
  /** By index in the Dockerfile; the target and what it needs. */
  readonly stages: ReadonlyMap<number, LoweredStage>
  readonly bases: readonly BaseImage[]
  readonly sources: readonly NamedSource[]
  readonly warnings: readonly string[]
}
