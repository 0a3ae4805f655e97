import type { SandboxFacts, StepLimits } from '../sandbox/step.ts'
import type { Problem } from './engine.ts'

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
  /** Stages whose steps run again although their result is known; `true` for all. Names in lower case. */
  readonly fresh: true | ReadonlySet<string>
}

/** How RUN steps may run on this machine: what the user can, and what the command line says of it. */
export interface StepMeans {
  /** Why this user runs none natively. */
  readonly noSteps?: Problem
  /** `--sandbox`: only this way of starting steps. */
  readonly sandbox?: SandboxFacts['runtime']
  /** This process is in user and mount namespaces that were made for it alone. */
  readonly ownNamespace?: boolean
  /** `--install-emulators`. */
  readonly installEmulators?: boolean
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
