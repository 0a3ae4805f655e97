import type { Dockerfile, Instruction, Range, Stage } from '../dockerfile/ast.ts'
import { type Expansion, expandWord } from '../dockerfile/expand.ts'
import { placeOf } from '../dockerfile/fault.ts'
import { mountFrom } from '../dockerfile/mounts.ts'
import { baseStage, copySource, mountSources } from '../dockerfile/stages.ts'
import { ArchimageError, isArchimageError } from '../errors/error.ts'
import type { Platform } from '../oci/platform.ts'
import { checkNames, expandFrom } from '../plan/from.ts'

/** What is known of an image that a Dockerfile names. */
export interface KnownImage {
  readonly platform: Platform
  /** False where the reference leads to the image of one platform instead of to an index. */
  readonly index: boolean
  readonly env: readonly string[]
  /** Whether its config has a SHELL. */
  readonly shell: boolean
  readonly onbuild: readonly string[]
}

/** An image, not a stage, that a stage stands on, copies from or mounts. */
export interface ImageUse {
  readonly reference: string
  readonly by: Instruction
  /** The platform that is wanted of it. */
  readonly wanted: Platform
  /** Absent where nobody looked it up. */
  readonly known?: KnownImage
}

/** A stage for one platform, as its FROM says. */
export interface StageView {
  readonly stage: Stage
  /** The name after FROM and the value of --platform, expanded. */
  readonly image: Expansion
  readonly platformFlag?: Expansion
  readonly base:
    | { readonly kind: 'scratch' }
    /** A named context stands in for the stage or for its base. */
    | { readonly kind: 'context' }
    | { readonly kind: 'stage'; readonly stage: StageView }
    | ({ readonly kind: 'image' } & ImageUse)
  /** What its programs run as: the platform of the FROM at its root, else that of the target. */
  readonly platform: Platform
  /** The stage at its root, the one that does not stand on another. */
  readonly root: StageView
  /** Whether the target needs it. */
  readonly needed: boolean
  /** The stages that it copies from or mounts, and the instructions that do. */
  readonly uses: readonly { readonly stage: Stage; readonly by: Instruction }[]
  /** Images that it copies from or mounts. */
  readonly images: readonly ImageUse[]
}

export interface WalkInput {
  readonly dockerfile: Dockerfile
  readonly platform: Platform
  readonly args: Readonly<Record<string, string>>
  /** Automatic arguments and those before the first FROM. */
  readonly globals: ReadonlyMap<string, string>
  /** The stage that is built. */
  readonly target: Stage
  /** Stages that the target does not need are looked at too. */
  readonly all: boolean
  readonly image: (reference: string, platform: Platform) => KnownImage | undefined
  /** Whether a named context stands for a stage or an image. */
  readonly replaced: (name: string) => boolean
  /** Told what is wrong; the walk goes on without it. */
  readonly fault: (error: ArchimageError) => void
}

type Draft = { -readonly [K in keyof StageView]: StageView[K] }

const NOTHING: Expansion = { value: '', matched: [], unmatched: [] }

/** All stages in the order of the file, with what their FROMs mean for one platform. */
export function stageViews(input: WalkInput): readonly StageView[] {
  const views: Draft[] = []
  for (const stage of input.dockerfile.stages) views.push(viewOf(stage, views, input))
  const left = [input.target.index]
  for (let index = left.pop(); index !== undefined; index = left.pop()) {
    const view = views[index]!
    if (view.needed) continue
    view.needed = true
    if (view.base.kind === 'stage') left.push(view.base.stage.stage.index)
    left.push(...view.uses.map(({ stage }) => stage.index))
  }
  return views
}

function viewOf(stage: Stage, before: readonly StageView[], input: WalkInput): Draft {
  const { dockerfile, globals } = input
  const { range } = stage.from
  const word = (text: string): Expansion =>
    attempt(() => expandWord(text, { get: name => globals.get(name) }, { escape: dockerfile.escape }), range) ?? NOTHING
  const from = attempt(() => expandFrom(stage, globals, dockerfile), range, input)
  if (from) attempt(() => checkNames(stage, from, dockerfile), range, input)
  const image = word(stage.from.image)
  const own = from?.platform ?? input.platform
  const base = ((): StageView['base'] => {
    if (stage.name !== undefined && input.replaced(stage.name)) return { kind: 'context' }
    const below = baseStage(dockerfile, stage, image.value)
    if (below) return { kind: 'stage', stage: before[below.index]! }
    if (image.value === '' || image.value === 'scratch') return { kind: 'scratch' }
    if (input.replaced(image.value)) return { kind: 'context' }
    return { kind: 'image', ...imageUse(image.value, stage.from, own, input) }
  })()
  const view: Draft = {
    stage,
    image,
    ...(stage.from.platform === undefined ? {} : { platformFlag: word(stage.from.platform) }),
    base,
    platform: base.kind === 'stage' ? base.stage.platform : base.kind === 'image' ? own : input.platform,
    root: undefined as unknown as StageView,
    needed: false,
    uses: [],
    images: [],
  }
  view.root = base.kind === 'stage' ? base.stage.root : view
  return base.kind === 'context' ? view : Object.assign(view, usesOf(stage, base, input))
}

function imageUse(reference: string, by: Instruction, wanted: Platform, input: WalkInput): ImageUse {
  const known = input.image(reference, wanted)
  return { reference, by, wanted, ...(known ? { known } : {}) }
}

function usesOf(stage: Stage, base: StageView['base'], input: WalkInput): Pick<StageView, 'uses' | 'images'> {
  const { dockerfile } = input
  const uses: { stage: Stage; by: Instruction }[] = []
  const images: ImageUse[] = []
  const triggers =
    base.kind === 'stage'
      ? base.stage.stage.instructions.flatMap(by => (by.kind === 'onbuild' ? by.instruction : []))
      : []
  const image = (name: string | undefined, by: Instruction): void => {
    if (name && name !== 'scratch' && !name.includes('$') && !input.replaced(name))
      images.push(imageUse(name, by, input.platform, input))
  }
  for (const by of [...triggers, ...stage.instructions])
    attempt(
      () => {
        if (by.kind === 'copy') {
          const source = copySource(dockerfile, by)
          if (source) uses.push({ stage: source, by })
          else image(by.from, by)
        } else if (by.kind === 'run') {
          const sources = mountSources(dockerfile, by)
          uses.push(...sources.map(source => ({ stage: source, by })))
          for (const raw of by.mounts) {
            const name = mountFrom(raw, message => new ArchimageError('DOCKERFILE_INVALID', message))
            if (!sources.some(source => source.name === name?.toLowerCase())) image(name, by)
          }
        }
      },
      by.range,
      input,
    )
  return { uses, images }
}

/** All images that a stage names. */
export function imagesOf({ base, images }: StageView): readonly ImageUse[] {
  return base.kind === 'image' ? [base, ...images] : images
}

/** What `work` gives; undefined where it throws, of which `input` is told with the place. */
export function attempt<T>(
  work: () => T,
  range: Range,
  input?: Pick<WalkInput, 'dockerfile' | 'fault'>,
): T | undefined {
  try {
    return work()
  } catch (error) {
    if (!isArchimageError(error)) throw error
    const { code, message, hint, place } = error
    input?.fault(
      place
        ? error
        : new ArchimageError(code, message, {
            place: placeOf(input.dockerfile, range),
            ...(hint === undefined ? {} : { hint }),
          }),
    )
    return undefined
  }
}
