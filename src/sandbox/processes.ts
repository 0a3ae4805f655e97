import { readdirSync, readFileSync } from 'node:fs'

/** Kills a process and everything that it started, in one's own pid namespace; the init of a container takes all of it along. */
export function killTree(pid: number): void {
  const all = [pid]
  for (const one of all) all.push(...children(one))
  for (const one of all) {
    try {
      process.kill(one, 'SIGKILL')
    } catch {}
  }
}

function children(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap(thread =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
    )
  } catch {
    return []
  }
}
