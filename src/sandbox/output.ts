import type { ChildProcess } from 'node:child_process'
import { closeSync, fchownSync, openSync } from 'node:fs'
import { openPipe, readPipe } from '../sys/pipe.ts'
import { start } from './processes.ts'
import type { Prepared } from './spec.ts'

/** Gets a step's output; a promise asks to be waited for. */
export type Output = (stream: 'stdout' | 'stderr', bytes: Uint8Array) => Promise<void> | undefined

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** What was written to descriptor 3. */
  readonly reports: Buffer
}

/**
 * Starts a program with pipes for output, which belong to the step's user: a step may open /dev/stdout, whoever its user is. Its
 * input is the step's own /dev/null, whose mode it may change. `ended` settles when the program has ended and nobody can write any more.
 */
export function startWithPipes(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  { user, devices }: Pick<Prepared, 'user' | 'devices'>,
  output: Output,
): { readonly child: ChildProcess; readonly ended: Promise<Ended> } {
  const [stdout, stderr, reports] = [openPipe(), openPipe(), openPipe()]
  for (const { write } of [stdout, stderr]) give(write, user)
  const nothing = openSync(`${devices}/null`, 'r')
  const child = start(command, args, { stdio: [nothing, stdout.write, stderr.write, reports.write], env, cwd: '/' })
  closeSync(nothing)
  for (const { write } of [stdout, stderr, reports]) closeSync(write)
  const said: Uint8Array[] = []
  const exited = new Promise<Omit<Ended, 'reports'>>((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve({ code, signal }))
  })
  const read = Promise.all([
    forward(stdout.read, bytes => output('stdout', bytes)),
    forward(stderr.read, bytes => output('stderr', bytes)),
    forward(reports.read, bytes => void said.push(bytes)),
  ])
  return { child, ended: Promise.all([exited, read]).then(([exit]) => ({ ...exit, reports: Buffer.concat(said) })) }
}

/** A user that does not exist in this user namespace is told where the step would become it. */
function give(fd: number, { uid, gid }: { readonly uid: number; readonly gid: number }): void {
  try {
    fchownSync(fd, uid, gid)
  } catch {}
}

async function forward(fd: number, take: (bytes: Uint8Array) => Promise<void> | undefined): Promise<void> {
  for await (const bytes of readPipe(fd)) await take(bytes)
}
