import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { isArchimageError, systemError } from '../errors/error.ts'
import { MS, mount } from '../sys/mount.ts'
import { hideCgroups, showCgroups } from './cgroups.ts'
import { ALL_CAPABILITIES } from './confinement.ts'
import { makeDevices } from './devices.ts'
import { decodeJson, encodeJson, encodeOutput, frameReader, JSON_FRAME } from './frames.ts'
import { launchProgram } from './launch-program.ts'
import { runInNamespaces } from './namespaces.ts'
import { type Running, type Runtime, runContainer } from './oci-runtime.ts'
import type { Output } from './output.ts'
import { prepareStep, type Surroundings } from './prepare-step.ts'
import { runtimeSpec } from './spec.ts'
import type { Step, StepEnd } from './step.ts'
import { Undo } from './undo.ts'

/** From archimage to the process that runs its steps. */
export type Request =
  | { readonly setup: Setup }
  | { readonly run: number; readonly step: Step }
  | { readonly kill: number }

export interface Setup {
  /** A directory of ours. */
  readonly directory: string
  /** OCI runtimes of this machine, the best first. */
  readonly runtimes: readonly Runtime[]
  /** One of them that is known to work here. */
  readonly known?: Runtime | undefined
  readonly rootless: boolean
}

/** And back. */
export type Answer =
  | { readonly ready: Ready }
  | { readonly run: number; readonly end: StepEnd }
  | { readonly run: number; readonly failure: Failure }

export interface Ready {
  readonly runtime: Runtime | undefined
  /** Why those before it do not serve, in their words. */
  readonly refused: readonly string[]
}

/** An error on its way to the other process. */
export interface Failure {
  readonly code: string | undefined
  readonly message: string
  readonly hint?: string | undefined
  readonly stack?: string | undefined
}

/** The process under which all steps of a run live, as init of a pid namespace and in a mount namespace that both end with it. */
export function serveSteps(): Promise<number> {
  const running = new Map<number, { kill(): void }>()
  const killed = new Set<number>()
  let around: Surroundings | undefined
  let runtime: Runtime | undefined

  const send = (frame: Buffer): Promise<void> | undefined => {
    if (process.stdout.write(frame)) return undefined
    return new Promise(resolve => process.stdout.once('drain', resolve))
  }
  const answer = (value: Answer): void => void send(encodeJson(value))

  async function run(n: number, step: Step): Promise<StepEnd> {
    const output: Output = (stream, bytes) => send(encodeOutput(n, stream, bytes))
    const end = await runStep(step, runtime!, around!, output, container => {
      running.set(n, container)
      if (killed.has(n)) container.kill()
    })
    running.delete(n)
    return end
  }

  function take(request: Request): void {
    if ('setup' in request) {
      around = surroundings(request.setup)
      chooseRuntime(request.setup, around).then(
        ready => {
          runtime = ready.runtime
          answer({ ready })
        },
        error => answer({ run: 0, failure: failureOf(error, 'opening the sandbox') }),
      )
    } else if ('kill' in request) {
      killed.add(request.kill)
      running.get(request.kill)?.kill()
    } else
      run(request.run, request.step).then(
        end => answer({ run: request.run, end }),
        error => answer({ run: request.run, failure: failureOf(error, `running ${request.step.id}`) }),
      )
  }

  return new Promise(resolve => {
    process.stdin.on(
      'data',
      frameReader(({ kind, body }) => kind === JSON_FRAME && take(decodeJson<Request>(body))),
    )
    // Archimage is gone, or has no more steps.
    process.stdin.on('end', () => resolve(0))
  })
}

