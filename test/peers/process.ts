import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly cwd?: string
  /** Added to this process's environment; undefined takes a name away. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly input?: string | Uint8Array
  /** Milliseconds; after them the process is killed and the call rejects. */
  readonly timeout?: number
}

/** Runs a program to its end and gives its exit code (128 + signal number when a signal ended it) and its output. */
export function run(command: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const [program, ...args] = command
  return new Promise((resolve, reject) => {
    const child = spawn(program!, args, {
      cwd: options.cwd,
      env: environment(options.env),
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    })
    const out: Buffer[] = []
    const err: Buffer[] = []
    child.stdout!.on('data', chunk => out.push(chunk))
    child.stderr!.on('data', chunk => err.push(chunk))
    child.stdin?.on('error', () => {})
    child.stdin?.end(options.input)
    const text = (parts: Buffer[]) => Buffer.concat(parts).toString()
    const timer = options.timeout
      ? setTimeout(() => {
          child.kill('SIGKILL')
          reject(new Error(`${command.join(' ')}: no end within ${options.timeout} ms\n${text(err)}`))
        }, options.timeout)
      : undefined
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code: code ?? 128 + (signal === 'SIGKILL' ? 9 : 15), stdout: text(out), stderr: text(err) })
    })
  })
}

/** Runs a program that must succeed; gives its standard output. The error holds all of its output. */
export async function must(command: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run(command, options)
  if (code !== 0) throw new Error(`${command.join(' ')}\nexit code ${code}\n${stdout}${stderr}`)
  return stdout
}

/** Something that was started: `stop` ends it, waits for its end and removes what it left; calling it again does nothing. */
export interface Running extends AsyncDisposable {
  readonly pid: number
  stop(): Promise<void>
  /** What the process wrote so far, for messages. */
  log(): string
}

/**
 * Starts a daemon with a log file in `folder` and waits until `ready` resolves to true. Only this process is ever
 * signalled: first SIGTERM, after ten seconds SIGKILL.
 */
export async function start(
  command: readonly string[],
  options: {
    readonly folder: string
    readonly ready: () => Promise<boolean>
    readonly env?: Readonly<Record<string, string | undefined>>
    readonly timeout?: number
    readonly afterStop?: () => void | Promise<void>
  },
): Promise<Running> {
  const logFile = join(options.folder, 'log')
  const log = () => readFileSync(logFile, 'utf8')
  const fd = openSync(logFile, 'w')
  const child = spawn(command[0]!, command.slice(1), { env: environment(options.env), stdio: ['ignore', fd, fd] })
  closeSync(fd)
  const ended = new Promise<void>(resolve => {
    child.on('error', () => resolve())
    child.on('exit', () => resolve())
  })
  const gone = () => child.pid === undefined || child.exitCode !== null || child.signalCode !== null
  let stopped: Promise<void> | undefined
  const stop = () => (stopped ??= end(child, ended, gone).then(options.afterStop))
  const until = Date.now() + (options.timeout ?? 30_000)
  while (!(await options.ready().catch(() => false))) {
    if (gone() || Date.now() > until) {
      const said = log().slice(-4000)
      await stop()
      throw new Error(`${command.join(' ')} ${gone() ? 'ended at once' : 'did not become ready'}:\n${said}`)
    }
    await sleep(25)
  }
  return { pid: child.pid!, stop, log, [Symbol.asyncDispose]: stop }
}

async function end(child: ChildProcess, ended: Promise<void>, gone: () => boolean): Promise<void> {
  if (gone()) return
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await ended
  clearTimeout(timer)
}

/** A new folder with a short path: a unix socket's may have 107 bytes only. */
export function temporaryFolder(prefix: string): string {
  return mkdtempSync(join(tmpdir(), `${prefix}-`))
}

/** Removes a folder after detaching what daemons left mounted below it. */
export async function removeFolder(folder: string): Promise<void> {
  if (process.platform === 'linux') {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map(line => line.split(' ')[4] ?? '')
      .filter(point => point === folder || point.startsWith(`${folder}/`))
    for (const point of mounts.reverse()) await run(['umount', '-l', point])
  }
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
}

/** A loopback port that was free a moment ago, for daemons that cannot choose one themselves. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

function environment(changes: Readonly<Record<string, string | undefined>> = {}): NodeJS.ProcessEnv {
  const env = { ...process.env, ...changes }
  for (const [name, value] of Object.entries(changes)) if (value === undefined) delete env[name]
  return env
}
