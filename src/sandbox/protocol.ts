import { ArchimageError, isArchimageError, systemError } from '../errors/error.ts'
import type { NetworkTool } from './network.ts'
import type { Runtime } from './oci-runtime.ts'
import type { Step, StepEnd } from './step.ts'

/** From archimage to the process that runs its steps. */
export type Request =
  | { readonly setup: Setup }
  | { readonly run: number; readonly step: Step; readonly cgroups: readonly string[] }
  | { readonly kill: number }

/** And back. */
export type Answer =
  | { readonly ready: Verdict }
  | { readonly run: number; readonly end: StepEnd }
  /** Run 0 is the setup. */
  | { readonly run: number; readonly failure: Failure }

export interface Setup {
  /** A directory of ours on the disk of the snapshots. */
  readonly directory: string
  /** What may start steps, the best first. */
  readonly runtimes: readonly Runtime[]
  readonly networks: readonly NetworkTool[]
  /** Directories of the cgroups for everything. */
  readonly cgroups: readonly string[]
  /** What was found to work in an earlier run. */
  readonly known?: Verdict
}

/** What works on this machine. */
export interface Verdict {
  readonly runtime: Runtime
  /** Undefined: the network of this machine. */
  readonly network?: NetworkTool
  readonly roots: 'overlay' | 'copy'
  readonly rootless: boolean
  /** In a user namespace in which only the user exists. */
  readonly singleUser: boolean
  /** Why overlays do not work. */
  readonly problem?: string
  /** Why what is better does not serve, in the words of those who tried. */
  readonly refused: readonly string[]
}

/** An error on its way to the other process. */
export interface Failure {
  readonly code: string | undefined
  readonly message: string
  readonly hint?: string | undefined
  readonly stack?: string | undefined
}

export function failureOf(error: unknown, doing: string): Failure {
  let told = error
  try {
    told = systemError(error, doing)
  } catch {}
  const { message, stack } = told as Error
  if (isArchimageError(told)) return { code: told.code, message, hint: told.hint }
  return { code: undefined, message, stack }
}

export function errorOf({ code, message, hint, stack }: Failure): Error {
  if (code !== undefined) return new ArchimageError(code as 'STEP_FAILED', message, hint === undefined ? {} : { hint })
  return Object.assign(new Error(message), stack === undefined ? {} : { stack })
}
