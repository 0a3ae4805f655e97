import type { Dockerfile, Instruction, Stage } from '../dockerfile/ast.ts'
import { invalid } from '../dockerfile/fault.ts'
import { mountFrom } from '../dockerfile/mounts.ts'
import { baseStage, checkStages, copySource, reachableStages, stageNamed, targetStage } from '../dockerfile/stages.ts'
import { normalizePlatform, type Platform } from '../oci/platform.ts'
import { contextNames, namedContext } from './context-names.ts'
import { checkNames, type ExpandedFrom, expandFrom, globalArguments } from './from.ts'

/** An image that a Dockerfile names, where its target needs it. */
export interface ImageUse {
  /** As it stands after expansion: `alpine:3.20`. */
  readonly reference: string
  /** The platform that is wanted of it. */
  readonly platform: Platform
  readonly instruction: Instruction
  readonly how: 'from' | 'copy' | 'mount'
}

export interface ReferenceOptions {
  readonly platform: Platform
  readonly args: Readonly<Record<string, string>>
  readonly target?: string
  /** Named contexts; those for other platforms do not count. */
  readonly named: Readonly<Record<string, string>>
  /** The ONBUILD instructions of an image that is built upon, where they are known. */
  readonly triggersOf?: (reference: string, platform: Platform) => readonly Instruction[]
}

/**
 * The images, not stages, that the target of a Dockerfile builds upon, copies from or mounts, for one platform. Looks at nothing
 * outside the Dockerfile.
 */
export function imageUses(dockerfile: Dockerfile, options: ReferenceOptions): ImageUse[] {
  return needs(dockerfile, options).images
}

/** A RUN instruction that the target of a Dockerfile needs. */
export interface StepUse {
  readonly instruction: Instruction
  /** Whose programs it runs. */
  readonly platform: Platform
}

/** What is needed of a Dockerfile for one platform, as far as it can be known without any image. */
export function needs(
  dockerfile: Dockerfile,
  options: ReferenceOptions,
): { readonly images: ImageUse[]; readonly steps: StepUse[] } {
  const platform = normalizePlatform(options.platform)
  const globals = globalArguments({ dockerfile, args: options.args }, platform, options.target)
  const target = targetStage(dockerfile, options.target)
  const isNamed = Object.keys(options.named).length > 0
  const replaced = (name: string, wanted: Platform): boolean =>
    isNamed && contextNames(name).some(one => namedContext(options.named, one, wanted) !== undefined)
  const froms = dockerfile.stages.map(stage => expandFrom(stage, globals, dockerfile))
  const from = (stage: Stage): ExpandedFrom => froms[stage.index]!
  const isReplaced = (stage: Stage): boolean =>
    stage.name !== undefined && replaced(stage.name, from(stage).platform ?? platform)
  /** The base of a stage as an image, when it is one. */
  const base = (stage: Stage): ImageUse | undefined => {
    const { image, platform: own = platform } = from(stage)
    if (isReplaced(stage) || image === 'scratch' || baseStage(dockerfile, stage, image) || replaced(image, own))
      return undefined
    return { reference: image, platform: own, instruction: stage.from, how: 'from' }
  }
  checkStages(dockerfile)
  for (const stage of dockerfile.stages) checkNames(stage, from(stage), dockerfile)
  const needed = reachableStages(dockerfile, target, {
    baseOf: stage => (isReplaced(stage) ? undefined : from(stage).image),
    triggersOf: stage => {
      const use = base(stage)
      return use === undefined ? [] : (options.triggersOf?.(use.reference, use.platform) ?? [])
    },
  })
  const steps = needed.flatMap(({ stage, instructions }) =>
    instructions
      .filter(({ kind }) => kind === 'run')
      .map((instruction): StepUse => ({ instruction, platform: platformOf(stage) })),
  )
  const images = needed.flatMap(({ stage, instructions }) => [
    ...[base(stage) ?? []].flat(),
    ...instructions.flatMap((instruction, i) =>
      sourcesOf(dockerfile, instruction)
        .filter(reference => reference !== 'scratch' && !replaced(reference, platform))
        .map(
          (reference): ImageUse => ({
            reference,
            platform,
            // Triggers stand at the FROM, wherever they come from.
            instruction: i < instructions.length - stage.instructions.length ? stage.from : instruction,
            how: instruction.kind === 'run' ? 'mount' : 'copy',
          }),
        ),
    ),
  ])
  return { images, steps }

  /** That of the stage which it stands upon, down to an image. */
  function platformOf(stage: Stage): Platform {
    const { image, platform: own } = from(stage)
    const below = isReplaced(stage) ? undefined : baseStage(dockerfile, stage, image)
    return below ? platformOf(below) : image === 'scratch' ? platform : (own ?? platform)
  }
}

/** The names in an instruction that are no stages. */
function sourcesOf(dockerfile: Dockerfile, instruction: Instruction): readonly string[] {
  if (instruction.kind === 'copy')
    return instruction.from === undefined || copySource(dockerfile, instruction) ? [] : [instruction.from]
  if (instruction.kind !== 'run') return []
  return instruction.mounts.flatMap(raw => {
    const from = mountFrom(raw, (message, hint) => invalid(dockerfile, instruction.range, message, hint))
    return from === undefined || stageNamed(dockerfile, from) ? [] : from
  })
}
