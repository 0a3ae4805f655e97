import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { ArchimageError, systemError } from '../errors/error.ts'
import { MS, mount } from '../sys/mount.ts'
import { hideCgroups, showCgroups } from './cgroups.ts'
import { ALL_CAPABILITIES } from './confinement.ts'
import { makeDevices } from './devices.ts'
import { launchProgram } from './launch-program.ts'
import { runInNamespaces } from './namespaces.ts'
import { byQuality, type NetworkTool, type StepNetwork, startNetwork } from './network.ts'
import { type Running, type Runtime, runContainer } from './oci-runtime.ts'
import type { Output } from './output.ts'
import { makeStubLayer, prepareStep, type Surroundings } from './prepare-step.ts'
import type { Setup, Verdict } from './protocol.ts'
import { Reasons } from './reasons.ts'
import { runtimeSpec } from './spec.ts'
import type { Step, StepEnd } from './step.ts'
import { oomKills } from './step-cgroups.ts'
import { isUserNamespace } from './sub-ids.ts'
import { Undo } from './undo.ts'

/** Where steps run: within our own pid and mount namespace. */
export interface Site {
  readonly verdict: Verdict
  /** `cgroups` are those that the step is to be in; `started` gets what can be killed. */
  run(step: Step, cgroups: readonly string[], output: Output, started: (running: Running) => void): Promise<StepEnd>
}

/** Finds out what works here, or takes what is known to. Throws SANDBOX_MISSING when nothing does. */
export async function openSite({ directory, runtimes, networks, known }: Setup): Promise<Site> {
  const around = surroundings(directory)
  const refused: string[] = []
  let verdict = known
  let connected: Promise<StepNetwork> | undefined
  if (verdict === undefined) {
    const runtime = await chooseRuntime(runtimes, around, refused)
    const found = await chooseNetwork(networks, around, refused)
    connected = found && Promise.resolve(found.network)
    verdict = {
      ...{ runtime, rootless: around.rootless, singleUser: around.groupsDenied, refused },
      ...(found === undefined ? {} : { network: found.tool }),
    }
  } else {
    hideCgroups(verdict.runtime)
    if (verdict.network !== undefined) connected = startNetwork(verdict.network, around.memory)
    // The step that needs it says it.
    connected?.catch(() => {})
  }
  const { runtime } = verdict
  return {
    verdict,
    async run(step, cgroups, output, started) {
      const network = step.network === 'default' && connected !== undefined ? await networkOf(connected) : undefined
      return runStep(step, { runtime, network, cgroups, around, output, started })
    },
  }
}

function networkOf(connected: Promise<StepNetwork>): Promise<StepNetwork> {
  return connected.catch(error => {
    throw new ArchimageError('SANDBOX_FAILED', `the network of the steps could not be made: ${error.message}`, {
      hint: 'try again, or run the step in the network of this machine: --network=host',
      cause: error,
    })
  })
}

interface Means {
  readonly runtime: Runtime
  readonly network: StepNetwork | undefined
  readonly cgroups: readonly string[]
  readonly around: Surroundings
  readonly output: Output
  readonly started: (running: Running) => void
}

async function runStep(step: Step, { runtime, network, cgroups, around, output, started }: Means): Promise<StepEnd> {
  if (cgroups.length > 0 && runtime.name !== 'namespaces')
    throw new ArchimageError('SANDBOX_FAILED', `with ${runtime.name} the memory or CPU of a step cannot be limited`, {
      hint: 'a newer kernel (5.12) needs no OCI runtime for steps, and can limit them',
    })
  const undo = new Undo()
  const place = `${around.memory}/${step.id}`
  try {
    mkdirSync(place)
    undo.add(() => rmSync(place, { recursive: true, force: true }))
    const prepared = { ...(await prepareStep(step, network, around, undo)), cgroups }
    const reasons = new Reasons()
    const watched = reasons.watch(output)
    const running =
      runtime.name === 'namespaces'
        ? runInNamespaces(step, prepared, watched)
        : runContainer(runtime, runtimeSpec(step, prepared, mountDevices(place, undo)), step.id, place, watched)
    started(running)
    const end = await running.end
    const killed = cgroups.length === 0 ? undefined : oomKills(cgroups)
    return reasons.explain(end, { singleUser: around.groupsDenied, killed })
  } finally {
    undo.run()
  }
}

