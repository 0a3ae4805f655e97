import { ArchimageError } from '../errors/error.ts'
import { builtin } from '../sys/builtin.ts'

/**
 * SOURCE_DATE_EPOCH (reproducible-builds.org): whole seconds since 1970; undefined when it is not set or empty. Throws
 * USAGE. The end of the year 9999 is the last moment that image configs can say.
 */
export function parseSourceDateEpoch(text: string | undefined): number | undefined {
  if (text === undefined || text.trim() === '') return undefined
  const seconds = /^\d{1,12}$/.test(text.trim()) ? Number(text.trim()) : Number.NaN
  if (seconds <= 253402300799) return seconds
  throw new ArchimageError('USAGE', `SOURCE_DATE_EPOCH is "${text.slice(0, 40)}", not a number of seconds since 1970`, {
    hint: 'for instance: SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)',
  })
}

/**
 * Time of the commit that is checked out in `folder`, in seconds since 1970; undefined when there is none, or no git. The
 * configuration of user and machine is not read, and nothing that the repository configures is run.
 */
export function commitTime(folder: string, env: NodeJS.ProcessEnv = process.env): number | undefined {
  // GIT_DIR and its like would name another repository than that of the folder.
  const kept = Object.entries(env).filter(([name]) => !name.startsWith('GIT_'))
  const git = builtin.childProcess.spawnSync(
    'git',
    [
      '--no-pager',
      ...['safe.directory=*', 'core.fsmonitor=false', 'core.hooksPath=/dev/null', 'protocol.allow=never'].flatMap(
        setting => ['-c', setting],
      ),
      ...['log', '-1', '--no-show-signature', '--no-color', '--format=%ct'],
    ],
    {
      cwd: folder,
      env: {
        ...Object.fromEntries(kept),
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_CONFIG_GLOBAL: '/dev/null',
        GIT_NO_LAZY_FETCH: '1',
        GIT_TERMINAL_PROMPT: '0',
        LC_ALL: 'C',
      },
      encoding: 'utf8',
      timeout: 10_000,
      maxBuffer: 64 * 1024,
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  )
  const text = git.status === 0 ? git.stdout.trim() : ''
  return /^\d{1,12}$/.test(text) ? Number(text) : undefined
}
