import { formatPlatform } from '../oci/platform.ts'
import type { Ability } from './ability.ts'
import { type Explanation, explain, type Question } from './explain.ts'
import { type FailedProgram, failedProgram } from './failed-program.ts'

/** A step that failed: what its end and its output tell, and how to look into its root. */
export interface FailedStep extends Omit<Question, 'program'> {
  readonly exitCode: number
  /** What the runtime itself could not start, where it says so. */
  readonly program?: FailedProgram
  /** The last lines of the output. */
  readonly lines: readonly string[]
  /** Of the step's platform. */
  readonly ability?: Ability
}

/** Signals by which a program ends when its emulator is at fault: SIGILL, SIGTRAP, SIGBUS, SIGSEGV. */
const EMULATOR_SIGNALS = [4, 5, 7, 11]

/**
 * Why a step failed, where it is that a program did not start or that the emulator crashed: which file, which architecture it
 * has, which was needed, what to do. Undefined for every other failure.
 */
export function explainStep(step: FailedStep): Explanation | undefined {
  const { exitCode, ability, platform, lines } = step
  const told = step.program ?? failedProgram(lines)
  // A "not found" counts when the step ended by it: programs print such lines and go on.
  const program = told?.kind === 'exec-format' || [126, 127, 255].includes(exitCode) ? told : undefined
  const explained = program && explain({ ...step, program })
  if (explained !== undefined) return explained
  if (program?.kind === 'exec-format' && ability?.problem !== undefined) return ability.problem
  const crash = lines.findLast(line => line.startsWith('qemu: uncaught target signal '))
  const [, signal, words] = /^qemu: uncaught target signal (\d+) \(([^)]*)\)/.exec(crash ?? '') ?? []
  if (ability?.how !== 'emulated' || signal === undefined || !EMULATOR_SIGNALS.includes(Number(signal)))
    return undefined
  const name = formatPlatform(platform)
  return {
    message: `the emulator of ${name} crashed (${words}): more often its fault than the program's`,
    hint: `try a newer QEMU: archimage emulators install --force --image ${name}\nor let the step run natively: a stage with --platform=$BUILDPLATFORM that cross-compiles`,
  }
}
