import { constants } from 'node:os'
import { builtin } from './builtin.ts'

export interface Finished {
  /** Exit code; 128 + number for a signal. */
  readonly code: number
  readonly stdout: Buffer
  readonly stderr: Buffer
}

export interface RunOptions {
  readonly input?: string | Uint8Array
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  readonly signal?: AbortSignal
  /** Milliseconds after which the process is killed. */
  readonly timeout?: number
  /** Output beyond this many bytes is dropped (default 1 MiB each). */
  readonly limit?: number
}

/** Runs a program without a shell and collects what it says. Rejects when it cannot be started (`code`: ENOENT, EACCES). */
export function runProgram(command: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const limit = options.limit ?? 1024 * 1024
  return new Promise((resolve, reject) => {
    const child = builtin.childProcess.spawn(command, [...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      killSignal: 'SIGKILL',
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
    })
    const collect = (stream: NodeJS.ReadableStream): Buffer[] => {
      const chunks: Buffer[] = []
      let size = 0
      stream.on('data', (chunk: Buffer) => {
        if (size < limit) chunks.push(chunk.subarray(0, limit - size))
        size += chunk.length
      })
      return chunks
    }
    const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)]
    child.on('error', reject)
    child.on('close', (code, signal) =>
      resolve({
        code: code ?? 128 + constants.signals[signal!],
        stdout: Buffer.concat(stdout),
        stderr: Buffer.concat(stderr),
      }),
    )
    // A program that ends without reading its input is no failure of ours.
    child.stdin.on('error', () => {})
    child.stdin.end(options.input ?? '')
  })
}
