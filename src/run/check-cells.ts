import type { Stage } from '../dockerfile/ast.ts'
import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { configPlatform } from '../oci/config.ts'
import { type Platform, selectPlatform } from '../oci/platform.ts'
import { cellId, type Graph, type PlannedCell } from '../plan/graph.ts'
import type { BaseImage, Lowered } from '../plan/lowered.ts'
import type { Preparation, Upstream } from './prepare.ts'

/**
 * The cells of a graph as they would be built, each lowered once after those that it needs. A service that another one stands
 * upon is known by the config that it would have.
 */
export class CheckedCells {
  private readonly graph: Graph
  private readonly preparation: Preparation
  private readonly lowered = new Map<string, Promise<Lowered | ArchimageError>>()

  constructor(graph: Graph, preparation: Preparation) {
    this.graph = graph
    this.preparation = preparation
    for (const cell of graph.cells) {
      const lower = (): Promise<Lowered> => preparation.lower(cell, this.upstream)
      const outcome = Promise.all(cell.needs.map(id => this.lowered.get(id))).then(lower)
      const settled = outcome.catch(asError)
      // Nobody may ask for this one; who does gets what it threw.
      settled.catch(() => {})
      this.lowered.set(cell.id, settled)
    }
  }

  /** What keeps a cell, or one of its other targets, from being built; nothing for a cell that the graph does not have. */
  async errors(service: string, platform: Platform, targets: readonly Stage[]): Promise<readonly ArchimageError[]> {
    const cell = this.find(service, platform)
    if (!cell) return []
    const others = await Promise.all(
      targets.map(({ index }) => this.preparation.lower(cell, this.upstream, undefined, String(index)).catch(asError)),
    )
    // Stages for tests and tools may be of the build platform: no image of theirs is published.
    const wrong = others.filter(isArchimageError).filter(({ code }) => code !== 'PLATFORM_MISMATCH')
    const own = await this.lowered.get(cell.id)
    return isArchimageError(own) ? [own, ...wrong] : wrong
  }

  readonly upstream: Upstream = async (service, platform) => {
    const cells = this.graph.cells.filter(cell => cell.service.name === service)
    const match = selectPlatform(
      platform,
      cells.map(cell => cell.platform),
    )
    const lowered = match && (await this.lowered.get(cells[match.index]!.id))
    if (lowered === undefined || isArchimageError(lowered)) throw unknownService(service)
    return asBase(service, lowered)
  }

  private find(service: string, platform: Platform): PlannedCell | undefined {
    return this.graph.cells.find(cell => cell.id === cellId(service, platform))
  }
}

/** What a service upon which others stand would be, as far as checks can tell without building it. */
function asBase(service: string, { target }: Lowered): BaseImage {
  const { config } = target
  const written = (config.history ?? []).some(entry => entry.empty_layer !== true)
  return {
    name: `service ${service}`,
    // Only whether there are layers is asked of it.
    manifest: { layers: written ? [{}] : [] } as unknown as BaseImage['manifest'],
    config,
    platform: configPlatform(config),
    exact: true,
    service,
  }
}

/** For a service that cannot be lowered: its own error says why, so nobody else's is to be told. */
function unknownService(service: string): ArchimageError {
  return new ArchimageError('NOT_FOUND', `nothing is known of service ${service}`, {
    details: { unknownService: service },
  })
}

export function isUnknownService(error: ArchimageError): boolean {
  return error.details['unknownService'] !== undefined
}

function asError(error: unknown): ArchimageError {
  if (isArchimageError(error) && error.code !== 'CANCELLED') return error
  throw error
}
