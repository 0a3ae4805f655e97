/** A program that a step could not start, as its output tells. */
export interface FailedProgram {
  /** As the message has it: a path, a name that was looked for in $PATH, perhaps relative. */
  readonly file: string
  readonly kind: 'exec-format' | 'not-found' | 'not-executable'
  /** A shell took it for a script and found it wrong, which a script may be: counts only if it is none. */
  readonly script?: boolean
}

/**
 * How shells (dash, bash, busybox), env, make, OCI runtimes, Go, Python and others say that a program could not be started.
 * The first group is the file. A loader that QEMU misses is one as well: the message does not name the program.
 */
const PATTERNS: readonly (readonly [FailedProgram['kind'] | 'script', RegExp])[] = [
  // busybox and perl try a program that the kernel refuses as a script: its first bytes are "not found"
  ['exec-format', /^(\S.*?): (?:line )?\d+: (?:\x7f?ELF|MZ)/],
  ['script', /^(\S+): (?:line )?\d+: syntax error\b/i],
  ['exec-format', /^(?:\S*sh: )(?:line )?\d+: (?:exec: )?(.+?): (?:cannot execute binary file: )?Exec format error$/],
  ['exec-format', /^\S*sh: (.+?): (?:cannot execute binary file: )?Exec format error$/],
  ['exec-format', /\bexec(?:\/exec| container process)? ["'`]?([^\s"'`]+)["'`]?: exec format error$/i],
  ['exec-format', /^(?:\S+: )?(\S+): Exec format error$/],
  ['exec-format', /Exec format error: '(.+)'$/],
  ['not-found', /^qemu-[\w.-]+: Could not open '(.+)': No such file or directory$/],
  ['not-found', /^(?:\S*\/)?env: (?:can't execute )?['‘"`](.+?)['’"`]: No such file or directory$/],
  [
    'not-found',
    /^\S*sh: (?:line )?\d+: (?:exec: )?(?:line \d+: )?(.+?): (?:not found|command not found|No such file or directory|cannot execute: required file not found)$/,
  ],
  ['not-found', /^\S*sh: (?:exec: )?(?:line \d+: )?(.+?): not found$/],
  ['not-found', /^(\S+): (?:line )?\d+: (\S+): (?:not found|command not found)$/],
  [
    'not-found',
    /\bexec:? \\?["'`]?([^\s"'`\\]+)\\?["'`]?: (?:stat \S+: )?(?:no such file or directory|executable file not found in \$PATH)/i,
  ],
  ['not-found', /\bexecutable file [`"']([^`"']+)[`"'] not found in \$PATH/],
  ['not-found', /^make(?:\[\d+\])?: (\S+): No such file or directory$/],
  ['not-found', /No such file or directory: '(.+)'$/],
  ['not-executable', /^\S*sh: (?:(?:line )?\d+: )?(?:exec: )?(?:line \d+: )?(.+?): Permission denied$/],
  ['not-executable', /\bexec:? \\?["'`]?([^\s"'`\\]+)\\?["'`]?: permission denied/i],
]

/** Lines that are looked at, and the longest of them: output is long, and not ours. */
const LINES = 30
const LONGEST = 2000

/** The last line of a step's output that says so; undefined when none does. */
export function failedProgram(lines: readonly string[]): FailedProgram | undefined {
  for (const line of lines.slice(-LINES).reverse()) {
    if (line.length > LONGEST) continue
    for (const [kind, pattern] of PATTERNS) {
      const match = pattern.exec(line.trimEnd())
      const file = match?.[2] ?? match?.[1]
      // coreutils writes what cannot be printed as in C
      if (file === undefined) continue
      const program = { file: file.replaceAll('\\r', '\r') }
      return kind === 'script' ? { ...program, kind: 'exec-format', script: true } : { ...program, kind }
    }
  }
  return undefined
}