async function runStep(
  step: Step,
  runtime: Runtime,
  around: Surroundings,
  output: Output,
  started: (container: Running) => void,
): Promise<StepEnd> {
  const undo = new Undo()
  const place = `${around.memory}/${step.id}`
  try {
    mkdirSync(place)
    undo.add(() => rmSync(place, { recursive: true, force: true }))
    const prepared = await prepareStep(step, step.network === 'none' ? 'own' : undefined, around, undo)
    const container =
      runtime.name === 'namespaces'
        ? runInNamespaces(step, prepared, place, output)
        : runContainer(runtime, runtimeSpec(step, prepared, mountDevices(`${place}/dev`, undo)), step.id, place, output)
    started(container)
    return await container.end
  } finally {
    undo.run()
  }
}

/** A /dev for a runtime that shall not make device nodes. */
function mountDevices(at: string, undo: Undo): string {
  mkdirSync(at)
  undo.mount('tmpfs', at, 'tmpfs', MS.NOSUID | MS.NODEV, 'mode=755,size=65536k')
  makeDevices(at)
  return at
}

/** The first that starts a container like those of the steps. */
async function chooseRuntime({ runtimes, known }: Setup, around: Surroundings): Promise<Ready> {
  const refused: string[] = []
  for (const runtime of known === undefined ? runtimes : [known]) {
    hideCgroups(runtime)
    if (known !== undefined) return { runtime, refused }
    try {
      const { exitCode } = await probe(runtime, around)
      if (exitCode === 0) return { runtime, refused }
      refused.push(`${runtime.name}: its probe ended with ${exitCode}`)
    } catch (error) {
      refused.push(`${runtime.name}: ${(error as Error).message}`)
    }
    showCgroups(runtime)
  }
  return { runtime: undefined, refused }
}

async function probe(runtime: Runtime, around: Surroundings): Promise<StepEnd> {
  const [memory, disk] = [`${around.memory}/probe-root`, `${around.scratch}/probe`]
  try {
    for (const directory of [memory, `${disk}/upper`, `${disk}/work`]) mkdirSync(directory, { recursive: true })
    writeFileSync(`${memory}/probe`, launchProgram([{ name: 'exit_group', args: [0] }], []).bytes, { mode: 0o755 })
    const step: Step = {
      ...{ id: `probe-${runtime.name}`, lowers: [memory], upper: `${disk}/upper`, work: `${disk}/work` },
      ...{ args: ['/probe'], env: [], cwd: '/', user: '', mounts: [], network: 'none', insecure: false },
      ...{ hostname: 'probe', hosts: [], ulimits: [], limits: {} },
    }
    return await runStep(
      step,
      runtime,
      around,
      () => undefined,
      () => {},
    )
  } finally {
    rmSync(memory, { recursive: true, force: true })
    rmSync(disk, { recursive: true, force: true })
  }
}

function surroundings({ directory, rootless }: Setup): Surroundings {
  const [memory, scratch] = [`${directory}/memory`, `${directory}/scratch`]
  mkdirSync(memory, { recursive: true })
  mkdirSync(scratch, { recursive: true })
  mount('tmpfs', memory, 'tmpfs', MS.NOSUID | MS.NODEV, 'mode=700')
  return {
    memory,
    scratch,
    rootless,
    openFiles: hardLimit('Max open files'),
    capabilities: ownCapabilities(),
    ttyGroup: true,
    groupsDenied: false,
  }
}

function hardLimit(name: string): number {
  const line = readFileSync('/proc/self/limits', 'utf8')
    .split('\n')
    .find(one => one.startsWith(name))
  return Number(line?.split(/\s{2,}/)[2]) || 1024
}

function ownCapabilities(): string[] {
  const mask = BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`)
  return ALL_CAPABILITIES.filter((_, bit) => (mask & (1n << BigInt(bit))) !== 0n)
}

function failureOf(error: unknown, doing: string): Failure {
  let told = error
  try {
    if (!isArchimageError(error)) told = systemError(error, doing)
  } catch {}
  const { code, message, stack } = told as Error & { code?: string }
  return isArchimageError(told) ? { code, message, hint: told.hint } : { code: undefined, message, stack }
}
