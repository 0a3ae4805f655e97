import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { builtin } from '../sys/builtin.ts'

/** Milliseconds until it is looked whether something was started in the very moment of the killing. */
const AGAIN = 20

const ours = new Set<number>()

/** Starts a program that `endTree` can end. */
export function start(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  const child = builtin.childProcess.spawn(command, args, options)
  const { pid } = child
  if (pid !== undefined) {
    ours.add(pid)
    child.on('exit', () => ours.delete(pid))
  }
  return child
}

/** A process that has detached itself from the program that we started. */
export function adopt(pid: number): void {
  ours.add(pid)
}

/**
 * Kills a program and everything that it started, until `end` settles; the init of a pid namespace takes all of it along. We are
 * init ourselves: what has lost its parent meanwhile is our child, though we never started it.
 */
export function endTree(child: ChildProcess, end: Promise<unknown>): void {
  const kill = (): void => {
    if (child.pid !== undefined && ours.has(child.pid)) killAll(child.pid)
    for (const stray of children(process.pid)) if (!ours.has(stray)) killAll(stray)
  }
  kill()
  const timer = setInterval(kill, AGAIN)
  const stop = (): void => clearInterval(timer)
  end.then(stop, stop)
}

function killAll(pid: number): void {
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
