import type { StepLimits } from '../sandbox/step.ts'

export interface Secret {
  readonly bytes: Uint8Array
  /** As `--secret` takes it, with an absolute path: for engines that read it themselves. */
  readonly spec: string
}

/** What RUN steps get that changes no key, layer or history: values of secrets, hosts, limits. */
export interface StepSettings {
  /** `--secret`, by id. */
  readonly secrets: ReadonlyMap<string, Secret>
  /** `--ssh`, by id: the path of an agent's socket, or of keys. */
  readonly agents: ReadonlyMap<string, readonly string[]>
  /** `--add-host`. */
  readonly hosts: readonly (readonly [host: string, ip: string])[]
  /** Bytes of /dev/shm. */
  readonly shmSize?: number
  readonly ulimits: readonly { readonly name: string; readonly soft: number; readonly hard: number }[]
  readonly limits: StepLimits
  /** `--sandbox=chroot`: steps are hardly confined, on copied roots, for the native engine where namespaces cannot be made. */
  readonly chroot?: boolean
  /** Stages whose steps run again although their result is known; `true` for all. Names in lower case. */
  readonly fresh: true | ReadonlySet<string>
}

export const NO_SETTINGS: StepSettings = {
  secrets: new Map(),
  agents: new Map(),
  hosts: [],
  ulimits: [],
  limits: {},
  fresh: new Set(),
}

/** Whether the steps of a stage run again. */
export function isFresh(stage: { readonly name: string }, { fresh }: StepSettings): boolean {
  return fresh === true || fresh.has(stage.name)
}
