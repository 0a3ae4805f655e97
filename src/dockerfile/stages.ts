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

/** A stage that is needed, and the instructions that run in it: triggers of its base, then its own; none for a named context. */
export interface NeededStage {
  readonly stage: Stage
  readonly instructions: readonly Instruction[]
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

/** The stage that `--target` names, or the last one. Throws DOCKERFILE_INVALID with a suggestion. */
export function targetStage(dockerfile: Dockerfile, target?: string): Stage {
  if (target === undefined || target === '') return dockerfile.stages.at(-1)!
  const stage = findStage(dockerfile, target)
  if (stage !== undefined) return stage
  const names = dockerfile.stages.flatMap(({ name }) => name ?? [])
  throw new ArchimageError('DOCKERFILE_INVALID', `${dockerfile.file} has no stage ${quoted(target)}`, {
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
 * Refuses what is wrong with the stages of a file, whichever of them is built: an index that no stage has, variables where a
 * stage is named, stages that need each other in a circle. Throws DOCKERFILE_INVALID.
 */
export function checkStages(dockerfile: Dockerfile): void {
  if (CHECKED.has(dockerfile)) return
  refuseCircles(
    dockerfile,
    dockerfile.stages.map(({ instructions }) => usesOf(dockerfile, instructions)),
  )
  CHECKED.add(dockerfile)
}

/** Dockerfiles whose stages are in order: one is asked for every platform, and by whoever looks at it. */
const CHECKED = new WeakSet<Dockerfile>()

/**
 * The stages that `target` needs, itself included, in an order in which they can be built. Throws DOCKERFILE_INVALID as
 * `checkStages`, and for a stage that a needed one uses before it is defined.
 */
export function reachableStages(dockerfile: Dockerfile, target: Stage, options: StageOptions): readonly NeededStage[] {
  checkStages(dockerfile)
  const reached = new Map<Stage, NeededStage>()
  const left = [target]
  for (let stage = left.pop(); stage !== undefined; stage = left.pop()) {
    if (reached.has(stage)) continue
    const name = options.baseOf(stage)
    const base = name === undefined ? undefined : baseStage(dockerfile, stage, name)
    const instructions =
      name === undefined
        ? []
        : [...(base ? triggersIn(base) : []), ...(options.triggersOf?.(stage) ?? []), ...stage.instructions]
    reached.set(stage, { stage, instructions })
    if (base) left.push(base)
    for (const { stage: source, by } of usesOf(dockerfile, instructions)) {
      refuseLater(dockerfile, stage, source, by)
      left.push(source)
    }
  }
  return [...reached.values()].sort((a, b) => a.stage.index - b.stage.index)
}

/** The instructions that a stage leaves to those who build upon it. */
export function triggersIn({ instructions }: Stage): readonly Instruction[] {
  return instructions.flatMap(one => (one.kind === 'onbuild' ? one.instruction : []))
}

/** Throws DOCKERFILE_INVALID when an instruction of `stage` takes from one that is not there yet. */
export function refuseLater(dockerfile: Dockerfile, stage: Stage, source: Stage, by: Instruction): void {
  if (source.index < stage.index) return
  throw invalid(
    dockerfile,
    by.range,
    `${by.keyword} takes from stage ${labelOf(source)}, which is defined later (line ${source.from.range.start.line})`,
    `move ${labelOf(source)} above ${labelOf(stage)}`,
  )
}

/** A stage that an instruction takes files from. */
export interface Use {
  readonly stage: Stage
  readonly by: Instruction
}

/** What instructions take from other stages of the file. Throws DOCKERFILE_INVALID as `copySource`. */
export function usesOf(dockerfile: Dockerfile, instructions: readonly Instruction[]): readonly Use[] {
  const uses: Use[] = []
  for (const by of instructions) {
    const stage = by.kind === 'copy' ? copySource(dockerfile, by) : undefined
    if (stage !== undefined) uses.push({ stage, by })
    if (by.kind === 'run') for (const stage of mountSources(dockerfile, by)) uses.push({ stage, by })
  }
  return uses
}

function refuseCircles(dockerfile: Dockerfile, uses: readonly (readonly Use[])[]): void {
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
        // BuildKit names the last instruction that takes from there.
        const by = uses[top.stage.index]!.findLast(({ stage }) => stage === use.stage)!.by
        throw invalid(
          dockerfile,
          by.range,
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
