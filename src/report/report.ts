import type { Emit } from '../run/events.ts'
import { LogFiles } from './log-files.ts'
import { createReporter, type ReporterOptions } from './reporter.ts'
import { ResultFile } from './result-file.ts'

/**
 * All that a run of a project tells: on the terminal, and below `root` (when there is one) in `.archimage/logs` and
 * `.archimage/result.json`. Close it however the run ends.
 */
export function startReport(options: ReporterOptions & { readonly root?: string }): { emit: Emit; close(): void } {
  const reporter = createReporter(options)
  if (options.root === undefined) return reporter
  const logs = new LogFiles(options.root)
  const file = new ResultFile(options.root, options.now)
  return {
    emit(event) {
      const complete = logs.emit(event)
      reporter.emit(complete)
      file.emit(complete)
    },
    close() {
      reporter.close()
      logs.close()
      file.close()
    },
  }
}
