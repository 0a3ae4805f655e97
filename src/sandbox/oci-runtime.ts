import { readFileSync, writeFileSync } from 'node:fs'
import { ArchimageError } from '../errors/error.ts'
import { type Output, startWithPipes } from './output.ts'
import { endTree } from './processes.ts'
import type { Prepared, RuntimeSpec } from './spec.ts'
import type { StepEnd } from './step.ts'

/** What starts steps: an OCI runtime, or we ourselves. */
export interface Runtime {
  readonly name: 'namespaces' | 'runc' | 'crun' | 'chroot'
  readonly path: string
}

/** A container that runs. */
export interface Running {
  readonly end: Promise<StepEnd>
  /** Ends every process of it at once. */
  kill(): void
}

/**
 * Starts the container of `spec`; its bundle and state lie in `place`, an empty directory in memory. No cgroup is made, so that
 * there is none to be left behind.
 */
export function runContainer(
  runtime: Runtime,
  spec: RuntimeSpec,
  prepared: Prepared,
  id: string,
  place: string,
  output: Output,
): Running {
  writeFileSync(`${place}/config.json`, JSON.stringify(spec), { mode: 0o600 })
  const log = `${place}/log.json`
  const cgroups = runtime.name === 'crun' ? '--cgroup-manager=disabled' : '--rootless=true'
  const { child, ended } = startWithPipes(
    runtime.path,
    [...['--root', `${place}/state`, '--log', log, '--log-format', 'json', cgroups], 'run', '--bundle', place, id],
    { PATH: process.env['PATH'] ?? '' },
    prepared,
    output,
  )
  const end = ended.then(({ code, signal }) => endOf(runtime, code, signal, log))
  return { end, kill: () => endTree(child, end) }
}

const SIGNALS: Readonly<Record<number, string>> = {
  1: 'SIGHUP',
  2: 'SIGINT',
  3: 'SIGQUIT',
  4: 'SIGILL',
  5: 'SIGTRAP',
  6: 'SIGABRT',
  7: 'SIGBUS',
  8: 'SIGFPE',
  9: 'SIGKILL',
  11: 'SIGSEGV',
  13: 'SIGPIPE',
  14: 'SIGALRM',
  15: 'SIGTERM',
  24: 'SIGXCPU',
  25: 'SIGXFSZ',
  31: 'SIGSYS',
}

/** A runtime ends as its container did; what it has to say of its own is in its log. */
function endOf(runtime: Runtime, code: number | null, signal: string | null, log: string): StepEnd {
  const said = lastError(log)
  if (said !== undefined) {
    const known = startFailure(said)
    if (known === undefined)
      throw new ArchimageError('SANDBOX_FAILED', `${runtime.name} could not start the step: ${said}`, {
        hint: 'archimage doctor says what this machine can do',
      })
    return known
  }
  if (code === null) return { exitCode: 137, signal: signal ?? 'SIGKILL' }
  const name = SIGNALS[code - 128]
  return { exitCode: code, ...(name === undefined ? {} : { signal: name }) }
}

function lastError(log: string): string | undefined {
  let text: string
  try {
    text = readFileSync(log, 'utf8')
  } catch {
    return undefined
  }
  const errors = text.split('\n').flatMap(line => {
    try {
      const { level, msg } = JSON.parse(line) as { level?: string; msg?: string }
      return level === 'error' && msg !== undefined ? [msg] : []
    } catch {
      return []
    }
  })
  return errors.at(-1)
}

/** The words of runc and crun for a command that cannot be executed. */
function startFailure(text: string): StepEnd | undefined {
  const file = /exec:? "?([^":]+)"?:/.exec(text)?.[1] ?? /executable file `([^`]+)`/.exec(text)?.[1]
  const found = file === undefined ? {} : { file }
  if (/exec format error/i.test(text)) return { exitCode: 126, reason: 'exec-format', ...found }
  if (/executable file.*not found|no such file or directory/i.test(text) && file !== undefined)
    return { exitCode: 127, reason: 'not-found', ...found }
  if (/permission denied/i.test(text) && file !== undefined)
    return { exitCode: 126, reason: 'not-executable', ...found }
  return undefined
}
