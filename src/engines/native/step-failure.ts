import { constants } from 'node:os'
import { ArchimageError } from '../../errors/error.ts'
import type { RunOp } from '../../plan/lowered.ts'
import type { StepEnd } from '../../sandbox/step.ts'
import { SUB_ID_REMEDY } from '../../sandbox/sub-ids.ts'
import type { StepSettings } from '../steps.ts'
import { type StepPlace, stepExplanation } from './step-explanation.ts'

/** Why a step failed, in words; `log` are the last lines that it said, `place` is where its files are. */
export function stepFailure(
  op: RunOp,
  end: StepEnd,
  settings: StepSettings,
  log: readonly string[],
  place: StepPlace,
): ArchimageError {
  const explained = stepExplanation(op, end, log, place)
  const [message, hint] = explained
    ? [`${ended(end)}: ${explained.message}`, explained.hint]
    : reasonOf(op, end, settings)
  return new ArchimageError('STEP_FAILED', message, { ...(hint ? { hint } : {}), details: { log, end } })
}

function reasonOf(op: RunOp, end: StepEnd, { limits }: StepSettings): [message: string, hint?: string] {
  const program = end.file ?? op.args[0]
  switch (end.reason) {
    case 'out-of-memory':
      return [
        `the step was killed: its memory was used up${limits.memory === undefined ? '' : ` (limit ${inWords(limits.memory)})`}`,
        limits.memory === undefined
          ? 'let fewer steps run at a time (--jobs), or give the machine more memory'
          : 'raise the limit: --resource memory=…',
      ]
    case 'out-of-processes':
      return [
        `${ended(end)}: no more processes could be started${limits.pids === undefined ? '' : ` (limit ${limits.pids})`}`,
        limits.pids === undefined
          ? 'let it start fewer at a time (make -j), or let fewer steps run (--jobs)'
          : 'raise the limit: --resource pids=…',
      ]
    case 'no-space':
      return [
        `${ended(end)}: no space left on the disk`,
        'free some space, for instance with: archimage cache prune; a tmpfs mount has the size that its size= says',
      ]
    case 'unmapped-id':
      return [`${ended(end)}: a user or group was needed that does not exist for this user`, SUB_ID_REMEDY]
    case 'exec-format':
      return [`${ended(end)}: ${program} is no program for this platform`]
    case 'not-found':
      return [`the step could not be started: ${program} does not exist in it`, missingHint(op)]
    case 'not-executable':
      return [`the step could not be started: ${program} may not be executed`, 'chmod +x it in an earlier step']
  }
  return [ended(end)]
}

/** How a step ended, in words. */
export function ended({ exitCode, signal }: Pick<StepEnd, 'exitCode' | 'signal'>): string {
  if (signal !== undefined) return `ended by ${signal}`
  // How shells tell that a program of theirs was ended.
  const name = Object.entries(constants.signals).find(([, number]) => number === exitCode - 128)?.[0]
  return `exit code ${exitCode}${name === undefined ? '' : `: a program was ended by ${name}`}`
}

function missingHint({ args }: RunOp): string {
  return args[0] === '/bin/sh' && args[1] === '-c'
    ? 'RUN needs a shell in the image; without one write the JSON form: RUN ["/program", "argument"]'
    : 'check the path and the base; SHELL and the JSON form name programs of the image'
}

function inWords(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
  let [value, unit] = [bytes, 0]
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1]
  return `${Number(value.toFixed(1))} ${units[unit]}`
}
