import { constants } from 'node:os'
import { ArchimageError } from '../errors/error.ts'
import { withMemoryProgram } from '../sys/memory-program.ts'
import { missingInterpreter } from './interpreters.ts'
import { commandFiles, enterCalls, stepCalls } from './launch-calls.ts'
import { type Call, launchProgram, type Said, waitForChild } from './launch-program.ts'
import type { Running } from './oci-runtime.ts'
import { type Output, startWithPipes } from './output.ts'
import { endTree } from './processes.ts'
import type { Prepared } from './spec.ts'
import type { Step, StepEnd } from './step.ts'
import { SUB_ID_REMEDY } from './sub-ids.ts'

/** Starts a step in namespaces of its own, without another program's help. */
export function runInNamespaces(step: Step, prepared: Prepared, output: Output): Running {
  const program = launchProgram([...enterCalls(prepared), ...stepCalls(step, prepared)], waitForChild())
  const { child, ended } = withMemoryProgram(program.bytes, file => startWithPipes(file, [], {}, prepared, output))
  const end = ended.then(({ reports }) => endOf(program.read(reports), step, prepared))
  return { end, kill: () => endTree(child, end) }
}

/** What became of a step, from what its program said. */
export function endOf({ failures, status }: Said, step: Step, prepared: Prepared): StepEnd {
  const last = failures.at(-1)
  const tried = failures.filter(({ call }) => call.name === 'execve')
  const goesOn = last?.call.unless?.includes(last.errno) ?? false
  // Where it goes on after one place of PATH, the command was found at a later one, unless there was none.
  if (last?.call.name === 'execve' && (!goesOn || tried.length === commandFiles(step, prepared).length))
    return notExecuted(tried, step, prepared) ?? fail(last.call, last.errno)
  if (last !== undefined && !goesOn) fail(last.call, last.errno)
  if (status === undefined) return { exitCode: 137, signal: 'SIGKILL' }
  const signal = status & 0x7f
  return signal === 0 ? { exitCode: status >> 8 } : { exitCode: 128 + signal, signal: signalName(signal) }
}

const { EACCES, ENOEXEC } = constants.errno

function notExecuted(
  tried: readonly { readonly call: Call; readonly errno: number }[],
  step: Step,
  prepared: Prepared,
): StepEnd | undefined {
  const fileOf = (call: Call): string => call.args[0] as string
  const { call, errno } = tried.at(-1)!
  if (errno === ENOEXEC) return { exitCode: 126, reason: 'exec-format', file: fileOf(call) }
  if (!call.unless?.includes(errno)) return undefined
  const refused = tried.find(one => one.errno === EACCES)
  if (refused !== undefined) return { exitCode: 126, reason: 'not-executable', file: fileOf(refused.call) }
  const interpreter = tried.map(one => missingInterpreter(prepared.root, fileOf(one.call))).find(Boolean)
  return { exitCode: 127, reason: 'not-found', file: interpreter ?? step.args[0]! }
}

const nameOf = (table: object, number: number): string =>
  Object.entries(table).find(([, value]) => value === number)?.[0] ?? String(number)
const signalName = (number: number): string => nameOf(constants.signals, number)

/** Says in words what the program could not do for the step. */
function fail({ name, args }: Call, errno: number): never {
  const code = nameOf(constants.errno, errno)
  const words = args.filter(arg => typeof arg === 'string' && arg !== '').join(' ')
  if (name === 'chdir' && words.startsWith('/'))
    throw new ArchimageError('STEP_FAILED', `the working directory ${words} cannot be entered: ${code}`, {
      hint: 'check WORKDIR and what is mounted there',
    })
  if (/^setres[ug]id$|^setgroups$/.test(name) && code === 'EINVAL')
    throw new ArchimageError('SANDBOX_FAILED', 'the user of the step does not exist in this user namespace', {
      hint: SUB_ID_REMEDY,
    })
  if (name === 'prlimit64')
    throw new ArchimageError('SANDBOX_FAILED', `a ulimit of the step is not allowed here: ${code}`, {
      hint: 'ask for less than the hard limit that `ulimit -H -a` shows',
    })
  throw new ArchimageError('SANDBOX_FAILED', `the step could not be started: ${name} ${words}: ${code}`, {
    hint: 'archimage doctor says what this machine can do',
  })
}
