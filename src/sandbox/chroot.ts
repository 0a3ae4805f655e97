import { constants } from 'node:os'
import { withMemoryProgram } from '../sys/memory-program.ts'
import { chrootCalls } from './launch-calls.ts'
import { launchProgram } from './launch-program.ts'
import { endOf } from './namespaces.ts'
import type { Running } from './oci-runtime.ts'
import { type Output, startWithPipes } from './output.ts'
import { endTree } from './processes.ts'
import type { Prepared } from './spec.ts'
import type { Step } from './step.ts'

/** Starts a step with nothing around it but chroot(2), capabilities and limits: for where no namespace can be made. */
export function runInChroot(step: Step, prepared: Prepared, output: Output): Running {
  const program = launchProgram(chrootCalls(step, prepared), [])
  const { child, ended } = withMemoryProgram(program.bytes, file => startWithPipes(file, [], {}, prepared, output))
  // What it leaves in the background keeps its pipes open.
  child.on('exit', () => endTree(child, ended))
  const end = ended.then(({ code, signal, reports }) => {
    const { failures } = program.read(reports)
    return endOf({ failures, status: statusOf(code, signal) }, step, prepared)
  })
  return { end, kill: () => endTree(child, ended) }
}

/** As waitpid(2) has it. */
function statusOf(code: number | null, signal: NodeJS.Signals | null): number {
  return code === null ? constants.signals[signal!] : code << 8
}
