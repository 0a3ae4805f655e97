import type { Context } from '../context/context.ts'
import type { Dockerfile } from '../dockerfile/ast.ts'
import { placeOf } from '../dockerfile/fault.ts'
import { type ArchimageError, isArchimageError } from '../errors/error.ts'
import { EVERY_CHECK } from '../lint/check-options.ts'
import type { CheckedFile } from '../lint/checked.ts'
import { type LintError, type LintResult, merged } from '../lint/finding.ts'
import { imageUses, otherTargets } from '../lint/image-uses.ts'
import { type LintOptions, lintDockerfile } from '../lint/lint.ts'
import type { FileMode } from '../lint/rule.ts'
import type { KnownImage } from '../lint/stage-views.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import { relocated } from '../plan/placed.ts'
import type { Service } from '../project/project.ts'
import { dockerfileFor } from '../project/service.ts'
import { CheckedCells, isUnknownService } from './check-cells.ts'
import { modesOf } from './check-modes.ts'
import { shortPath } from './dockerfiles.ts'
import type { LookedUp } from './images.ts'
import { openPreparation, type Preparation } from './prepare.ts'
import { planGraph, type RunRequest, type RunTools } from './run.ts'

export interface CheckReport {
  /** Each Dockerfile once, in the order of the services. */
  readonly files: readonly CheckedFile[]
  /** What could not be looked at, and why: no failure, but rules that need it say nothing. */
  readonly notes: readonly string[]
}

export type CheckRequest = Pick<RunRequest, 'project' | 'services' | 'platformsOf' | 'settings' | 'pull' | 'offline'>

/** A Dockerfile of a service, and the platforms that it is for. */
interface Unit {
  readonly service: Service
  readonly path: string
  readonly platforms: readonly Platform[]
}

/** An image cannot be looked at, without anything being wrong with the Dockerfile. */
const OUT_OF_REACH: readonly string[] = [
  'OFFLINE',
  'REGISTRY_UNREACHABLE',
  'REGISTRY_ERROR',
  'REGISTRY_ANSWER',
  'UNAUTHORIZED',
  'CREDENTIALS',
]

/**
 * Checks the Dockerfiles of services for all their platforms. Looks at base images, in the store or in their registries, and at the
 * files of contexts; builds nothing. Throws what no Dockerfile is to blame for (SERVICE_CYCLE and the like).
 */
export async function checkServices(request: CheckRequest, tools: RunTools): Promise<CheckReport> {
  const notes = new Set<string>()
  const emit: RunTools['emit'] = event => {
    if (event.type === 'warning') notes.add(event.message)
  }
  const { preparation } = openPreparation(request, { ...tools, emit })
  await preparation.open(request.services)
  const units = request.services.flatMap(service => unitsOf(service, request.platformsOf(service)))
  const cells = cellsOf(request, units, preparation)
  const check = new Check(request, preparation, cells, notes)
  return { files: byFile(await Promise.all(units.map(unit => check.unit(unit)))), notes: [...notes] }
}

class Check {
  private readonly request: CheckRequest
  private readonly preparation: Preparation
  private readonly cells: CheckedCells
  private readonly notes: Set<string>

  constructor(request: CheckRequest, preparation: Preparation, cells: CheckedCells, notes: Set<string>) {
    this.request = request
    this.preparation = preparation
    this.cells = cells
    this.notes = notes
  }

  async unit(unit: Unit): Promise<CheckedFile> {
    const { preparation } = this
    const platforms = unit.platforms.map(formatPlatform)
    const about = { file: shortPath(unit.path, this.request.project.root), path: unit.path, platforms }
    let dockerfile: Dockerfile
    try {
      dockerfile = preparation.readDockerfile(unit.path)
    } catch (error) {
      if (!isArchimageError(error)) throw error
      const bytes = error.place === undefined ? new Uint8Array() : preparation.dockerfileBytes(unit.path)
      return { ...about, bytes, lines: [], findings: [], errors: [{ error, platforms }], options: EVERY_CHECK }
    }
    const bytes = preparation.dockerfileBytes(unit.path)
    return { ...about, bytes, lines: dockerfile.lines, ...(await this.dockerfile(unit, dockerfile)) }
  }

