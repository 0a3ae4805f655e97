import type { Dockerfile, Instruction, Range, Stage } from '../dockerfile/ast.ts'
import type { Platform } from '../oci/platform.ts'
import type { CheckOptions } from './check-options.ts'
import type { ImageUse, StageView } from './stage-views.ts'
import type { Step } from './walk.ts'

/** `error`: the image would be wrong, or archimage refuses to build it. */
export type Level = 'error' | 'warning'

/** Says that a rule is broken: at a place, or at an instruction with the comments above it; else at what the check is about. */
export type Report = (message: string, at?: Range | Instruction) => void

/** What all checks of a Dockerfile for one platform can look at. */
export interface FileView {
  readonly dockerfile: Dockerfile
  readonly stages: readonly StageView[]
  readonly target: Stage
  readonly platform: Platform
  /** All platforms that the Dockerfile is for. */
  readonly platforms: readonly Platform[]
  /** Where stages with --platform=$BUILDPLATFORM run. */
  readonly host: Platform
  /** --build-arg and the like. */
  readonly args: Readonly<Record<string, string>>
  /** Automatic arguments and those before the first FROM; `defaults`: if there were no --build-arg. */
  readonly globals: ReadonlyMap<string, string>
  readonly defaults: ReadonlyMap<string, string> | undefined
  readonly options: CheckOptions
  readonly ruleNames: readonly string[]
  /** Whether .dockerignore leaves a source of COPY out; absent where there is none. */
  readonly ignored?: (source: string) => boolean
  /** What sources of COPY take from the context, with its modes; absent where there is none to look at. */
  readonly modes?: (sources: readonly string[]) => readonly FileMode[]
  /** Why the image may be of another platform. */
  readonly platformException?: string
}

export interface FileMode {
  readonly path: string
  readonly mode: number
}

/** A Dockerfile that shows a rule, and what the check has to know beside it. */
export interface Example {
  readonly dockerfile: string
  /** Default: linux/amd64 and linux/arm64. */
  readonly platforms?: readonly string[]
  readonly dockerignore?: string
  /** Images by reference: the platforms of an index, or the one of a single image. */
  readonly images?: Readonly<Record<string, { readonly index: boolean; readonly platforms: readonly string[] }>>
  readonly modes?: readonly FileMode[]
}

/** A check: what it is called, what it is for, and the function that does it. docs/checks.md is written from these. */
export interface Rule {
  readonly name: string
  /** One sentence; BuildKit's own words for its rules, since tools compare them. */
  readonly description: string
  /** Where BuildKit documents it. Absent for rules of our own, and for one of BuildKit's. */
  readonly url?: string
  readonly from: 'buildkit' | 'archimage'
  readonly level: Level
  /** Off unless `experimental=` names it. */
  readonly experimental?: true
  /** `# check=skip=` in front of an instruction does nothing for it, in BuildKit and so here. */
  readonly wholeFile?: true
  /** What it cannot do without: the images that are named, or the files of the context. */
  readonly needs?: 'images' | 'context'
  /** What to do about it, in one clause. */
  readonly remedy: string
  /** Why; Markdown. */
  readonly about: string
  readonly bad: Example
  readonly good: Example
  readonly check: {
    readonly file?: (file: FileView, report: Report) => void
    /** Each instruction as it is written, also in stages that nobody needs. */
    readonly instruction?: (instruction: Instruction, report: Report, file: FileView) => void
    /** Each FROM, its words expanded. */
    readonly stage?: (stage: StageView, report: Report, file: FileView) => void
    /** Each instruction of the stages that are looked at, with the variables that hold there. */
    readonly step?: (step: Step, report: Report, file: FileView) => void
    /** Each image that such a stage stands on, copies from or mounts. */
    readonly image?: (use: ImageUse, report: Report, file: FileView) => void
  }
}
