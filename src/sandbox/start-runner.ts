import type { ChildProcess } from 'node:child_process'
import { builtin } from '../sys/builtin.ts'
import { withMemoryProgram } from '../sys/memory-program.ts'
import { selfCommand } from '../sys/self.ts'
import { CLONE, MS } from './kernel.ts'
import { type Call, type LaunchProgram, launchProgram, waitForChild } from './launch-program.ts'

/** The hidden argument with which archimage starts itself to run steps. */
export const RUNNER_ARGUMENT = '__run-steps'

/**
 * Starts archimage once more, as init of a pid namespace and in a mount namespace of its own. Both end at once when this process
 * does, by kill -9 too: the kernel kills the program in between, which is our child, then its child. Standard input and output are
 * pipes, descriptor 3 is where `program` reports. Without `namespaces` it is only a process that inherits what its own leave behind.
 */
export function startRunner(namespaces: boolean): { readonly child: ChildProcess; readonly program: LaunchProgram } {
  const [PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, SIGKILL, SIGCHLD, F_SETFD, FD_CLOEXEC] = [1, 36, 9, 17, 2, 1]
  const dieWithParent: Call = { name: 'prctl', args: [PR_SET_PDEATHSIG, SIGKILL] }
  const [command, ...args] = selfCommand() as [string, ...string[]]
  const env = Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]))
  const enter: Call[] = [
    { name: 'unshare', args: [CLONE.NEWNS | CLONE.NEWPID] },
    { name: 'mount', args: ['', '/', '', MS.REC | MS.PRIVATE, ''] },
    { name: 'clone', args: [SIGCHLD, 0, 0, 0, 0], fork: true },
    dieWithParent,
    { name: 'mount', args: ['proc', '/proc', 'proc', MS.NOSUID | MS.NODEV | MS.NOEXEC, ''] },
  ]
  const program = launchProgram(
    [
      dieWithParent,
      // Ctrl-C is for archimage, which ends the steps.
      { name: 'setsid', args: [] },
      ...(namespaces ? enter : [{ name: 'prctl', args: [PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0] }]),
      { name: 'fcntl', args: [3, F_SETFD, FD_CLOEXEC] },
      { name: 'execve', args: [command, [command, ...args, RUNNER_ARGUMENT, 0], [...env, 0]] },
    ],
    waitForChild(),
  )
  const child = withMemoryProgram(program.bytes, path =>
    builtin.childProcess.spawn(path, [], { stdio: ['pipe', 'pipe', 'pipe', 'pipe'], env: {} }),
  )
  return { child, program }
}
