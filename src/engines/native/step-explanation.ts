import type { Explanation } from '../../emulation/explain.ts'
import { explainStep } from '../../emulation/explain-step.ts'
import { type FailedProgram, failedProgram } from '../../emulation/failed-program.ts'
import { directoriesRoot } from '../../emulation/root.ts'
import type { Platform } from '../../oci/platform.ts'
import type { RunOp } from '../../plan/lowered.ts'
import type { StepEnd } from '../../sandbox/step.ts'
import type { Ability } from '../ability.ts'

/** Where a failed step ran. */
export interface StepPlace {
  /** Directories of its root, the uppermost first. */
  readonly directories: readonly string[]
  readonly platform: Platform
  readonly ability: Ability
}

/** Why a program did not start in a step, by looking at its file; undefined for other failures, and where that tells nothing. */
export function stepExplanation(
  op: RunOp,
  end: StepEnd,
  log: readonly string[],
  { directories, platform, ability }: StepPlace,
): Explanation | undefined {
  const program = direct(op, end) ?? failedProgram(log)
  if (program !== undefined && isMounted(op, program.file)) return undefined
  const found = explainStep({
    ...{ platform, lines: log, exitCode: end.exitCode, cwd: op.cwd },
    ...(program === undefined ? {} : { program }),
    root: directoriesRoot(directories),
    path: op.env.findLast(one => one.startsWith('PATH='))?.slice('PATH='.length) ?? '',
    ability,
  })
  // A step that could not be started for want of its first program is told by what kind of step it is.
  return end.reason === 'not-found' && found?.file === undefined ? undefined : found
}

/** The program of the step itself, where that is what was not started. */
function direct({ args }: RunOp, { reason }: StepEnd): FailedProgram | undefined {
  if (reason !== 'exec-format' && reason !== 'not-found' && reason !== 'not-executable') return undefined
  return { file: args[0]!, kind: reason }
}

/** What is mounted into the step is not in the directories. */
function isMounted({ mounts, cwd }: RunOp, file: string): boolean {
  const path = file.startsWith('/') ? file : `${cwd}/${file}`
  return (
    path.startsWith('/dev/') || mounts.some(({ target }) => target !== undefined && `${path}/`.startsWith(`${target}/`))
  )
}