/** A /dev for a runtime that shall not make device nodes. */
function mountDevices(place: string, undo: Undo): string {
  const at = `${place}/dev`
  mkdirSync(at)
  undo.mount('tmpfs', at, 'tmpfs', MS.NOSUID | MS.NODEV, 'mode=755,size=65536k')
  makeDevices(at)
  return at
}

/** The first that starts a step. */
async function chooseRuntime(runtimes: readonly Runtime[], around: Surroundings, refused: string[]): Promise<Runtime> {
  for (const runtime of runtimes) {
    try {
      hideCgroups(runtime)
      const { exitCode } = await probe(runtime, around)
      if (exitCode === 0) return runtime
      refused.push(`${runtime.name}: a step that should end with 0 ended with ${exitCode}`)
    } catch (error) {
      refused.push(`${runtime.name}: ${(error as Error).message}`)
    }
    showCgroups(runtime)
  }
  throw new ArchimageError('SANDBOX_MISSING', ['steps cannot run on this machine', ...refused].join('\n'), {
    hint: 'archimage doctor says what is missing and what to do about it',
  })
}

async function probe(runtime: Runtime, around: Surroundings): Promise<StepEnd> {
  const [base, disk] = [`${around.memory}/probe-root`, `${around.scratch}/probe`]
  try {
    for (const directory of [base, `${disk}/upper`, `${disk}/work`]) mkdirSync(directory, { recursive: true })
    const { bytes } = launchProgram([{ name: 'exit_group', args: [0] }], [])
    writeFileSync(`${base}/probe`, bytes, { mode: 0o755 })
    const step: Step = {
      ...{ id: `probe-${runtime.name}`, lowers: [base], upper: `${disk}/upper`, work: `${disk}/work` },
      ...{ args: ['/probe'], env: [], cwd: '/', user: '', mounts: [], network: 'none', insecure: false },
      ...{ hostname: 'probe', hosts: [], ulimits: [], limits: {} },
    }
    const nobody = { output: () => undefined, started: () => {} }
    return await runStep(step, { runtime, network: undefined, cgroups: [], around, ...nobody })
  } finally {
    rmSync(base, { recursive: true, force: true })
    rmSync(disk, { recursive: true, force: true })
  }
}

/** The first that connects. */
async function chooseNetwork(
  tools: readonly NetworkTool[],
  around: Surroundings,
  refused: string[],
): Promise<{ readonly tool: NetworkTool; readonly network: StepNetwork } | undefined> {
  for (const tool of await byQuality(tools)) {
    try {
      return { tool, network: await startNetwork(tool, around.memory) }
    } catch (error) {
      refused.push((error as Error).message)
    }
  }
  return undefined
}

function surroundings(directory: string): Surroundings {
  const [memory, scratch] = [`${directory}/memory`, `${directory}/scratch`]
  const stubs = `${scratch}/stubs`
  try {
    mkdirSync(memory, { recursive: true })
    // What a killed run left.
    rmSync(scratch, { recursive: true, force: true })
    mkdirSync(scratch)
    makeStubLayer(stubs)
    mount('tmpfs', memory, 'tmpfs', MS.NOSUID | MS.NODEV, 'mode=700')
  } catch (error) {
    throw systemError(error, `preparing ${directory} for steps`)
  }
  return {
    memory,
    scratch,
    stubs,
    rootless: isUserNamespace(),
    cgroups2: existsSync('/sys/fs/cgroup/cgroup.controllers'),
    inRootCgroup: /^0::\/$/m.test(readFileSync('/proc/self/cgroup', 'utf8')),
    openFiles: hardLimit('Max open files'),
    capabilities: ownCapabilities(),
    ttyGroup: isMapped('/proc/self/gid_map', 5),
    groupsDenied: readFileSync('/proc/self/setgroups', 'utf8').trim() === 'deny',
  }
}

/** Whether the user namespace has an id, see user_namespaces(7). */
function isMapped(file: string, id: number): boolean {
  return readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map(line => line.trim().split(/\s+/).map(Number))
    .some(([first, , count]) => id >= first! && id < first! + count!)
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
