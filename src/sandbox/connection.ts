import type { ChildProcess } from 'node:child_process'
import { constants } from 'node:os'
import type { Readable } from 'node:stream'
import { ArchimageError } from '../errors/error.ts'
import { decodeJson, decodeOutput, encodeJson, frameReader, OUTPUT_FRAME } from './frames.ts'
import type { LaunchProgram } from './launch-program.ts'
import { type Answer, errorOf, type Request, type Setup, type Verdict } from './protocol.ts'
import { NO_NAMESPACES_HINT } from './reasons.ts'
import { startRunner } from './start-runner.ts'
import type { Step, StepEnd, StepTools } from './step.ts'

interface Pending {
  readonly output: StepTools['output'] | undefined
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
}

/** The setup has the number 0. */
const SETUP = 0
/** Bytes of what the process complains of before it dies. */
const LAST_WORDS = 8192

/** The process that runs the steps, seen from archimage. */
export class Connection {
  readonly #child: ChildProcess
  readonly #pending = new Map<number, Pending>()
  readonly #ended: Promise<void>
  #next = SETUP
  #failure: Error | undefined

  constructor(namespaces: boolean) {
    const { child, program } = startRunner(namespaces)
    this.#child = child
    // Written to a process that is gone: `close` below says it.
    child.stdin!.on('error', () => {})
    child.stdout!.on(
      'data',
      frameReader(({ kind, body }) => {
        if (kind === OUTPUT_FRAME) {
          const { step, stream, bytes } = decodeOutput(body)
          this.#pending.get(step)?.output?.(stream, bytes)
        } else this.#take(decodeJson<Answer>(body))
      }),
    )
    const [said, reports] = [lastWords(child.stderr!), lastWords(child.stdio[3] as Readable)]
    const started = new Promise<string>(resolve => {
      child.on('error', error => resolve(error.message))
      child.on('close', () => resolve(''))
    })
    this.#ended = started.then(async problem => {
      // The runtime does not wait for descriptors beyond the first three.
      const words = problem === '' ? [await said, await reports] : [Buffer.from(problem), Buffer.alloc(0)]
      this.#fail(startFailure(program, words[1]!, words[0]!.toString()))
    })
  }

  async open(setup: Setup): Promise<Verdict> {
    const answer = await this.#request({ setup })
    if ('ready' in answer) return answer.ready
    throw new Error('the process that runs steps did not answer the setup')
  }

  async run(step: Step, cgroups: readonly string[], { output, signal }: StepTools): Promise<StepEnd> {
    const n = this.#next
    const kill = (): void => this.#send({ kill: n })
    signal.addEventListener('abort', kill, { once: true })
    try {
      const answer = await this.#request({ run: n, step, cgroups }, output)
      if ('end' in answer) return answer.end
      throw new Error('the process that runs steps did not answer a step')
    } finally {
      signal.removeEventListener('abort', kill)
    }
  }

  close(): Promise<void> {
    this.#child.stdin!.end()
    return this.#ended
  }

  #send(request: Request): void {
    this.#child.stdin!.write(encodeJson(request))
  }

  #request(request: Request, output?: StepTools['output']): Promise<Answer> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const n = this.#next++
    return new Promise((resolve, reject) => {
      this.#pending.set(n, { output, resolve, reject })
      this.#send(request)
    })
  }

  #take(answer: Answer): void {
    const n = 'ready' in answer ? SETUP : answer.run
    const waiting = this.#pending.get(n)
    this.#pending.delete(n)
    if ('failure' in answer) waiting?.reject(errorOf(answer.failure))
    else waiting?.resolve(answer)
  }

  #fail(error: Error): void {
    this.#failure ??= error
    for (const { reject } of this.#pending.values()) reject(error)
    this.#pending.clear()
  }
}

async function lastWords(stream: Readable): Promise<Buffer> {
  let bytes = Buffer.alloc(0)
  for await (const chunk of stream) bytes = Buffer.concat([bytes, chunk as Buffer]).subarray(-LAST_WORDS)
  return bytes
}

/** Why the process could not be started, or what it died of. */
function startFailure(program: LaunchProgram, reports: Buffer, said: string): ArchimageError {
  const failure = program.read(reports).failures.at(-1)
  if (failure === undefined) {
    const words = said.trim() === '' ? '' : `:\n${said.trim()}`
    return new ArchimageError('SANDBOX_FAILED', `the process that runs steps ended${words}`, {
      hint: 'try again; if it happens again, this is a bug to be reported',
    })
  }
  const { call, errno } = failure
  const code = Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? String(errno)
  const what =
    { unshare: 'this process may not make namespaces', mount: 'this process may not mount /proc' }[call.name] ??
    `${call.name} failed`
  return new ArchimageError('SANDBOX_MISSING', `steps cannot run here: ${what} (${code})`, {
    hint: NO_NAMESPACES_HINT,
  })
}
