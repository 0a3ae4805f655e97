import type { Dockerfile } from '../dockerfile/ast.ts'
import type { ErrorCode } from '../errors/codes.ts'
import type { Descriptor, ImageManifest } from '../oci/manifest.ts'
import type { Compression } from '../oci/media-types.ts'
import type { Platform } from '../oci/platform.ts'
import type { ContextView } from '../plan/context-view.ts'
import type { Lowered } from '../plan/lowered.ts'
import type { StepPolicy } from '../plan/run-op.ts'
import type { Service } from '../project/project.ts'
import type { Emit } from '../run/events.ts'
import type { Store } from '../store/store.ts'
import type { CachedStep, ImportedStep } from './cached-steps.ts'
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

/** What `lowered` was made of, for engines that read Dockerfiles themselves. */
export interface CellSource {
  readonly dockerfile: Dockerfile
  /** The file as it is, with the ends of its lines. */
  readonly text: string
  /** Name of the stage that was asked for. */
  readonly target?: string
  readonly args: Readonly<Record<string, string>>
  readonly policy: StepPolicy
  /** The context, where it is a folder of this machine that can be read as it is. */
  readonly folder?: ContextFolder
  /** Paths that are no part of any context, absolute or relative to it. */
  readonly exclude: readonly string[]
}

export interface ContextFolder {
  /** Absolute, without links. */
  readonly root: string
  /** The ignore file that applies. */
  readonly ignoreFile?: string
}

/** One service on one platform, ready to be built. */
export interface Cell {
  readonly service: Service
  readonly platform: Platform
  readonly source: CellSource
  readonly lowered: Lowered
  readonly context: ContextView
  /** Named contexts that are directories. */
  readonly directories: ReadonlyMap<string, ContextView>
  readonly options: BuildOptions
  readonly steps: StepSettings
  /** `NAME=value`: variables of proxies for RUN steps, no part of any key. */
  readonly proxies: readonly string[]
}

/** The steps of one image for a cache: those of its own stages, and of the stages that they take files from. */
export interface ExportedSteps {
  readonly own: readonly CachedStep[]
  readonly others: readonly CachedStep[]
}

/** What a build may use of the run that it is part of. */
export interface BuildTools {
  readonly store: Store
  readonly emit: Emit
  readonly signal: AbortSignal
  /** Brings a blob of a base image into the store. */
  readonly fetch: (descriptor: Descriptor) => Promise<void>
  /** As many RUN steps at a time. */
  readonly jobs: number
  /** Finds what a step left on another machine, by its key (`--cache-from`). */
  readonly imported?: (key: string) => Promise<ImportedStep | undefined>
  /** Gets the RUN steps of the image once it is built (`--cache-to`): with `max` those of all its stages. */
  readonly exported?: { readonly mode: 'min' | 'max'; readonly take: (steps: ExportedSteps) => void }
}

export interface Problem {
  readonly message: string
  readonly hint?: string
  /** Of the error that it makes where nothing else can be done; ENGINE_MISSING when it is absent. */
  readonly code?: ErrorCode
}

/** How programs of a platform run in an engine. */
export interface RunAbility {
  readonly how: 'native' | 'emulated' | 'no'
  /** Why not. */
  readonly problem?: Problem
}

/** What an engine can do on this machine. */
export interface Abilities {
  /** How RUN steps of a platform are executed; undefined where that is not known before the build. */
  readonly runs?: (platform: Platform) => RunAbility | Promise<RunAbility>
  /** Why the engine cannot be used at all; empty when it can. */
  readonly problems: readonly Problem[]
}

/** One cell in, one image in the store out; an engine never pushes (DESIGN §3). */
export interface Engine {
  readonly name: string
  probe(signal: AbortSignal): Promise<Abilities>
  /** What the engine, being as it is, lacks for this cell; undefined when it lacks nothing. */
  lacks?(cell: Cell): Problem | undefined
  build(cell: Cell, tools: BuildTools): Promise<ImageManifest>
  /** Ends what the builds of a run left open. Called once, after the last one. */
  close?(): Promise<void>
}
