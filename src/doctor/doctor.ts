import { dockerEngine } from '../engines/docker/engine.ts'
import type { Engine } from '../engines/engine.ts'
import { podmanEngine } from '../engines/podman/engine.ts'
import { type Finding, ok } from './finding.ts'
import { diagnosePlatforms } from './platforms.ts'
import { diagnoseSandbox } from './sandbox.ts'

export interface DiagnoseOptions {
  /** A folder on the disk of the store. */
  readonly folder: string
  /** Why an ordinary user could not enter a user namespace. */
  readonly refusal?: Error
  readonly signal: AbortSignal
}

/** Looks at this machine: what archimage can do here, why not more, and what to do about it. */
export async function diagnose({ folder, refusal, signal }: DiagnoseOptions): Promise<Finding[]> {
  const [sandbox, platforms, ...engines] = await Promise.all([
    diagnoseSandbox(folder, refusal),
    diagnosePlatforms(folder),
    ...[dockerEngine(), podmanEngine()].map(engine => asked(engine, signal)),
  ])
  return [...sandbox, ...platforms, ...engines]
}

async function asked(engine: Engine, signal: AbortSignal): Promise<Finding> {
  const { problems } = await engine.probe(signal)
  const [problem] = problems
  return ok(
    engine.name,
    problem === undefined ? `${engine.name} can take over` : `not needed, and not there: ${problem.message}`,
  )
}
