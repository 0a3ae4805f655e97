import { ArchimageError } from '../errors/error.ts'
import { redact } from '../errors/redact.ts'
import type { Op } from '../plan/lowered.ts'
import type { Cell } from './engine.ts'
import { ended } from './native/step-failure.ts'

/** What is known of a step that failed in another engine. */
export interface StepFailure {
  readonly op: Op
  readonly exitCode?: number
  /** What the engine says, where there is no exit code. */
  readonly said: string
}

/** STEP_FAILED with the instruction as its place; the last lines of its output are added by whoever reports it. */
export function stepFailed({ op, exitCode, said }: StepFailure, { lowered }: Pick<Cell, 'lowered'>): ArchimageError {
  const hint = hintFor(said, exitCode)
  return new ArchimageError('STEP_FAILED', exitCode === undefined ? redact(said) : ended({ exitCode }), {
    place: { file: lowered.file, line: op.line, column: op.range.start.column, endLine: op.range.end.line },
    ...(exitCode === undefined ? {} : { details: { exitCode } }),
    ...(hint === undefined ? {} : { hint }),
  })
}

function hintFor(said: string, exitCode: number | undefined): string | undefined {
  if (/exec format error/i.test(said))
    return 'a program of another architecture was started: install its emulator where the engine runs, or take a base of the right platform'
  if (exitCode === 137)
    return 'was the memory enough? give the machine of the engine more, or build fewer cells at a time: --jobs'
  if (/no space left on device/i.test(said)) return 'free some space where the engine keeps its images and its cache'
  return undefined
}
