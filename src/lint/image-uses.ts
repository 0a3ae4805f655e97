import type { Dockerfile, Stage } from '../dockerfile/ast.ts'
import { targetStage } from '../dockerfile/stages.ts'
import { buildPlatform, normalizePlatform, type Platform } from '../oci/platform.ts'
import { globalArguments } from '../plan/from.ts'
import type { LintOptions } from './lint.ts'
import { attempt, type ImageUse, imagesOf, type StageView, stageViews } from './stage-views.ts'

type Options = Omit<LintOptions, 'image'>

/** The images that checks of a Dockerfile want to know, with the platform that is built: for whoever looks them up (`LintOptions.image`). */
export function imageUses(
  dockerfile: Dockerfile,
  options: Options,
): readonly (ImageUse & { readonly platform: Platform })[] {
  const all = options.target === undefined && options.neededOnly !== true
  return (options.platforms ?? [buildPlatform()]).map(normalizePlatform).flatMap(platform => {
    const uses = viewsFor(dockerfile, options, platform)
      .filter(view => view.needed || all)
      .flatMap(imagesOf)
    return uses.map(use => ({ ...use, platform }))
  })
}

/** Stages that the target does not need, and none of the others that it does not need either: they are for `--target`. */
export function otherTargets(dockerfile: Dockerfile, options: Options, platform: Platform): readonly Stage[] {
  const rest = viewsFor(dockerfile, options, platform).filter(view => !view.needed)
  const used = new Set(
    rest.flatMap(({ base, uses }) => [
      ...(base.kind === 'stage' ? [base.stage.stage] : []),
      ...uses.map(({ stage }) => stage),
    ]),
  )
  return rest.map(({ stage }) => stage).filter(stage => !used.has(stage))
}

function viewsFor(dockerfile: Dockerfile, options: Options, platform: Platform): readonly StageView[] {
  const target = targetStage(dockerfile, options.target)
  const args = options.args ?? {}
  const { range } = dockerfile.stages[0]!.from
  const globals = attempt(() => globalArguments({ dockerfile, args }, platform, options.target), range)
  return stageViews({
    ...{ dockerfile, platform, args, target, all: true },
    globals: globals ?? new Map(),
    image: () => undefined,
    replaced: options.contexts ?? (() => false),
    fault: () => {},
  })
}
