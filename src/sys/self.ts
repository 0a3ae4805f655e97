import { fileURLToPath } from 'node:url'

/**
 * The command that starts this program again: the executable, or in a checkout Bun with the flags of bin/archimage, so that
 * nothing in the working directory changes it.
 */
export function selfCommand(): readonly string[] {
  if (isCompiled()) return [process.execPath]
  const main = new URL('../cli/main.ts', import.meta.url)
  const root = fileURLToPath(new URL('../../', import.meta.url))
  return [process.execPath, `--config=${root}bunfig.toml`, '--no-env-file', '--no-install', fileURLToPath(main)]
}

/** The command with which this very process was started, whatever program it is. */
export function sameCommand(): readonly string[] {
  if (isCompiled()) return [process.execPath, ...process.argv.slice(2)]
  return [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
}

const isCompiled = (): boolean => new URL(import.meta.url).pathname.startsWith('/$bunfs/')
