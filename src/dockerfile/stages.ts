import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import type { CopyInstruction, Dockerfile, Instruction, RunInstruction, Stage } from './ast.ts'
import { expandWord } from './expand.ts'
import { invalid, quoted } from './fault.ts'
import { mountFrom } from './mounts.ts'

/** What the graph of stages needs to know from its caller. */
export interface StageOptions {
  /** The name after FROM with its variables expanded; undefined when a named context stands in for the whole stage. */
  readonly baseOf: (stage: Stage) => string | undefined
  /** ONBUILD triggers of the image that a stage begins with. Those of stages in the same file are known here. */
  readonly triggersOf?: (stage: Stage) => readonly Instruction[]
}

/** A stage by name (in any case; of several the last), by the digits of its index, or by its index. */
export function findStage(dockerfile: Dockerfile, nameOrIndex: string | number): Stage | undefined {
  if (typeof nameOrIndex === 'number') return dockerfile.stages[nameOrIndex]
  if (/^\d+$/.test(nameOrIndex)) return dockerfile.stages[Number(nameOrIndex)]
  return stageNamed(dockerfile, nameOrIndex)
}

/** A stage by name, in any case; of several the last. Mounts know stages by name only. */
export function stageNamed(dockerfile: Dockerfile, name: string): Stage | undefined {
  const lower = name.toLowerCase()
  return dockerfile.stages.findLast(stage => stage.name === lower)
}

/** The stage that `--target` names, or the last one. Throws USAGE with a suggestion. */
export function targetStage(dockerfile: Dockerfile, target?: string): Stage {
  if (target === undefined || target === '') return dockerfile.stages.at(-1)!
  const stage = findStage(dockerfile, target)
  if (stage !== undefined) return stage
  const names = dockerfile.stages.flatMap(({ name }) => name ?? [])
  throw new ArchimageError('USAGE', `the target ${quoted(target)} is no stage of ${dockerfile.file}`, {
    hint:
      didYouMean(target, names) ??
      (names.length > 0
        ? `its stages are ${names.join(', ')}`
        : 'its stages have no names: FROM image AS name gives one'),
    place: { file: dockerfile.file },
  })
}

/** The stage that `FROM name` continues: an earlier one with exactly this name, which is always in lower case. */
export function baseStage(dockerfile: Dockerfile, stage: Stage, name: string): Stage | undefined {
  return dockerfile.stages.findLast(other => other.index < stage.index && other.name === name)
}

/**
 * The stage that `COPY --from` names, by name or index; undefined when it is an image or a named context. Throws for a
 * variable in it and for an index that no stage has.
 */
export function copySource(dockerfile: Dockerfile, copy: CopyInstruction): Stage | undefined {
  const { from, range } = copy
  if (from === undefined || from === '') return undefined
  if (expandWord(from, { get: () => undefined }, { escape: dockerfile.escape }).value !== from)
    throw invalid(
      dockerfile,
      range,
      `variables are not expanded in --from=${from}`,
      'name a stage for it: FROM image:$TAG AS name before this stage, and --from=name here',
    )
  if (!/^[+-]?\d+$/.test(from)) return findStage(dockerfile, from)
  const stage = dockerfile.stages[Number(from)]
  if (stage === undefined)
    throw invalid(
      dockerfile,
      range,
      `there is no stage with the index ${from}`,
      `stages are counted from 0, the last one is ${dockerfile.stages.length - 1}; names are safer: FROM … AS name`,
    )
  return stage
}

/** The stages that the `from` of a RUN's mounts name; those are found by name only. */
export function mountSources(dockerfile: Dockerfile, run: RunInstruction): readonly Stage[] {
  return run.mounts.flatMap(raw => {
    const from = mountFrom(raw, (message, hint) => invalid(dockerfile, run.range, message, hint))
    return (from !== undefined && stageNamed(dockerfile, from)) || []
  })
}

/**
 * The stages that `target` needs, itself included, in an order in which they can be built. Throws DOCKERFILE_INVALID
 * for stages that need each other (anywhere in the file), and for a stage that a needed one uses before it is defined.
 */
export function reachableStages(dockerfile: Dockerfile, target: Stage, options: StageOptions): readonly Stage[] {
  const uses = dockerfile.stages.map(stage => usesOf(dockerfile, stage, options))
  refuseCycles(dockerfile, uses)
  const reached = new Set<Stage>([target])
  for (const stage of reached)
    for (const { stage: source, by } of uses[stage.index]!) {
      if (source.index >= stage.index)
        throw invalid(
          dockerfile,
          by.range,
          `${by.keyword} takes from stage ${labelOf(source)}, which is defined later (line ${source.from.range.start.line})`,
          `move ${labelOf(source)} above ${labelOf(stage)}`,
        )
      reached.add(source)
    }
  return [...reached].sort((a, b) => a.index - b.index)
}

interface Use {
  readonly stage: Stage
  readonly by: Instruction
}

function usesOf(dockerfile: Dockerfile, stage: Stage, { baseOf, triggersOf }: StageOptions): readonly Use[] {
  const name = baseOf(stage)
  if (name === undefined) return []
  const base = baseStage(dockerfile, stage, name)
  const triggers = base?.instructions.flatMap(by => (by.kind === 'onbuild' ? by.instruction : [])) ?? []
  const uses: Use[] = base === undefined ? [] : [{ stage: base, by: stage.from }]
  for (const by of [...triggers, ...(triggersOf?.(stage) ?? []), ...stage.instructions]) {
    const sources =
      by.kind === 'copy' ? [copySource(dockerfile, by)] : by.kind === 'run' ? mountSources(dockerfile, by) : []
    for (const source of sources) if (source !== undefined) uses.push({ stage: source, by })
  }
  return uses
}

function refuseCycles(dockerfile: Dockerfile, uses: readonly (readonly Use[])[]): void {
  const done = new Set<Stage>()
  for (const start of dockerfile.stages) {
    // Walks with its own stack: a file may have thousands of stages in a chain.
    const path: { readonly stage: Stage; next: number }[] = [{ stage: start, next: 0 }]
    const onPath = new Set([start])
    while (path.length > 0) {
      const top = path.at(-1)!
      const use = done.has(top.stage) ? undefined : uses[top.stage.index]![top.next++]
      if (use === undefined) {
        done.add(top.stage)
        onPath.delete(top.stage)
        path.pop()
      } else if (onPath.has(use.stage)) {
        const circle = path.slice(path.findIndex(({ stage }) => stage === use.stage)).map(({ stage }) => labelOf(stage))
        throw invalid(
          dockerfile,
          use.by.range,
          `stages need each other in a circle: ${[...circle, labelOf(use.stage)].join(' → ')}`,
          'move what both need into a stage of its own',
        )
      } else if (!done.has(use.stage)) {
        path.push({ stage: use.stage, next: 0 })
        onPath.add(use.stage)
      }
    }
  }
}

function labelOf(stage: Stage): string {
  return stage.name === undefined ? `number ${stage.index}` : `"${stage.name}"`
}
