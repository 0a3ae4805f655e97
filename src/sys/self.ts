import { fileURLToPath } from 'node:url'

/**
 * The command that starts this program again: the executable, or in a checkout Bun with the flags of bin/archimage, so that
 * nothing in the working directory changes it.
 */
export function selfCommand(): readonly string[] {
  const main = new URL('../cli/main.ts', import.meta.url)
  if (main.pathname.startsWith('/$bunfs/')) return [process.execPath]
  const root = fileURLToPath(new URL('../../', import.meta.url))
  return [process.execPath, `--config=${root}bunfig.toml`, '--no-env-file', '--no-install', fileURLToPath(main)]
}
