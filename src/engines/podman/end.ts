import { readlinkSync } from 'node:fs'
import { descendants } from '../../sys/stream-program.ts'

/**
 * Ends a build by ending what its containers run: podman then fails, and removes container and mounts by itself. Told to end
 * while a step runs, it would leave all of them behind.
 */
export function endContainers(pid: number): void {
  const own = namespace(pid)
  for (const child of descendants(pid)) {
    const other = namespace(child)
    if (own !== undefined && other !== undefined && other !== own) kill(child)
  }
}

function namespace(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`)
  } catch {
    return undefined
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended, or belongs to a user that only podman may signal.
  }
}
