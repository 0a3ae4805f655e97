import type { Dockerfile, Instruction } from '../dockerfile/ast.ts'
import { didYouMean } from '../errors/suggest.ts'
import type { PlannedCell } from './graph.ts'

/** Arguments that mean something without an ARG. */
const PREDEFINED =
  /^(?:BUILDKIT_\w+|SOURCE_DATE_EPOCH|(?:BUILD|TARGET)(?:PLATFORM|OS|OSVERSION|ARCH|VARIANT)|TARGETSTAGE|(?:https?|ftp|no|all)_proxy)$/i

/**
 * Warnings about arguments that nobody takes: those of the command line, where no Dockerfile of the run declares them, and those of a
 * service in the project file, where its own does not. What triggers of foreign bases declare is not known here.
 */
export function unusedArguments(cells: readonly PlannedCell[], given: readonly string[]): readonly string[] {
  const declared = new Map(cells.map(({ dockerfile }) => [dockerfile, declaredArguments(dockerfile)]))
  const triggers = cells.flatMap(({ dockerfile }) => dockerfile.stages.flatMap(onbuildArguments))
  const all = new Set([...declared.values()].flatMap(names => [...names]))
  const files = [...new Set(cells.map(({ dockerfile }) => dockerfile.file))]
  const where = files.length === 1 ? files[0]! : 'any Dockerfile'
  const warnings = new Set(
    given
      .filter(name => isUnused(name, all))
      .map(name => `--build-arg ${name}: no ARG of ${where} takes it${meant(name, all)}`),
  )
  for (const { service, dockerfile } of cells) {
    const own = new Set([...declared.get(dockerfile)!, ...triggers])
    for (const name of Object.keys(service.args))
      if (isUnused(name, own))
        warnings.add(`args of ${service.name}: no ARG of ${dockerfile.file} takes ${name}${meant(name, own)}`)
  }
  return [...warnings]
}

function isUnused(name: string, declared: ReadonlySet<string>): boolean {
  return !PREDEFINED.test(name) && !declared.has(name)
}

function meant(name: string, declared: Iterable<string>): string {
  const near = didYouMean(name, [...declared])
  return near === undefined ? '' : ` (${near.replace(/\?$/, '')}?)`
}

function declaredArguments({ globalArgs, stages }: Dockerfile): ReadonlySet<string> {
  return new Set([...globalArgs, ...stages.flatMap(({ instructions }) => instructions)].flatMap(argumentsOf))
}

function onbuildArguments({ instructions }: Dockerfile['stages'][number]): readonly string[] {
  return instructions.flatMap(one => (one.kind === 'onbuild' ? argumentsOf(one) : []))
}

function argumentsOf(one: Instruction): readonly string[] {
  if (one.kind === 'onbuild') return argumentsOf(one.instruction)
  return one.kind === 'arg' ? one.args.map(({ key }) => key) : []
}
