import { readFileSync } from 'node:fs'
import { arch, release } from 'node:os'
import { join } from 'node:path'
import { isArchimageError } from '../errors/error.ts'
import { seccompProfile } from '../sandbox/confinement.ts'
import { openSandbox } from '../sandbox/sandbox.ts'
import type { SandboxFacts } from '../sandbox/step.ts'
import { makeCgroups } from '../sandbox/step-cgroups.ts'
import { isUserNamespace, SUB_ID_REMEDY } from '../sandbox/sub-ids.ts'
import { overlayProblem } from '../sys/overlay.ts'
import { findProgram } from '../sys/programs.ts'
import { type Finding, missing, ok, weaker } from './finding.ts'

/**
 * What RUN steps need of this machine, by trying it. `folder` exists, on the disk of the store. `refusal`: why an ordinary user could
 * not enter a user namespace.
 */
export async function diagnoseSandbox(folder: string, refusal?: Error): Promise<Finding[]> {
  const kernel = ok('kernel', `${process.platform === 'linux' ? 'Linux' : process.platform} ${release()}, ${arch()}`)
  if (process.platform !== 'linux')
    return [
      kernel,
      missing('steps', 'RUN steps run on Linux only', 'docker or podman run them here, see docs/engines.md'),
    ]
  if (refusal !== undefined) return [kernel, refused('steps', refusal)]
  return [kernel, users(), ...(await steps(folder)), roots(folder), filter(), limits(), runtimes()]
}

function refused(id: string, error: Error): Finding {
  const hint = isArchimageError(error) ? error.hint : undefined
  return missing(id, error.message, hint ?? 'this is a bug to be reported')
}

function users(): Finding {
  if (!isUserNamespace()) return ok('users', 'root: steps have all users and groups')
  const ids = readFileSync('/proc/self/uid_map', 'utf8')
    .trim()
    .split('\n')
    .reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[2]), 0)
  return ids > 1
    ? ok('users', `an ordinary user: steps run in a user namespace with ${ids} users`)
    : weaker('users', 'an ordinary user without sub-ids: in steps no other user or group exists', SUB_ID_REMEDY)
}

async function steps(folder: string): Promise<Finding[]> {
  try {
    const sandbox = await openSandbox({ directory: join(folder, `doctor-${process.pid}`) })
    await sandbox.close()
    return [started(sandbox.facts), network(sandbox.facts)]
  } catch (error) {
    return [refused('steps', error as Error)]
  }
}

function started({ runtime, remarks }: SandboxFacts): Finding {
  if (runtime === 'namespaces') return ok('steps', 'RUN steps run here, in namespaces that archimage makes')
  const why = remarks.find(text => text.startsWith('namespaces: '))
  return weaker(
    'steps',
    `RUN steps run here, by ${runtime} (${why})`,
    'Linux 5.12 or newer starts them several times as fast',
  )
}

function network({ network, remarks }: SandboxFacts): Finding {
  if (network !== 'host') return ok('network', `steps have a network of their own, through ${network}`)
  const why = remarks.filter(text => /^(pasta|slirp4netns): /.test(text)).join('; ')
  return weaker(
    'network',
    `steps use the network of this machine, its loopback too${why === '' ? '' : ` (${why})`}`,
    why === ''
      ? 'install slirp4netns, or pasta (package passt) of 2024 or newer; both need /dev/net/tun'
      : 'make that work, or see to it that nothing listens that steps may not reach',
  )
}

function roots(folder: string): Finding {
  const problem = overlayProblem(folder, isUserNamespace())
  return problem === undefined
    ? ok('roots', 'layers are stacked by overlayfs')
    : weaker(
        'roots',
        `overlayfs does not work on the disk of the store (${problem})`,
        'put the store (ARCHIMAGE_HOME) on ext4, xfs or btrfs',
      )
}

function filter(): Finding {
  const seccomp = /^Seccomp:/m.test(readFileSync('/proc/self/status', 'utf8'))
  return seccomp && seccompProfile() !== undefined
    ? ok('seccomp', "system calls are filtered as docker's default profile does")
    : weaker(
        'seccomp',
        'system calls of steps are not filtered',
        'a kernel with CONFIG_SECCOMP_FILTER is needed, on x86-64 or arm64',
      )
}

function limits(): Finding {
  try {
    void makeCgroups({ memory: 64 << 20, cpuShares: 512 }).close()
    return ok('cgroups', 'memory and CPU of steps can be limited')
  } catch (error) {
    return weaker(
      'cgroups',
      (error as Error).message,
      'only --resource needs it; root may where /sys/fs/cgroup can be written to',
    )
  }
}

function runtimes(): Finding {
  const found = ['runc', 'crun'].filter(name => findProgram(name) !== undefined)
  return ok('runtimes', `OCI runtimes to fall back on: ${found.join(', ') || 'none, and none is needed'}`)
}
