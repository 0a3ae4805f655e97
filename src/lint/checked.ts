import type { LintResult } from './finding.ts'

/** A Dockerfile with what its check found: what the formats write. */
export interface CheckedFile extends LintResult {
  /** As people know it, relative to the project where it is below. */
  readonly file: string
  /** Where it is; for one on standard input a name in the context. */
  readonly path: string
  readonly bytes: Uint8Array
  /** Empty where it could not be read as a Dockerfile. */
  readonly lines: readonly string[]
  /** All platforms that it was checked for. */
  readonly platforms: readonly string[]
}
