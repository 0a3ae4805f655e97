import { mkdirSync } from 'node:fs'
import { ArchimageError } from '../errors/error.ts'
import { MS } from '../sys/mount.ts'
import { removeTree } from '../sys/remove-tree.ts'
import { runInChroot } from './chroot.ts'
import { makeDevices } from './devices.ts'
import { runInNamespaces } from './namespaces.ts'
import type { StepNetwork } from './network.ts'
import { type Running, type Runtime, runContainer } from './oci-runtime.ts'
import type { Output } from './output.ts'
import { prepareStep } from './prepare-step.ts'
import { Reasons } from './reasons.ts'
import { type Prepared, runtimeSpec } from './spec.ts'
import type { Step, StepEnd } from './step.ts'
import { oomKills } from './step-cgroups.ts'
import type { Surroundings } from './surroundings.ts'
import { Undo } from './undo.ts'

export interface Means {
  readonly runtime: Runtime
  /** For a step whose network is the default one. */
  readonly network: StepNetwork | undefined
  readonly cgroups: readonly string[]
  readonly around: Surroundings
  readonly output: Output
  /** Gets what can be killed. */
  readonly started: (running: Running) => void
}

/** Prepares a step, runs it, and takes away what was prepared. */
export async function runStep(step: Step, means: Means): Promise<StepEnd> {
  const { runtime, network, cgroups, around, started } = means
  if (cgroups.length > 0 && runtime.name !== 'namespaces')
    throw new ArchimageError(
      'SANDBOX_FAILED',
      `with ${runtime.name} the memory, CPU or processes of a step cannot be limited`,
      {
        hint: 'build without limits, or on Linux 5.12 or newer where namespaces can be made',
      },
    )
  if (step.network === 'none' && !around.mounts)
    throw new ArchimageError('SANDBOX_FAILED', 'with --sandbox=chroot a step cannot be kept from the network', {
      hint: 'build without --network=none, or where namespaces can be made',
    })
  const undo = new Undo()
  const place = `${around.memory}/${step.id}`
  try {
    mkdirSync(place)
    undo.add(() => removeTree(place))
    const prepared = { ...(await prepareStep(step, network, around, undo)), cgroups }
    const reasons = new Reasons()
    const running = start(step, prepared, { ...means, output: reasons.watch(means.output) }, place, undo)
    started(running)
    const end = await running.end
    const killed = cgroups.length === 0 ? undefined : oomKills(cgroups)
    return reasons.explain(end, { singleUser: around.groupsDenied, killed })
  } finally {
    undo.run()
  }
}

function start(step: Step, prepared: Prepared, { runtime, output }: Means, place: string, undo: Undo): Running {
  if (runtime.name === 'namespaces') return runInNamespaces(step, prepared, output)
  if (runtime.name === 'chroot') return runInChroot(step, prepared, output)
  const spec = runtimeSpec(step, prepared, mountDevices(`${place}/dev`, prepared.devices, undo))
  return runContainer(runtime, spec, prepared, step.id, place, output)
}

/** A /dev for a runtime that shall not make device nodes. */
function mountDevices(at: string, devices: string, undo: Undo): string {
  mkdirSync(at)
  undo.mount('tmpfs', at, 'tmpfs', MS.NOSUID | MS.NODEV, 'mode=755,size=65536k')
  makeDevices(at, devices)
  return at
}
