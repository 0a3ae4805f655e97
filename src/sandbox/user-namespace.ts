import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import { ArchimageError } from '../errors/error.ts'
import { builtin } from '../sys/builtin.ts'
import { withMemoryProgram } from '../sys/memory-program.ts'
import { findProgram } from '../sys/programs.ts'
import { sameCommand } from '../sys/self.ts'
import { runProgram } from '../sys/spawn.ts'
import { CLONE } from './kernel.ts'
import { type Call, type LaunchProgram, launchProgram, sayDone } from './launch-program.ts'
import { idMap, idRanges, userName } from './sub-ids.ts'

export interface UserNamespaceOptions {
  /** When it is aborted the program within is asked to end, as this one was. */
  readonly signal: AbortSignal
  /** Variables that have to be said, as the program within is root: ARCHIMAGE_HOME. */
  readonly env?: Readonly<Record<string, string>>
}

/**
 * Steps of an ordinary user run in a user namespace, and only there are their files what they should be. So this process starts
 * itself once more in one, with the same arguments, streams and terminal, waits for it, and resolves to its exit code, which is to
 * be returned at once. Undefined for root, and within such a namespace: go on. To be called before standard input is read. With
 * ranges in /etc/subuid and /etc/subgid all ids exist there, else only the user, who is root. Throws SANDBOX_MISSING.
 */
export async function enterUserNamespace({ signal, env = {} }: UserNamespaceOptions): Promise<number | undefined> {
  const uid = process.getuid?.() ?? 0
  if (uid === 0) return undefined
  const { child, program } = startWithin({ ...process.env, ...env })
  const reports: Buffer[] = []
  const stream = child.stdio[3] as Readable
  const said = new Promise<void>(resolve => {
    stream.on('data', (chunk: Buffer) => {
      reports.push(chunk)
      resolve()
    })
    stream.on('close', resolve)
  })
  const saidAll = new Promise<void>(resolve => void stream.on('close', resolve))
  const ended = once(child, 'exit') as Promise<[code: number | null, signal: NodeJS.Signals | null]>
  const ask = (): void => void (inForeground() || child.kill('SIGTERM'))
  signal.addEventListener('abort', ask, { once: true })
  try {
    await said
    const go = child.stdio[4] as Writable
    go.on('error', () => {})
    if (program.read(Buffer.concat(reports)).status !== undefined) await mapIds(child.pid!, uid)
    go.end('.')
    const [[code, killedBy]] = await Promise.all([ended, saidAll])
    const failure = program.read(Buffer.concat(reports)).failures.at(-1)
    if (failure !== undefined) throw refusal(failure.call, failure.errno)
    return code ?? 128 + constants.signals[killedBy!]
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  } finally {
    signal.removeEventListener('abort', ask)
  }
}

function startWithin(env: NodeJS.ProcessEnv): { readonly child: ChildProcess; readonly program: LaunchProgram } {
  const [PR_SET_PDEATHSIG, SIGKILL, F_SETFD, FD_CLOEXEC, GO] = [1, 9, 2, 1, 4]
  const [command, ...args] = sameCommand() as [string, ...string[]]
  const variables = Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]))
  const program = launchProgram(
    [
      { name: 'prctl', args: [PR_SET_PDEATHSIG, SIGKILL] },
      { name: 'unshare', args: [CLONE.NEWUSER] },
      sayDone(),
      // Until the ids are mapped, which is for somebody outside to do.
      { name: 'read', args: [GO, Buffer.alloc(8), 1] },
      // Some systems let everybody make user namespaces and then nobody do anything in them.
      { name: 'unshare', args: [CLONE.NEWNS] },
      { name: 'prctl', args: [PR_SET_PDEATHSIG, SIGKILL] },
      { name: 'fcntl', args: [3, F_SETFD, FD_CLOEXEC] },
      { name: 'close', args: [GO] },
      { name: 'execve', args: [command, [command, ...args, 0], [...variables, 0]] },
    ],
    [],
  )
  const child = withMemoryProgram(program.bytes, path =>
    builtin.childProcess.spawn(path, [], { stdio: ['inherit', 'inherit', 'inherit', 'pipe', 'pipe'], env: {} }),
  )
  return { child, program }
}

async function mapIds(pid: number, uid: number): Promise<void> {
  const name = userName(readText('/etc/passwd'), uid)
  const maps = [
    { file: 'uid_map', command: 'newuidmap', own: uid, ranges: idRanges(readText('/etc/subuid'), uid, name) },
    {
      ...{ file: 'gid_map', command: 'newgidmap', own: process.getgid!() },
      ranges: idRanges(readText('/etc/subgid'), uid, name),
    },
  ]
  const programs = maps.map(({ command }) => findProgram(command))
  if (maps.every(({ ranges }) => ranges.length > 0) && programs.every(program => program !== undefined)) {
    for (const [i, { own, ranges, command }] of maps.entries()) {
      const { code, stderr } = await runProgram(programs[i]!, [String(pid), ...idMap(own, ranges).flat().map(String)])
      if (code !== 0)
        throw new ArchimageError('SANDBOX_MISSING', `${command} could not map your ids: ${stderr.toString().trim()}`, {
          hint: 'check your lines in /etc/subuid and /etc/subgid, and that newuidmap and newgidmap have the set-user-ID bit',
        })
    }
    return
  }
  writeFileSync(`/proc/${pid}/setgroups`, 'deny')
  for (const { file, own } of maps) writeFileSync(`/proc/${pid}/${file}`, `0 ${own} 1`)
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** Whether a terminal sends its signals to us, and so to the program within too. See proc_pid_stat(5). */
function inForeground(): boolean {
  const fields = readText('/proc/self/stat').split(') ').at(-1)!.split(' ')
  return Number(fields[4]) !== 0 && fields[2] === fields[5]
}

/** Why there is no user namespace, and the remedy. */
function refusal({ name }: Call, errno: number): ArchimageError {
  const code = Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? String(errno)
  if (readText('/proc/sys/kernel/apparmor_restrict_unprivileged_userns').trim() === '1')
    return new ArchimageError(
      'SANDBOX_MISSING',
      `AppArmor keeps ordinary users from working in user namespaces (${code})`,
      {
        hint: 'sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give archimage an AppArmor profile with "userns,"; or run it as root',
      },
    )
  if (readText('/proc/sys/kernel/unprivileged_userns_clone').trim() === '0')
    return new ArchimageError('SANDBOX_MISSING', 'this system lets only root make user namespaces', {
      hint: 'sudo sysctl -w kernel.unprivileged_userns_clone=1, or run archimage as root',
    })
  if (code === 'ENOSPC')
    return new ArchimageError('SANDBOX_MISSING', 'this system allows no more user namespaces', {
      hint: 'sudo sysctl -w user.max_user_namespaces=10000, or run archimage as root',
    })
  return new ArchimageError('SANDBOX_MISSING', `no user namespace can be made here: ${name}: ${code}`, {
    hint: 'a container may be forbidden to: run it with --privileged, archimage as root, or archimage build --sandbox=chroot within it',
  })
}
