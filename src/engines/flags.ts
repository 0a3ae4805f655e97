import { buildPlatform, formatPlatform, type Platform, samePlatform } from '../oci/platform.ts'
import type { Cell, Problem } from './engine.ts'

/**
 * Flags that docker buildx and podman share: arguments, and what RUN steps are given. `own`: the platform of the engine's machine,
 * which it would take for that of the build.
 */
export function sharedFlags(
  { source, steps, options }: Pick<Cell, 'source' | 'steps' | 'options'>,
  own: Platform | undefined,
): string[] {
  const { fixed } = options.times
  const args = {
    ...(own === undefined || samePlatform(own, buildPlatform()) ? {} : buildArguments(buildPlatform())),
    ...source.args,
    ...(fixed === undefined ? {} : { SOURCE_DATE_EPOCH: String(fixed) }),
  }
  return [
    ...Object.entries(args).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]),
    ...(source.policy.network === 'default' ? [] : ['--network', source.policy.network]),
    ...steps.hosts.flatMap(([host, ip]) => ['--add-host', `${host}:${ip}`]),
    ...(steps.shmSize === undefined ? [] : ['--shm-size', String(steps.shmSize)]),
    ...steps.ulimits.flatMap(({ name, soft, hard }) => ['--ulimit', `${name}=${soft}:${hard}`]),
    ...[...steps.agents].flatMap(([id, paths]) => ['--ssh', `${id}=${paths.join(',')}`]),
    ...(steps.fresh === true ? ['--no-cache'] : []),
  ]
}

/** The platform that Dockerfiles know as that of the build is this machine's, wherever the engine works. */
function buildArguments(platform: Platform): Record<string, string> {
  return {
    BUILDPLATFORM: formatPlatform(platform),
    BUILDOS: platform.os,
    BUILDARCH: platform.architecture,
    BUILDVARIANT: platform.variant ?? '',
  }
}

/** `--memory` and its like, by docker's names. */
export function limitNames({ steps }: Pick<Cell, 'steps'>): (readonly [name: string, value: string])[] {
  const { limits } = steps
  const all = {
    memory: limits.memory,
    'memory-swap': limits.memorySwap,
    'cpu-shares': limits.cpuShares,
    'cpu-period': limits.cpuPeriod,
    'cpu-quota': limits.cpuQuota,
    'cpuset-cpus': limits.cpusetCpus,
    'cpuset-mems': limits.cpusetMems,
  }
  return Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)] as const]))
}

/** Neither buildx nor podman can hand on how many processes a step may have. */
export function lacksProcessLimit({ steps }: Pick<Cell, 'steps'>): Problem | undefined {
  if (steps.limits.pids === undefined) return undefined
  return {
    message: 'it cannot limit the processes of a step (--resource pids)',
    hint: 'the native engine can: leave --engine out',
  }
}
