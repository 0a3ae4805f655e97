import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { ArchimageError } from '../errors/error.ts'
import { hideCgroups, showCgroups } from './cgroups.ts'
import { launchProgram } from './launch-program.ts'
import { byQuality, type NetworkTool, type StepNetwork, startNetwork } from './network.ts'
import type { Runtime } from './oci-runtime.ts'
import { runStep } from './run-step.ts'
import type { Step, StepEnd } from './step.ts'
import type { Surroundings } from './surroundings.ts'

/** The first that starts a step; what is wrong with those before it goes into `refused`. Throws SANDBOX_MISSING. */
export async function chooseRuntime(
  runtimes: readonly Runtime[],
  around: Surroundings,
  refused: string[],
): Promise<Runtime> {
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

/** A step that ends at once. */
async function probe(runtime: Runtime, around: Surroundings): Promise<StepEnd> {
  const disk = `${around.scratch}/probe`
  const [base, upper, work] = [`${disk}/base`, `${disk}/upper`, `${disk}/work`]
  try {
    for (const directory of [base, upper, work]) mkdirSync(directory, { recursive: true })
    const { bytes } = launchProgram([{ name: 'exit_group', args: [0] }], [])
    writeFileSync(`${around.roots === 'copy' ? upper : base}/probe`, bytes, { mode: 0o755 })
    const step: Step = {
      ...{ id: `probe-${runtime.name}`, lowers: [base], upper, work, args: ['/probe'], env: [], cwd: '/', user: '' },
      ...{ mounts: [], network: around.mounts ? 'none' : 'default', insecure: false },
      ...{ hostname: 'probe', hosts: [], ulimits: [], limits: {} },
    }
    const nobody = { output: () => undefined, started: () => {} }
    return await runStep(step, { runtime, network: undefined, cgroups: [], around, ...nobody })
  } finally {
    rmSync(disk, { recursive: true, force: true })
  }
}

/** The first that connects; undefined: none does. */
export async function chooseNetwork(
  tools: readonly NetworkTool[],
  memory: string,
  refused: string[],
): Promise<{ readonly tool: NetworkTool; readonly network: StepNetwork } | undefined> {
  for (const tool of await byQuality(tools)) {
    try {
      return { tool, network: await startNetwork(tool, memory) }
    } catch (error) {
      refused.push((error as Error).message)
    }
  }
  return undefined
}
