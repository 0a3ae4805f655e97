import { ArchimageError, cancelled } from '../errors/error.ts'
import { builtin } from '../sys/builtin.ts'
import { findProgram } from '../sys/programs.ts'
import { selfCommand } from '../sys/self.ts'
import { decodeJson, decodeOutput, encodeJson, frameReader, OUTPUT_FRAME } from './frames.ts'
import type { Runtime } from './oci-runtime.ts'
import type { Answer, Failure, Ready, Request } from './runner.ts'
import type { Sandbox, SandboxFacts, Step, StepEnd, StepTools } from './step.ts'

export interface SandboxOptions {
  /** A directory of ours on the file system of the snapshots; made when it is missing. */
  readonly directory: string
  /** Only this one. */
  readonly runtime?: Runtime['name']
}

/** The hidden argument with which archimage starts itself to run steps. */
export const RUNNER_ARGUMENT = '__run-steps'

interface Pending {
  readonly tools: StepTools
  readonly resolve: (end: StepEnd) => void
  readonly reject: (error: Error) => void
}

/**
 * Starts the process under which the steps of this run live. Throws SANDBOX_MISSING where this machine runs none, with what to
 * do about it.
 */
export async function openSandbox(options: SandboxOptions): Promise<Sandbox> {
  const args = [
    ...['--pdeathsig', 'KILL', '--'],
    ...['unshare', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc', '--'],
    ...selfCommand(),
    RUNNER_ARGUMENT,
  ]
  const child = builtin.childProcess.spawn('setpriv', args, {
    // A session of its own: Ctrl-C reaches archimage, which ends the steps.
    ...{ detached: true, stdio: ['pipe', 'pipe', 'inherit'] as const },
  })
  const pending = new Map<number, Pending>()
  let next = 1
  let ready: ((found: Ready) => void) | undefined

  const send = (request: Request): void => void child.stdin.write(encodeJson(request))
  child.stdin.on('error', () => {})
  child.stdout.on(
    'data',
    frameReader(({ kind, body }) => {
      if (kind === OUTPUT_FRAME) {
        const { step, stream, bytes } = decodeOutput(body)
        pending.get(step)?.tools.output(stream, bytes)
        return
      }
      const answer = decodeJson<Answer>(body)
      if ('ready' in answer) return ready?.(answer.ready)
      const waiting = pending.get(answer.run)
      pending.delete(answer.run)
      if ('end' in answer) waiting?.resolve(answer.end)
      else waiting?.reject(errorOf(answer.failure))
    }),
  )
  const gone = new Promise<void>(resolve => child.on('close', () => resolve()))
  send({
    setup: {
      directory: options.directory,
      runtimes:
        options.runtime === undefined
          ? runtimesHere(false)
          : runtimesHere(false).filter(one => one.name === options.runtime),
      rootless: false,
    },
  })
  const found = await new Promise<Ready>((resolve, reject) => {
    ready = resolve
    child.on('error', reject)
    child.on('close', (code, signal) => {
      const error = new ArchimageError('SANDBOX_FAILED', `the process that runs steps ended (${signal ?? code})`, {
        hint: 'archimage doctor says what this machine can do',
      })
      reject(error)
      for (const one of pending.values()) one.reject(error)
      pending.clear()
    })
  })
  if (found.runtime === undefined) {
    child.stdin.end()
    throw new ArchimageError('SANDBOX_MISSING', `no OCI runtime starts a container here\n${found.refused.join('\n')}`, {
      hint: 'install runc or crun',
    })
  }
  const facts: SandboxFacts = {
    runtime: found.runtime.name,
    rootless: false,
    roots: 'overlay',
    network: 'host',
    remarks: [],
  }

  return {
    facts,
    run(step: Step, tools: StepTools): Promise<StepEnd> {
      if (tools.signal.aborted) return Promise.reject(cancelled(tools.signal.reason))
      const n = next++
      const kill = (): void => send({ kill: n })
      tools.signal.addEventListener('abort', kill, { once: true })
      return new Promise<StepEnd>((resolve, reject) => {
        pending.set(n, { tools, resolve, reject })
        send({ run: n, step })
      })
        .finally(() => tools.signal.removeEventListener('abort', kill))
        .then(end => {
          if (tools.signal.aborted) throw cancelled(tools.signal.reason)
          return end
        })
    },
    close() {
      child.stdin.end()
      return gone
    },
  }
}

/** Crun undoes `nodev` on the root: for root, device nodes would open. */
function runtimesHere(rootless: boolean): Runtime[] {
  const installed = (rootless ? (['crun', 'runc'] as const) : (['runc'] as const)).flatMap(name => {
    const path = findProgram(name)
    return path === undefined ? [] : [{ name, path }]
  })
  return [{ name: 'namespaces', path: '' }, ...installed]
}

function errorOf({ code, message, hint, stack }: Failure): Error {
  if (code !== undefined) return new ArchimageError(code as 'STEP_FAILED', message, hint === undefined ? {} : { hint })
  return Object.assign(new Error(message), stack === undefined ? {} : { stack })
}
