import { isArchimageError } from '../errors/error.ts'
import { renderError } from '../errors/render.ts'
import { styleFor } from '../errors/render-style.ts'
import { terminal } from '../sys/terminal.ts'
import { dispatch } from './dispatch.ts'
import { VERSION } from './version.ts'

/** Ctrl-C and SIGTERM end the work cleanly; a second one ends the process at once. */
function interruptible(): AbortSignal {
  const controller = new AbortController()
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(130)
    controller.abort()
  }
  process.on('SIGINT', interrupt)
  process.on('SIGTERM', interrupt)
  process.on('SIGHUP', interrupt)
  return controller.signal
}

async function main(): Promise<number> {
  // Set by bin/archimage for the runtime; programs that we start are not to inherit it.
  delete process.env['BUN_RUNTIME_TRANSPILER_CACHE_PATH']
  // Archimage started by itself to run steps: signals of the terminal go to them through archimage, not by themselves.
  if (process.argv[2] === '__run-steps') return (await import('../sandbox/runner.ts')).serveSteps()
  const signal = interruptible()
  try {
    return await dispatch(process.argv.slice(2), signal)
  } catch (error) {
    if (signal.aborted && !isArchimageError(error)) return 130
    const out = terminal(2)
    out.write(`${renderError(error, { ...styleFor(out, process.env), version: VERSION })}\n`)
    return isArchimageError(error) ? error.exit : 1
  }
}

process.exit(await main())
