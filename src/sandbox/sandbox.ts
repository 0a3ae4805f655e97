import { existsSync, rmSync, statSync } from 'node:fs'
import { release } from 'node:os'
import { cancelled } from '../errors/error.ts'
import { findProgram } from '../sys/programs.ts'
import { Connection } from './connection.ts'
import type { NetworkTool } from './network.ts'
import type { Runtime } from './oci-runtime.ts'
import type { Verdict } from './protocol.ts'
import type { Sandbox, SandboxFacts } from './step.ts'
import { makeCgroups, makeRunCgroups } from './step-cgroups.ts'
import { isUserNamespace, SUB_ID_REMEDY } from './sub-ids.ts'

export interface SandboxOptions {
  /** A directory for this sandbox alone, on the file system of the snapshots; made, and removed by `close`. */
  readonly directory: string
  /** Where what was found out about this machine is kept, so that it is found out once: the store's records. */
  readonly records?: {
    get<T>(kind: string, key: string): T | undefined
    put(kind: string, key: string, value: unknown): void
  }
  /**
   * Only this way of starting steps. With `chroot`, for containers that may not make namespaces, a step is hardly confined: only where
   * somebody has asked for it.
   */
  readonly runtime?: Runtime['name']
}

const RECORDS = 'sandbox'

/**
 * Starts the process under which the steps of this run live: for when the first step is to run, and only then. Takes some 20 ms,
 * more the first time on a machine. Throws SANDBOX_MISSING where this machine runs none, with what to do about it.
 */
export async function openSandbox({ directory, records, runtime }: SandboxOptions): Promise<Sandbox> {
  const runtimes = runtimesHere().filter(
    ({ name }) => name === (runtime ?? name) && (name !== 'chroot' || runtime === name),
  )
  const networks = runtime === 'chroot' ? [] : networksHere()
  const key = JSON.stringify([release(), process.getuid?.(), [...runtimes, ...networks].map(identity)])
  const known = records?.get<Verdict>(RECORDS, key)
  const all = makeRunCgroups()
  const connection = new Connection(runtime !== 'chroot')
  let verdict: Verdict
  try {
    verdict = await connection.open({
      directory,
      runtimes,
      networks,
      cgroups: all.directories,
      ...(known && { known }),
    })
  } catch (error) {
    await connection.close()
    await all.close()
    throw error
  }
  if (known === undefined) records?.put(RECORDS, key, verdict)
  return {
    facts: factsOf(verdict),
    async run(step, tools) {
      if (tools.signal.aborted) throw cancelled(tools.signal.reason)
      // In a cgroup of its own it is no longer in that of the run.
      const isLimited = Object.keys(step.limits).length > 0
      const cgroups = makeCgroups(isLimited ? { ...all.limits, ...step.limits } : {})
      const [ended] = await Promise.allSettled([connection.run(step, cgroups.directories, tools)])
      await cgroups.close()
      if (tools.signal.aborted) throw cancelled(tools.signal.reason)
      if (ended.status === 'rejected') throw ended.reason
      return ended.value
    },
    async close() {
      await connection.close()
      await all.close()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/**
 * Ours first: it starts a step in 3 ms where runc takes 20. Crun undoes `nodev` on the root, so that device nodes would open: it is
 * for user namespaces only, in which there are none.
 */
function runtimesHere(): Runtime[] {
  const names = isUserNamespace() ? (['crun', 'runc'] as const) : (['runc'] as const)
  return [{ name: 'namespaces', path: '' }, ...installed(names), { name: 'chroot', path: '' }]
}

function networksHere(): NetworkTool[] {
  return existsSync('/dev/net/tun') ? installed(['pasta', 'slirp4netns'] as const) : []
}

function installed<Name extends string>(names: readonly Name[]): { readonly name: Name; readonly path: string }[] {
  return names.flatMap(name => {
    const path = findProgram(name)
    return path === undefined ? [] : [{ name, path }]
  })
}

/** Another version of a program is another program. */
function identity({ path }: { readonly path: string }): unknown {
  if (path === '') return path
  const { size, mtimeMs } = statSync(path)
  return [path, size, mtimeMs]
}

function factsOf({ runtime, network, roots, rootless, singleUser, refused }: Verdict): SandboxFacts {
  const remarks =
    runtime.name === 'chroot'
      ? [
          'steps are confined by chroot(2) alone: they see processes and network of this machine, their secrets lie on the disk while they run, and there is no /proc',
        ]
      : [
          ...(network === undefined
            ? ['steps use the network of this machine: neither pasta nor slirp4netns connects one of their own']
            : []),
          ...(roots === 'copy' ? ['roots are copied for every step, which takes long: overlays do not work here'] : []),
        ]
  return {
    ...{ runtime: runtime.name, rootless, roots, network: network?.name ?? 'host' },
    remarks: [
      ...remarks,
      ...(singleUser ? [`no user but yours exists in steps, chown to another fails: ${SUB_ID_REMEDY}`] : []),
      ...refused,
    ],
  }
}
