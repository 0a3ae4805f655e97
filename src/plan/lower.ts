import type { CopyInstruction, Dockerfile, Instruction, RunInstruction, Stage } from '../dockerfile/ast.ts'
import { parseDockerfile } from '../dockerfile/parse.ts'
import {
  baseStage,
  checkStages,
  copySource as copiedStage,
  refuseLater,
  stageNamed,
  targetStage,
  triggersIn,
  usesOf,
} from '../dockerfile/stages.ts'
import { checkSyntax } from '../dockerfile/syntax.ts'
import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { configPlatform, type ImageConfig } from '../oci/config.ts'
import { formatPlatform, normalizePlatform, type Platform, samePlatform } from '../oci/platform.ts'
import { contextNames } from './context-names.ts'
import { checkNames, expandFrom, globalArguments, placeIn } from './from.ts'
import { applyInstruction, failure, type Scope } from './instructions.ts'
import type { BaseImage, CopyOp, CopySource, Lowered, LoweredStage, NamedSource, Op } from './lowered.ts'
import { withResultConfig } from './result-config.ts'
import { NO_PRIVILEGES, type StepPolicy } from './run-op.ts'
import { begin, imageState, type StageState, scratchState, stateUpon } from './stage-state.ts'

/** Times that stand for no time: `created` and history (DESIGN §4). */
export const CREATED = '1980-02-01T00:00:00Z'

/** A named context (`--build-context`): an image, or files (a folder, or where they come from). */
export type NamedContext =
  | { readonly kind: 'scratch' }
  | { readonly kind: 'image'; readonly image: BaseImage }
  | { readonly kind: 'directory'; readonly path: string }

export interface LowerInput {
  readonly dockerfile: Dockerfile
  readonly platform: Platform
  readonly target?: string
  readonly args: Readonly<Record<string, string>>
  readonly labels: Readonly<Record<string, string>>
  /** SOURCE_DATE_EPOCH in seconds. */
  readonly epoch?: number
  /** What the command line says of RUN steps; nothing when it is not given. */
  readonly steps?: StepPolicy
  /** Why the last stage may be of another platform. */
  readonly platformException?: string
  /** The image that a reference names, for a platform. Throws when there is none. */
  readonly image: (reference: string, platform: Platform) => Promise<BaseImage>
  readonly named?: (name: string, platform: Platform) => Promise<NamedContext | undefined>
}

interface Done {
  readonly lowered: LoweredStage
  readonly state: StageState
}

/** What a stage stands on, the state with which it begins, and the ONBUILD triggers that run first. */
interface Beginning {
  readonly base: LoweredStage['base']
  readonly state: StageState
  readonly triggers: readonly string[]
  /** Files that it stands on: its first layer, which no instruction wrote. */
  readonly files?: CopyOp & { readonly from: CopySource & { readonly kind: 'directory' } }
}

/**
 * Turns a Dockerfile into operations for one platform: arguments and variables expanded, stages and images resolved, config
 * and history as BuildKit's frontend makes them. Stages that the target does not need are not looked at.
 * Throws DOCKERFILE_INVALID with the place, and what `image` throws.
 */
