import { join } from 'node:path'

/** The checkout. */
export const root = join(import.meta.dir, '..')

/** The command that runs archimage's sources, as bin/archimage does, on every system that Bun runs on. */
export const archimage: readonly string[] = [
  process.execPath,
  `--config=${join(root, 'bunfig.toml')}`,
  '--no-env-file',
  '--no-install',
  join(root, 'src/cli/main.ts'),
]
