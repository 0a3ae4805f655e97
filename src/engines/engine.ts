import type { Descriptor, ImageManifest } from '../oci/manifest.ts'
import type { Compression } from '../oci/media-types.ts'
import type { Platform } from '../oci/platform.ts'
import type { ContextView } from '../plan/context-view.ts'
import type { Lowered } from '../plan/lowered.ts'
import type { Service } from '../project/project.ts'
import type { Emit } from '../run/events.ts'
import type { Store } from '../store/store.ts'
import type { TimePolicy } from './native/times.ts'
import type { StepSettings } from './steps.ts'

export interface BuildOptions {
  readonly docker: boolean
  readonly compression: Compression
  readonly level?: number
  readonly times: TimePolicy
  readonly annotations: Readonly<Record<string, string>>
  readonly workers?: number
}

/** One service on one platform, ready to be built. */
export interface Cell {
  readonly service: Service
  readonly platform: Platform
  readonly lowered: Lowered
  readonly context: ContextView
  /** Named contexts that are directories. */
  readonly directories: ReadonlyMap<string, ContextView>
  readonly options: BuildOptions
  readonly steps: StepSettings
  /** `NAME=value`: variables of proxies for RUN steps, no part of any key. */
  readonly proxies: readonly string[]
}

/** What a build may use of the run that it is part of. */
export interface BuildTools {
  readonly store: Store
  readonly emit: Emit
  readonly signal: AbortSignal
  /** Brings a blob of a base image into the store. */
  readonly fetch: (descriptor: Descriptor) => Promise<void>
}

export interface Problem {
  readonly message: string
  readonly hint?: string
}

/** One cell in, one image in the store out; an engine never pushes (DESIGN §3). */
export interface Engine {
  readonly name: string
  probe(): Promise<{
    readonly platforms: Readonly<Record<string, 'native' | 'emulated' | 'no'>>
    readonly features: readonly string[]
    readonly problems: readonly Problem[]
  }>
  build(cell: Cell, tools: BuildTools): Promise<ImageManifest>
}
