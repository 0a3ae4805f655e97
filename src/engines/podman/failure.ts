import { ArchimageError } from '../../errors/error.ts'
import { redact } from '../../errors/redact.ts'
import type { Op } from '../../plan/lowered.ts'
import type { Cell } from '../engine.ts'
import { stepFailed } from '../step-failure.ts'

/** Why `podman build` ended with an error, in our terms. `said` is what it wrote on standard error. */
export function podmanFailure(
  cell: Pick<Cell, 'lowered'>,
  current: Op | undefined,
  said: readonly string[],
): ArchimageError {
  const message = (said.findLast(line => line.startsWith('Error: ')) ?? said.at(-1) ?? 'it does not say why').replace(
    /^Error: /,
    '',
  )
  const [, step] = /^(?:error )?building at STEP "[\s\S]*": ([\s\S]*)$/.exec(message) ?? []
  const runtime = said.findLast(line => line.startsWith('error running container: '))
  if (current && step !== undefined) {
    const [, code] = /: exit status (\d+)$/.exec(step) ?? []
    const killed = said.some(line => line.startsWith('container exited on killed'))
    const exitCode = killed ? 137 : runtime !== undefined || code === undefined ? undefined : Number(code)
    return stepFailed({ op: current, said: runtime ?? step, ...(exitCode === undefined ? {} : { exitCode }) }, cell)
  }
  return new ArchimageError('CELL_FAILED', `podman could not build this: ${redact(message)}`, {
    ...(/no space left/i.test(message) ? { hint: 'free some space: podman system prune' } : {}),
  })
}
