import type { Instruction, Range } from '../dockerfile/ast.ts'
import { expandWord } from '../dockerfile/expand.ts'
import { placeOf } from '../dockerfile/fault.ts'
import { parseDockerfile } from '../dockerfile/parse.ts'
import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { type ExpandableWord, expandableWords } from './expanded-words.ts'
import { attempt, type KnownImage, type StageView, type WalkInput } from './stage-views.ts'

/** What instructions before have made of a stage. */
export interface StageState {
  /** Variables with their values, ENV and ARG alike, the one that was set last at the end. */
  readonly env: Map<string, string>
  /** Names of ARG, also those without a value. */
  readonly declared: Set<string>
  /** False where an image that nobody looked up may have set more variables. */
  readonly complete: boolean
  shell: boolean
  workdir: boolean
  cmd?: Range
  entrypoint?: Range
  healthcheck?: Range
}

/** One instruction on the way through a stage, with what holds before it. */
export interface Step {
  readonly instruction: Instruction
  /** Where it stands; for ONBUILD triggers of the base, its FROM. */
  readonly range: Range
  /** The comments above it; an ONBUILD trigger has none. */
  readonly comments: readonly string[]
  readonly stage: StageView
  readonly state: StageState
  /** A word with its variables replaced; as it is where that is not possible. */
  readonly word: (text: string) => string
  /** Variables in it that are neither set nor declared, with the names that there are. */
  readonly missing: readonly { readonly name: string; readonly known: readonly string[] }[]
}

/** So many variables are looked at for a suggestion. */
const MOST_NAMES = 200
/** Arguments that BuildKit keeps out of the environment. */
const NO_VARIABLES = ['BUILDKIT_SBOM_SCAN_CONTEXT', 'BUILDKIT_SBOM_SCAN_STAGE']
const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * Goes through the stages of a Dockerfile as a build for one platform would, without building: `visit` sees each instruction with the
 * variables that hold there. Stages that the target does not need are left out unless `all` says otherwise.
 */
export function walk(views: readonly StageView[], input: WalkInput, visit: (step: Step) => void): void {
  const states = new Map<StageView, StageState>()
  for (const view of views)
    if ((view.needed || input.all) && view.base.kind !== 'context')
      states.set(view, walkStage(view, states, input, visit))
}

function walkStage(
  stage: StageView,
  states: ReadonlyMap<StageView, StageState>,
  input: WalkInput,
  visit: (step: Step) => void,
): StageState {
  const { dockerfile } = input
  const known = stage.base.kind === 'image' ? stage.base.known : undefined
  const below = stage.base.kind === 'stage' ? states.get(stage.base.stage) : undefined
  const state = below
    ? { ...beginning(below), env: new Map(below.env), declared: new Set(below.declared) }
    : { ...beginning(), ...firstVariables(stage, known) }
  const env = { get: (name: string) => state.env.get(name) }
  const options = { escape: dockerfile.escape }
  const word = (text: string): string => {
    try {
      return expandWord(text, env, options).value
    } catch (error) {
      if (isArchimageError(error)) return text
      throw error
    }
  }
  for (const trigger of triggersOf(stage, known, input)) apply(trigger, stage.stage.from.range, [])
  for (const instruction of stage.stage.instructions) apply(instruction, instruction.range, instruction.comments)
  return state

  function apply(instruction: Instruction, range: Range, comments: readonly string[]): void {
    const missing: { name: string; known: readonly string[] }[] = []
    /** The value of a word, of which what is missing is noted; undefined where there is none. */
    const expand = (text: string, how: ExpandableWord['expand'] = expandWord): string | undefined => {
      const expansion = attempt(() => how(text, env, options), range, input)
      for (const name of expansion?.unmatched ?? [])
        if (!state.declared.has(name) && !NO_VARIABLES.includes(name))
          missing.push({ name, known: state.env.keys().take(MOST_NAMES).toArray() })
      return expansion?.value
    }
    // Values are those from before the instruction, also of names that it sets itself.
    let pairs: readonly (readonly [string, string])[] = []
    if (instruction.kind === 'arg')
      for (const { key, value } of instruction.args) {
        const result = argument(key, value, input, expand)
        if (result !== undefined && !NO_VARIABLES.includes(key)) set(state.env, key, result)
        state.declared.add(key)
      }
    else if (instruction.kind === 'env')
      pairs = instruction.pairs.map(({ key, value }) => [expand(key) ?? key, expand(value) ?? value])
    else for (const { text, expand: how } of expandableWords(instruction)) expand(text, how)
    visit({ instruction, range, comments, stage, state, word, missing })
    for (const [key, value] of pairs) set(state.env, key, value)
    change(instruction, range, state)
  }
}

function beginning(below?: StageState): Omit<StageState, 'env' | 'declared'> {
  return { complete: below?.complete ?? true, shell: below?.shell ?? false, workdir: below?.workdir ?? false }
}

function firstVariables(
  { base, platform }: StageView,
  known: KnownImage | undefined,
): Pick<StageState, 'env' | 'declared' | 'complete' | 'shell'> {
  const given = known?.env ?? []
  const hasPath = platform.os === 'windows' || given.some(pair => pair.startsWith('PATH='))
  const env = new Map<string, string>()
  for (const pair of hasPath ? given : [...given, DEFAULT_PATH]) {
    const equals = pair.indexOf('=')
    if (equals > 0) env.set(pair.slice(0, equals), pair.slice(equals + 1))
  }
  const complete = base.kind === 'scratch' || known !== undefined
  return { env, declared: new Set(), complete, shell: known?.shell ?? false }
}

/** ARG: the value of --build-arg, else its default, else that before the first FROM. */
function argument(
  key: string,
  value: string | undefined,
  { args, globals }: WalkInput,
  expand: (text: string) => string | undefined,
): string | undefined {
  if (Object.hasOwn(args, key)) return args[key]
  return value === undefined ? globals.get(key) : expand(value)
}

function change({ kind }: Instruction, range: Range, state: StageState): void {
  if (kind === 'shell') state.shell = true
  else if (kind === 'workdir') state.workdir = true
  else if (kind === 'cmd' || kind === 'entrypoint' || kind === 'healthcheck') state[kind] = range
}

/** The one that was set last stands last, as in BuildKit: of equally good suggestions the first is made. */
function set(env: Map<string, string>, key: string, value: string): void {
  env.delete(key)
  env.set(key, value)
}

/** ONBUILD of the base, which runs right after FROM. */
function triggersOf(
  { base, stage }: StageView,
  known: KnownImage | undefined,
  input: WalkInput,
): readonly Instruction[] {
  if (base.kind === 'stage')
    return base.stage.stage.instructions.flatMap(one => (one.kind === 'onbuild' ? one.instruction : []))
  return (known?.onbuild ?? []).flatMap(trigger => {
    try {
      return parseDockerfile(`FROM scratch\n${trigger}\n`, input.dockerfile.file).stages[0]!.instructions
    } catch (error) {
      if (!isArchimageError(error)) throw error
      const place = placeOf(input.dockerfile, stage.from.range)
      const message = `the base has an ONBUILD trigger that is wrong: ${error.message}`
      input.fault(new ArchimageError('DOCKERFILE_INVALID', message, { place }))
      return []
    }
  })
}
