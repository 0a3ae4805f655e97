import { readFileSync } from 'node:fs'

/**
 * The umask of this process. On Linux without the system call of that name, which has to set it to read it: two threads that do
 * so at once leave it at 0.
 */
export function umask(): number {
  try {
    const said = /^Umask:\s+([0-7]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]
    if (said !== undefined) return Number.parseInt(said, 8)
  } catch {
    // No /proc: not Linux, or a bare one.
  }
  return process.umask()
}
