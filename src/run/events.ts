/** `service platform`: how events, records and reports name a cell. */
export interface CellName {
  readonly service: string
  /** `formatPlatform`. */
  readonly platform: string
}

export type CellState = 'built' | 'unchanged' | 'failed' | 'not-run' | 'cancelled'
export type TagState = 'moved' | 'already' | 'kept' | 'restored'

/** A failure as reports show it: place, cause, remedy. */
export interface Failure {
  readonly code: string
  readonly message: string
  readonly hint?: string
  readonly file?: string
  readonly line?: number
  /** Where in `line` it begins, and the last line that belongs to it. */
  readonly column?: number
  readonly endLine?: number
  readonly excerpt?: readonly string[]
  readonly excerptLine?: number
  /** The last lines of the step's log, and where all of it is. */
  readonly log?: readonly string[]
  readonly logFile?: string
}

/** Everything that a run tells. Reporters fold these into what they show; no event holds text for the terminal. */
export type RunEvent =
  | {
      readonly type: 'run-started'
      readonly cells: readonly CellName[]
      readonly jobs: number
      readonly project: string
    }
  | { readonly type: 'cell-started'; readonly cell: CellName }
  /** Which engine builds it, once that is known; a cell that need not be built has none. */
  | {
      readonly type: 'cell-engine'
      readonly cell: CellName
      readonly engine: string
      /** Whether RUN steps of it run under emulation. */
      readonly emulated: boolean
      /** Why it is not the native one. */
      readonly why?: string
    }
  | {
      readonly type: 'cell-step'
      readonly cell: CellName
      /** "COPY dist/app /app", with the place in the Dockerfile. */
      readonly step: string
      readonly number: number
      readonly total: number
      readonly line?: number
      readonly cached: boolean
      /** A RUN step that runs now, or waits for its turn: `step-ended` tells when it is over. */
      readonly runs?: boolean
      readonly emulated?: boolean
      /** The cache of other machines that it was taken from. */
      readonly from?: string
    }
  /** A RUN step of a cell is over: it ran now, or what it left was known (then `seconds` is how long it took when it ran). */
  | ({ readonly type: 'step-ended'; readonly cell: CellName; readonly number: number } & StepFacts)
  /** Whole lines of one step, or a piece of a very long one. */
  | {
      readonly type: 'cell-log'
      readonly cell: CellName
      readonly text: string
      /** The number of the step that says it, where there is one. */
      readonly step?: number
    }
  | {
      readonly type: 'cell-ended'
      readonly cell: CellName
      readonly state: CellState
      /** Why it was built or not: "src/api/main.js changed", "needs base, which failed". */
      readonly reason: string
      readonly digest?: string
      readonly size?: number
      readonly seconds: number
      /** The lower variant that a base image was taken for, when there was none of its own: "linux/arm/v6". */
      readonly fallback?: string
      readonly failure?: Failure
    }
  /** Bytes on their way: a blob pulled or pushed, a big layer being written. `total` 0 when not known. */
  | {
      readonly type: 'transfer'
      readonly id: string
      readonly direction: 'pull' | 'push' | 'write'
      readonly what: string
      readonly current: number
      readonly total: number
      readonly done: boolean
    }
  /** Before the first RUN step of the run. */
  | ({ readonly type: 'sandbox' } & SandboxSummary)
  | { readonly type: 'phase'; readonly phase: 'prepare' | 'build' | 'publish' | 'verify' }
  | {
      readonly type: 'tag'
      readonly service: string
      readonly reference: string
      readonly digest: string
      readonly state: TagState
    }
  | {
      readonly type: 'verified'
      readonly service: string
      readonly where: string
      readonly ok: boolean
      readonly problems: readonly string[]
    }
  | { readonly type: 'warning'; readonly message: string; readonly cell?: CellName }
  | { readonly type: 'run-ended'; readonly result: RunResult }

/** What confined the RUN steps of a run. */
export interface SandboxSummary {
  /** `runc`, `crun`, `namespaces`, `chroot`. */
  readonly runtime: string
  readonly rootless: boolean
  /** How roots are made: `overlay`, `copy`. */
  readonly roots: string
  /** What the default network is: `pasta`, `slirp4netns`, `host`. */
  readonly network: string
  /** What is weaker here than it would be elsewhere. */
  readonly remarks: readonly string[]
}

/** One RUN step in the result file. */
export interface StepFacts {
  /** "RUN make", with the place in the Dockerfile. */
  readonly step: string
  readonly line: number
  readonly seconds: number
  readonly emulated: boolean
  /** What would let it run without an emulator, where it compiles something. */
  readonly native?: string
  /** It ran in an earlier build. */
  readonly cached: boolean
  /** It ran for another cell of this run that needs the same step. */
  readonly shared: boolean
  /** The cache of other machines that it was taken from now. */
  readonly from?: string
}

/** One cell in the result file. */
export interface CellResult extends CellName {
  readonly state: CellState
  readonly reason: string
  readonly engine: string
  readonly emulated: boolean
  readonly digest?: string
  readonly configDigest?: string
  /** Bytes of manifest, config and layers, compressed. */
  readonly size?: number
  readonly seconds: number
  /** The lower variant that a base image was taken for, when there was none of its own: "linux/arm/v6". */
  readonly fallback?: string
  readonly failure?: Failure
  /** Its RUN steps in the order in which they ended. */
  readonly steps?: readonly StepFacts[]
}

export interface ServiceResult {
  readonly service: string
  readonly image: string
  /** Digest of the index, when every platform of the service is there. */
  readonly digest?: string
  readonly tags: readonly { readonly reference: string; readonly digest: string; readonly state: TagState }[]
  /** Where it was read back, and what did not hold there. */
  readonly verified: readonly { readonly where: string; readonly ok: boolean; readonly problems: readonly string[] }[]
  /** Why it was not published, though its cells are right. */
  readonly failure?: Failure
}

/** `.archimage/result.json`; schema/result.schema.json describes it. */
export interface RunResult {
  readonly version: 1
  readonly project: string
  readonly started: string
  readonly seconds: number
  readonly complete: boolean
  readonly exitCode: number
  readonly cells: readonly CellResult[]
  readonly services: readonly ServiceResult[]
  /** When a RUN step ran. */
  readonly sandbox?: SandboxSummary
  readonly warnings: readonly string[]
}

export type Emit = (event: RunEvent) => void
