import type { Dockerfile, Instruction } from '../dockerfile/ast.ts'
import { targetStage, triggersIn } from '../dockerfile/stages.ts'
import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { formatPlatform, type Platform, selectPlatform } from '../oci/platform.ts'
import type { Project, Service } from '../project/project.ts'
import { matchServiceReference } from '../project/references.ts'
import { dockerfileFor } from '../project/service.ts'
import { placeIn } from './from.ts'
import { type ImageUse, needs as needsOf, type StepUse } from './references.ts'
import { unusedArguments } from './unused-arguments.ts'

/** What a reference in a Dockerfile turned out to be; `plan` prints these. */
export interface Resolution {
  readonly reference: string
  readonly is: 'service' | 'image'
  readonly service?: string
  readonly line: number
  /** "looks like the service base, but …". */
  readonly nearMiss?: string
}

export interface PlannedCell {
  readonly id: string
  readonly service: Service
  readonly platform: Platform
  readonly dockerfilePath: string
  readonly dockerfile: Dockerfile
  /** Cells that must be right before this one can be built. */
  readonly needs: readonly string[]
  readonly resolutions: readonly Resolution[]
  /** RUN steps, but for those that images leave to whoever builds upon them. */
  readonly steps: readonly StepUse[]
  /** Asked for by name or default, and not only because another service needs it. */
  readonly asked: boolean
}

export interface Graph {
  /** In an order in which every cell comes after what it needs. */
  readonly cells: readonly PlannedCell[]
  readonly byId: ReadonlyMap<string, PlannedCell>
  readonly warnings: readonly string[]
}

export function cellId(service: string, platform: Platform): string {
  return `${service} ${formatPlatform(platform)}`
}

export interface GraphInput {
  readonly project: Project
  readonly services: readonly Service[]
  /** The platforms to build a service for. */
  readonly platformsOf: (service: Service) => readonly Platform[]
  readonly args: (service: Service) => Readonly<Record<string, string>>
  readonly readDockerfile: (path: string) => Dockerfile
  /** Names of the arguments that the command line gives. */
  readonly given: readonly string[]
}

/**
 * The cells that were asked for and those that they need, in order. A reference is a service by the rule of DESIGN §5.
 * Throws SERVICE_CYCLE with the cycle, PLATFORM_MISSING when a service is needed for a platform that it is not built for.
 */
export function buildGraph(input: GraphInput): Graph {
  const { project } = input
  const warnings = new Set<string>()
  const cells = new Map<string, PlannedCell>()
  const asked = new Set(
    input.services.flatMap(service => input.platformsOf(service).map(platform => cellId(service.name, platform))),
  )
  const path: string[] = []
  for (const service of input.services) for (const platform of input.platformsOf(service)) visit(service, platform)
  for (const message of unusedArguments([...cells.values()], input.given)) warnings.add(message)
  return { cells: [...cells.values()], byId: cells, warnings: [...warnings] }

  function visit(service: Service, platform: Platform): string {
    const id = cellId(service.name, platform)
    if (cells.has(id)) return id
    if (path.includes(id)) {
      const names = [...path.slice(path.indexOf(id)), id].map(step => step.slice(0, step.indexOf(' ')))
      throw new ArchimageError('SERVICE_CYCLE', `services need each other in a circle: ${names.join(' → ')}`, {
        hint: 'let one of them stand on another base; archimage plan shows what each reference is taken for',
      })
    }
    path.push(id)
    const dockerfilePath = dockerfileFor(service, platform)
    if (dockerfilePath === undefined)
      throw new ArchimageError(
        'PLATFORM_MISSING',
        `${service.name} has no Dockerfile for ${formatPlatform(platform)}`,
        {
          hint: `it has Dockerfiles for ${Object.keys(service.dockerfiles).join(', ')}; add one, or leave the platform out`,
        },
      )
    const dockerfile = input.readDockerfile(dockerfilePath)
    const needs: string[] = []
    const resolutions: Resolution[] = []
    const { images, steps } = needsOf(dockerfile, {
      platform,
      args: input.args(service),
      ...(service.target === undefined ? {} : { target: service.target }),
      named: service.buildContexts,
      triggersOf: (reference, wanted) => triggersOf(reference, wanted, service),
    })
    for (const use of images) resolutions.push(resolution(use, service, dockerfile, platform, needs))
    for (const [name, value] of Object.entries(service.buildContexts)) {
      const other = /^(?:service|target):(.+)$/s.exec(value)?.[1]
      const [, only] = name.split('::')
      if (other !== undefined && (only === undefined || only === formatPlatform(platform)))
        needService(other, `build-contexts: ${name}`, platform, needs)
    }
    path.pop()
    const place = { id, service, platform, dockerfilePath, dockerfile }
    cells.set(id, { ...place, needs, resolutions, steps, asked: asked.has(id) })
    return id
  }

  /** What a service leaves to those who build upon it, by its Dockerfile. */
  function triggersOf(reference: string, wanted: Platform, by: Service): readonly Instruction[] {
    const match = matchServiceReference(project, reference, by)
    if (match === undefined || !('service' in match)) return []
    const path = dockerfileFor(match.service, wanted)
    if (path === undefined) return []
    return triggersIn(targetStage(input.readDockerfile(path), match.service.target))
  }

  function resolution(
    use: ImageUse,
    service: Service,
    dockerfile: Dockerfile,
    platform: Platform,
    needs: string[],
  ): Resolution {
    const line = use.instruction.range.start.line
    const match = matchServiceReference(project, use.reference, service)
    if (match === undefined) return { reference: use.reference, is: 'image', line }
    if (!('service' in match)) {
      const nearMiss = `"${use.reference}" looks like service ${match.nearMiss.name}, but is taken from the registry: ${match.why}`
      warnings.add(`${dockerfile.file}:${line}: ${nearMiss}`)
      return { reference: use.reference, is: 'image', line, nearMiss }
    }
    const other = match.service
    const platforms = platformsFor(other, use.platform)
    const chosen = selectPlatform(use.platform, platforms)
    if (!chosen)
      throw new ArchimageError(
        'PLATFORM_MISSING',
        `${service.name} for ${formatPlatform(platform)} needs ${other.name} for ${formatPlatform(use.platform)}, which is built for ${platforms.map(formatPlatform).join(', ')} only`,
        {
          place: placeIn(dockerfile, use.instruction),
          hint: `add ${formatPlatform(use.platform)} to the platforms of ${other.name}`,
        },
      )
    try {
      needs.push(visit(other, platforms[chosen.index]!))
    } catch (error) {
      if (isArchimageError(error) && error.code === 'SERVICE_CYCLE' && !error.place)
        throw new ArchimageError('SERVICE_CYCLE', error.message, {
          hint: error.hint ?? '',
          place: placeIn(dockerfile, use.instruction),
        })
      throw error
    }
    return { reference: use.reference, is: 'service', service: other.name, line }
  }

  /** A service that is only needed is built for what needs it where its own platforms leave that open. */
  function platformsFor(service: Service, wanted: Platform): readonly Platform[] {
    const own = input.platformsOf(service)
    return selectPlatform(wanted, own) ? own : service.platforms
  }

  function needService(name: string, where: string, platform: Platform, needs: string[]): void {
    const service = project.services.find(candidate => candidate.name === name)
    if (!service) throw new ArchimageError('UNKNOWN_SERVICE', `${where}: there is no service "${name}"`, {})
    needs.push(visit(service, platform))
  }
}
