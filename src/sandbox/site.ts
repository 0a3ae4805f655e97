import { ArchimageError } from '../errors/error.ts'
import { overlayProblem } from '../sys/overlay.ts'
import { hideCgroups } from './cgroups.ts'
import { chooseNetwork, chooseRuntime } from './choices.ts'
import { type StepNetwork, startNetwork } from './network.ts'
import type { Running } from './oci-runtime.ts'
import type { Output } from './output.ts'
import type { Setup, Verdict } from './protocol.ts'
import { runStep } from './run-step.ts'
import type { Step, StepEnd } from './step.ts'
import { enterCgroup } from './step-cgroups.ts'
import { lookAround, type Surroundings } from './surroundings.ts'

/** Where steps run: within our own pid and mount namespace. */
export interface Site {
  readonly verdict: Verdict
  /** `cgroups` are those that the step is to be in; `started` gets what can be killed. */
  run(step: Step, cgroups: readonly string[], output: Output, started: (running: Running) => void): Promise<StepEnd>
}

/** Finds out what works here, or takes what is known to. Throws SANDBOX_MISSING when nothing does. */
export async function openSite({ directory, runtimes, networks, cgroups, known }: Setup): Promise<Site> {
  cgroups.forEach(enterCgroup)
  const looked = lookAround(
    directory,
    runtimes.some(({ name }) => name !== 'chroot'),
  )
  const { roots, problem } = known ?? rootsOf(looked)
  const around: Surroundings = { ...looked, roots }
  let verdict = known
  let connected: Promise<StepNetwork> | undefined
  if (verdict === undefined) {
    const refused = problem === undefined ? [] : [problem]
    const runtime = await chooseRuntime(runtimes, around, refused)
    const found = await chooseNetwork(networks, around.memory, refused)
    connected = found && Promise.resolve(found.network)
    verdict = {
      ...{ runtime, roots, rootless: around.rootless, singleUser: around.groupsDenied, refused },
      ...(found === undefined ? {} : { network: found.tool }),
    }
  } else {
    hideCgroups(verdict.runtime)
    if (verdict.network !== undefined) connected = startNetwork(verdict.network, around.memory)
    // The step that needs it says it.
    connected?.catch(() => {})
  }
  const { runtime } = verdict
  const run: Site['run'] = async (step, cgroups, output, started) => {
    const network = step.network === 'default' && connected !== undefined ? await networkOf(connected) : undefined
    return runStep(step, { runtime, network, cgroups, around, output, started })
  }
  return { verdict, run: roots === 'copy' ? oneByOne(run) : run }
}

function rootsOf({ scratch, mounts, rootless }: Omit<Surroundings, 'roots'>): {
  readonly roots: Surroundings['roots']
  readonly problem?: string
} {
  const problem = mounts ? overlayProblem(scratch, rootless) : undefined
  if (mounts && problem === undefined) return { roots: 'overlay' }
  return { roots: 'copy', ...(problem === undefined ? {} : { problem: `overlayfs: ${problem}` }) }
}

function networkOf(connected: Promise<StepNetwork>): Promise<StepNetwork> {
  return connected.catch(error => {
    throw new ArchimageError('SANDBOX_FAILED', `the network of the steps could not be made: ${error.message}`, {
      hint: 'try again, or run the step in the network of this machine: --network=host',
      cause: error,
    })
  })
}

/**
 * One step at a time, where roots are copied. Nothing closes such a root to whom a step has handed what it had open there, as `seal` does
 * with an overlay; and without pid namespaces nobody knows whose a process is that has lost its parent: then all of them go.
 */
function oneByOne(run: Site['run']): Site['run'] {
  let last: Promise<unknown> = Promise.resolve()
  return (...args) => {
    const next = last.then(() => run(...args))
    last = next.catch(() => {})
    return next
  }
}