export async function lower(input: LowerInput): Promise<Lowered> {
  const { dockerfile } = input
  const platform = normalizePlatform(input.platform)
  const warnings = [checkSyntax(dockerfile, input.args['BUILDKIT_SYNTAX']) ?? []].flat()
  const bases: BaseImage[] = []
  const sources: NamedSource[] = []
  const done = new Map<number, Promise<Done>>()
  const created = input.epoch === undefined ? CREATED : new Date(input.epoch * 1000).toISOString().replace('.000Z', 'Z')

  const globals = globalArguments(input, platform, input.target)
  const froms = dockerfile.stages.map(stage => expandFrom(stage, globals, dockerfile))
  const { index: wantedStage } = targetStage(dockerfile, input.target)
  checkStages(dockerfile)
  for (const [i, stage] of dockerfile.stages.entries()) checkNames(stage, froms[i]!, dockerfile)

  // In the order of the file: of several mistakes the first is told.
  for (const index of await neededStages(wantedStage)) await stageAt(index)
  const target = await stageAt(wantedStage)
  await checkTargetPlatform(target)
  const finished = withResultConfig(target.lowered, platform, input.labels, created)
  const stages = new Map<number, LoweredStage>()
  for (const [index, promise] of done) stages.set(index, index === finished.index ? finished : (await promise).lowered)
  return { file: dockerfile.file, target: finished, stages, bases, sources, warnings }

  function stageAt(index: number): Promise<Done> {
    const known = done.get(index)
    if (known) return known
    const promise = lowerStage(dockerfile.stages[index]!)
    done.set(index, promise)
    return promise
  }

  /** As far as they are known before the triggers of images are. */
  async function neededStages(target: number): Promise<readonly number[]> {
    const needed = new Set([target])
    for (const index of needed) {
      const stage = dockerfile.stages[index]!
      if (await replacement(stage)) continue
      const base = baseStage(dockerfile, stage, froms[index]!.image)
      const triggers = base ? triggersIn(base) : []
      if (base) needed.add(base.index)
      for (const use of usesOf(dockerfile, [...triggers, ...stage.instructions]))
        if (use.stage.index < index) needed.add(use.stage.index)
    }
    return [...needed].sort((a, b) => a - b)
  }

  async function namedContext(name: string, wanted: Platform): Promise<NamedContext | undefined> {
    if (input.named === undefined) return undefined
    for (const one of contextNames(name)) {
      const found = await input.named(one, wanted)
      if (found) return found
    }
    return undefined
  }

  /** A named context of a stage's name stands in for the whole stage. */
  async function replacement(stage: Stage): Promise<NamedContext | undefined> {
    return stage.name === undefined ? undefined : namedContext(stage.name, froms[stage.index]!.platform ?? platform)
  }

  async function beginning(stage: Stage): Promise<Beginning> {
    const from = froms[stage.index]!
    const wanted = from.platform ?? platform
    const replaced = await replacement(stage)
    // FROM wants a stage's name as it is kept, which is lower case.
    const earlier = baseStage(dockerfile, stage, from.image)
    if (earlier && !replaced) {
      const { state } = await stageAt(earlier.index)
      return {
        base: { kind: 'stage', stage: earlier.index },
        state: stateUpon(state),
        triggers: state.config.OnBuild ?? [],
      }
    }
    const context = replaced ?? (await namedContext(from.image, wanted))
    if (context && context.kind !== 'image') {
      // What stands in for a whole stage has no config at all, not even a PATH.
      const state = { ...scratchState(wanted), ...(replaced ? { config: {} } : {}), empty: context.kind === 'scratch' }
      const files = context.kind === 'scratch' ? {} : { files: wholeCopy(context, stage.from) }
      return { base: { kind: 'scratch' }, state, triggers: [], ...files }
    }
    if (from.image === 'scratch' && !context)
      return { base: { kind: 'scratch' }, state: scratchState(platform), triggers: [] }
    const image = context?.image ?? (await imageFor(from.image, wanted, stage.from, stage.index))
    bases.push(image)
    return { base: { kind: 'image', image }, ...imageState(image, wanted) }
  }

  /** All files of a context, as the layer of a stage that stands on it. */
  function wholeCopy<T extends CopySource>(from: T, { range }: Instruction): CopyOp & { readonly from: T } {
    return {
      ...{ kind: 'copy', add: false, from, sources: ['/'], files: [], dest: '/', link: false, parents: false },
      ...{ excludes: [], unpack: false, line: range.start.line, range, label: dockerfile.lines[range.start.line - 1]! },
    }
  }

  async function imageFor(reference: string, wanted: Platform, at: Instruction, before: number): Promise<BaseImage> {
    try {
      return await input.image(reference, wanted)
    } catch (error) {
      if (!isArchimageError(error) || error.place) throw error
      const names = dockerfile.stages.slice(0, before).flatMap(stage => stage.name ?? [])
      const meant = error.code === 'CANCELLED' ? undefined : didYouMean(reference, names)
      throw new ArchimageError(error.code, error.message, {
        ...(error.hint || meant
          ? { hint: [meant && `${meant} (a stage of this Dockerfile)`, error.hint].filter(Boolean).join('\n') }
          : {}),
        place: placeIn(dockerfile, at),
        details: error.details,
        cause: error.cause,
        parts: error.parts,
      })
    }
  }

  async function lowerStage(stage: Stage): Promise<Done> {
    const { base, state, triggers, files } = await beginning(stage)
    const ops: Op[] = files === undefined ? [] : [files]
    const named = (name: string, { range }: Instruction, source: CopySource): void =>
      void sources.push({ range, name, source })
    if (files !== undefined) named(files.from.path, stage.from, files.from)
    const scope: Scope = {
      dockerfile,
      args: input.args,
      globals,
      created,
      warnings,
      steps: input.steps ?? NO_PRIVILEGES,
      source: instruction => {
        if (instruction.kind === 'add' || !instruction.from) return { kind: 'context' }
        const { from } = instruction
        const found = copiedStage(dockerfile, instruction)
        const source = found ? earlier(found, stage, instruction) : foreign(from, stage, instruction)
        return source.then(source => {
          named(from, instruction, source)
          return source
        })
      },
      mountSource: async (name, instruction) => {
        const found = stageNamed(dockerfile, name)
        const source = await (found ? earlier(found, stage, instruction) : foreign(name, stage, instruction))
        named(name, instruction, source)
        return source
      },
    }
    const replaced = (await replacement(stage)) !== undefined
    if (!replaced) {
      begin(state)
      for (const instruction of [...triggers.map(text => parseTrigger(text, stage)), ...stage.instructions])
        try {
          const made = applyInstruction(instruction, state, scope)
          const op = made instanceof Promise ? await made : made
          if (op) ops.push(op)
        } catch (error) {
          if (isArchimageError(error) && !error.place)
            throw Object.assign(error, { place: placeIn(dockerfile, instruction) })
          throw error
        }
    }
    const lowered: LoweredStage = {
      index: stage.index,
      name: stage.name ?? `stage-${stage.index}`,
      base,
      ...(files === undefined ? {} : { files: files.from.path }),
      ops,
      config: {
        ...state.image,
        created,
        config: state.config,
        rootfs: { type: 'layers', diff_ids: [] },
        history: state.history,
      } as unknown as ImageConfig,
      platform: state.platform,
      ...(replaced ? { replaced } : {}),
    }
    return { lowered, state }
  }

  async function earlier(found: Stage, stage: Stage, by: CopyInstruction | RunInstruction): Promise<CopySource> {
    refuseLater(dockerfile, stage, found, by)
    return stageSource(found)
  }

  /** A named context, or an image. BuildKit takes images for the target's platform here, whatever the stage's own is. */
  async function foreign(name: string, stage: Stage, by: CopyInstruction | RunInstruction): Promise<CopySource> {
    const context = await namedContext(name, platform)
    if (context) return context
    if (name === 'scratch') return { kind: 'scratch' }
    const image = await imageFor(name, platform, by, stage.index)
    bases.push(image)
    return { kind: 'image', image }
  }

  async function stageSource(stage: Stage): Promise<CopySource> {
    const replaced = await replacement(stage)
    if (replaced?.kind === 'directory') return replaced
    return { kind: 'stage', stage: (await stageAt(stage.index)).lowered.index }
  }

  function parseTrigger(trigger: string, stage: Stage): Instruction {
    const parsed = parseDockerfile(`FROM scratch\n${trigger}\n`, dockerfile.file).stages[0]?.instructions[0]
    if (!parsed)
      throw failure(dockerfile, stage.from, `the base has an ONBUILD trigger that is no instruction: ${trigger}`)
    return { ...parsed, range: stage.from.range }
  }

  async function checkTargetPlatform({ lowered, state }: Done): Promise<void> {
    let stage = lowered
    while (stage.base.kind === 'stage') stage = (await stageAt(stage.base.stage)).lowered
    if (stage.base.kind !== 'image' || input.platformException !== undefined) return
    const have = configPlatform(stage.base.image.config)
    if (samePlatform(have, platform)) return
    if (!stage.base.image.exact && have.os === platform.os && have.architecture === platform.architecture) return
    throw new ArchimageError(
      'PLATFORM_MISMATCH',
      `the image for ${formatPlatform(platform)} would stand on ${stage.base.image.name} for ${formatPlatform(have)}: its programs would be of the wrong architecture`,
      {
        place: placeIn(dockerfile, dockerfile.stages[lowered.index]!.from),
        hint: `take --platform (here ${formatPlatform(state.platform)}) away from the last stage, or give the reason in archimage.yaml: platform-exception`,
      },
    )
  }
}