  private async dockerfile(unit: Unit, dockerfile: Dockerfile): Promise<LintResult> {
    const { service, platforms } = unit
    const errors: LintError[] = []
    const tell = (error: ArchimageError, platform: Platform): void => {
      if (OUT_OF_REACH.includes(error.code)) this.notes.add(error.message)
      else if (!isUnknownService(error)) errors.push({ error, platforms: [formatPlatform(platform)] })
    }
    const options = this.options(unit)
    for (const platform of platforms) {
      const others = options.target === undefined ? otherTargets(dockerfile, options, platform) : []
      for (const error of await this.cells.errors(service.name, platform, others)) tell(error, platform)
    }
    const known = new Map<string, KnownImage>()
    await Promise.all(
      imageUses(dockerfile, options).map(async ({ reference, by, wanted, platform }) => {
        try {
          known.set(
            keyOf(reference, wanted),
            knownImage(await this.preparation.look(reference, wanted, service, this.cells.upstream)),
          )
        } catch (error) {
          if (!isArchimageError(error) || error.code === 'CANCELLED') throw error
          tell(relocated(error, placeOf(dockerfile, by.range)), platform)
        }
      }),
    )
    const result = lintDockerfile(dockerfile, { ...options, image: (name, wanted) => known.get(keyOf(name, wanted)) })
    const all = merged({ findings: result.findings, errors: [...errors, ...result.errors] })
    return { ...all, errors: all.errors.flatMap(error => withoutSaid(error, result)), options: result.options }
  }

  private options({ service, path, platforms }: Unit): LintOptions {
    const context = this.context(service, path)
    return {
      ...this.preparation.checkOptions(service, context),
      platforms,
      ...(context && service.modes === 'context' ? { modes: once(sources => modesOf(context, sources)) } : {}),
    }
  }

  private context(service: Service, path: string): Context | undefined {
    try {
      return this.preparation.context(service, path)
    } catch (error) {
      if (!isArchimageError(error)) throw error
      this.notes.add(error.message)
      return undefined
    }
  }
}

function unitsOf(service: Service, platforms: readonly Platform[]): readonly Unit[] {
  const groups = Map.groupBy(platforms, platform => dockerfileFor(service, platform) ?? service.dockerfile)
  return [...groups].map(([path, group]) => ({ service, path, platforms: group }))
}

/** The cells of all services whose Dockerfiles can be read that far; what is wrong with the others is said by their own check. */
function cellsOf(request: CheckRequest, units: readonly Unit[], preparation: Preparation): CheckedCells {
  let services = request.services
  for (;;)
    try {
      return new CheckedCells(planGraph({ ...request, services }, preparation), preparation)
    } catch (error) {
      const file = isArchimageError(error) ? error.place?.file : undefined
      const wrong = units.filter(({ path }) => shortPath(path, request.project.root) === file).map(unit => unit.service)
      const rest = services.filter(service => !wrong.includes(service))
      if (rest.length === services.length) throw error
      services = rest
    }
}

/** An error about platforms is not told again where a finding says it better. */
function withoutSaid(one: LintError, { findings }: LintResult): readonly LintError[] {
  const { code, place } = one.error
  if (code !== 'PLATFORM_MISSING' && code !== 'PLATFORM_MISMATCH') return [one]
  const said = findings.filter(({ rule, level, range }) =>
    code === 'PLATFORM_MISMATCH' ? rule === 'FinalStagePinned' : level === 'error' && range.start.line === place?.line,
  )
  const platforms = one.platforms.filter(platform => !said.some(finding => finding.platforms.includes(platform)))
  return platforms.length === 0 ? [] : [{ ...one, platforms }]
}

/** Services may share a Dockerfile: what is found in it for several of them is told once. */
function byFile(checked: readonly CheckedFile[]): readonly CheckedFile[] {
  const groups = Map.groupBy(checked, ({ file }) => file)
  return [...groups.values()].map(group => ({
    ...group[0]!,
    ...merged({ findings: group.flatMap(one => one.findings), errors: group.flatMap(one => one.errors) }),
    platforms: [...new Set(group.flatMap(one => one.platforms))],
  }))
}

/** Each platform asks for the same. */
function once(modes: (sources: readonly string[]) => readonly FileMode[]): typeof modes {
  const known = new Map<string, readonly FileMode[]>()
  return sources => {
    const key = JSON.stringify(sources)
    const found = known.get(key) ?? modes(sources)
    known.set(key, found)
    return found
  }
}

function keyOf(reference: string, platform: Platform): string {
  return `${reference} ${formatPlatform(platform)}`
}

function knownImage({ index, platform, config }: LookedUp): KnownImage {
  const { Env = [], Shell = [], OnBuild = [] } = config.config ?? {}
  return { index, platform, env: Env, shell: Shell.length > 0, onbuild: OnBuild }
}
