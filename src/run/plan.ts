import { MachineAbility } from '../engines/ability.ts'
import { Engines, engineLoader } from '../engines/choose.ts'
import { type ArchimageError, isArchimageError } from '../errors/error.ts'
import { checkOptions } from '../lint/check-options.ts'
import type { ImageManifest } from '../oci/manifest.ts'
import { formatPlatform } from '../oci/platform.ts'
import type { Resolution } from '../plan/graph.ts'
import { engineKey } from '../plan/key.ts'
import { openPreparation } from './prepare.ts'
import { knownImage, lastBuild } from './records.ts'
import { nativeOptions, planGraph, type RunRequest, type RunTools, readyForSteps, whyBuilt } from './run.ts'

export interface PlanCell {
  readonly service: string
  readonly platform: string
  readonly dockerfile: string
  readonly asked: boolean
  readonly resolutions: readonly Resolution[]
  /** `waits`: it stands on a service that is to be built first, so nobody knows yet. */
  readonly action: 'build' | 'unchanged' | 'waits'
  readonly reason: string
  /** The engine that builds it, or has built it; with the reason where it is not the native one by itself. */
  readonly engine?: string
  readonly engineReason?: string
  readonly emulated?: boolean
  /** The lower variant that a base image is taken for. */
  readonly fallback?: string
  readonly error?: ArchimageError
}

/** What `run` would do with the same request. Writes nothing but the store's records of resolved references. */
export async function planRun(
  request: RunRequest,
  tools: RunTools,
): Promise<{ readonly cells: readonly PlanCell[]; readonly warnings: readonly string[] }> {
  const warnings = new Set<string>(request.project.warnings)
  const emit: RunTools['emit'] = event => {
    if (event.type === 'warning') warnings.add(event.message)
  }
  const { preparation, blobs } = openPreparation(request, { ...tools, emit })
  // Whatever a namespace of our own gets is gone with it; on the machine a plan changes nothing.
  const { ownNamespace = false } = request.means ?? {}
  const ability = new MachineAbility({ memory: tools.store.records, ownNamespace })
  const engines = new Engines(request.engine, tools.signal, engineLoader(nativeOptions(request, ability)))
  await preparation.open(request.services)
  const graph = planGraph(request, preparation)
  for (const warning of graph.warnings) warnings.add(warning)
  await readyForSteps(graph, ability)
  const known = new Map<string, ImageManifest>()
  const cells: PlanCell[] = []
  for (const cell of graph.cells) {
    const common = {
      service: cell.service.name,
      platform: formatPlatform(cell.platform),
      dockerfile: cell.dockerfilePath,
      asked: cell.asked,
      resolutions: cell.resolutions,
    }
    const waits = cell.needs.find(id => !known.has(id))
    if (waits !== undefined) {
      cells.push({ ...common, action: 'waits', reason: `stands on ${waits}, which is built first` })
      continue
    }
    try {
      const prepared = await preparation.prepare(cell, service =>
        known.get(cell.needs.find(id => id.startsWith(`${service} `)) ?? ''),
      )
      // Only where it decides whether the cell can be built: lint tells the rest, and a plan is to be quick.
      if (checkOptions(cell.dockerfile, preparation.args(cell.service)).error) prepared.check()
      for (const warning of prepared.warnings) warnings.add(warning)
      const force = request.force || prepared.fresh
      const candidates = await engines.candidates(prepared.cell)
      const found = force ? undefined : knownImage(prepared, candidates, tools.store, blobs)
      const last = lastBuild(request.project.root, cell.id, tools.store)
      if (found) known.set(cell.id, found.manifest)
      const choice = found ? undefined : await engines.choose(prepared.cell, candidates)
      const engine = found?.engine ?? choice!.engine.name
      const why = whyBuilt(force, last, engineKey(prepared, engine))
      const same = cell.service.prebuild === undefined ? 'nothing changed' : 'nothing changed; prebuild runs first'
      const fallback = prepared.fallback === undefined ? {} : { fallback: prepared.fallback }
      cells.push({
        ...{ ...common, action: found ? 'unchanged' : 'build', reason: found ? same : why, ...fallback, engine },
        ...(choice?.why === undefined ? {} : { engineReason: choice.why }),
        ...(choice?.emulated ? { emulated: true } : {}),
      })
    } catch (error) {
      if (!isArchimageError(error) || error.code === 'CANCELLED') throw error
      // What is missing may be what the prebuild command makes, and plan does not run it.
      if (error.code === 'NOT_FOUND' && cell.service.prebuild !== undefined) {
        cells.push({ ...common, action: 'waits', reason: `prebuild runs first: ${error.message}` })
        continue
      }
      cells.push({ ...common, action: 'build', reason: error.message.split('\n')[0]!, error })
    }
  }
  await engines.close()
  preparation.save()
  return { cells, warnings: [...warnings] }
}
