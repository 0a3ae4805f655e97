import type { Emit } from '../run/events.ts'
import { LogFiles } from './log-files.ts'
import { createReporter, type ReporterOptions } from './reporter.ts'
import { ResultFile } from './result-file.ts'

/** A checkout that belongs to somebody else, or that is read-only, is no reason not to build. */
function unwritten(write: () => void): string | undefined {
  try {
    write()
    return undefined
  } catch (error) {
    return `no result file: ${(error as Error).message}`
  }
}

/**
 * All that a run of a project tells: on the terminal, and below `root` (when there is one) in `.archimage/logs` and
 * `.archimage/result.json`; where these cannot be written, one warning says so. Failures get the last lines of their log. Close it however the
 * run ends.
 */
export function startReport(options: ReporterOptions & { readonly root?: string }): { emit: Emit; close(): void } {
  const reporter = createReporter(options)
  const logs = new LogFiles(options.root)
  const file = options.root === undefined ? undefined : new ResultFile(options.root, options.now)
  return {
    emit(event) {
      const complete = logs.emit(event)
      const message =
        unwritten(() => file?.emit(complete)) ?? (complete.type === 'run-ended' ? logs.problem : undefined)
      if (message === undefined || complete.type !== 'run-ended') return reporter.emit(complete)
      const { result } = complete
      reporter.emit({ type: 'warning', message })
      reporter.emit({ ...complete, result: { ...result, warnings: [...result.warnings, message] } })
    },
    close() {
      reporter.close()
      logs.close()
      file?.close()
    },
  }
}
