import type { Dockerfile, Instruction, Range } from '../dockerfile/ast.ts'
import { targetStage } from '../dockerfile/stages.ts'
import type { ArchimageError } from '../errors/error.ts'
import { buildPlatform, formatPlatform, normalizePlatform, type Platform } from '../oci/platform.ts'
import { globalArguments } from '../plan/from.ts'
import { type CheckOptions, checkOptions, EVERY_CHECK, isWanted, withComments } from './check-options.ts'
import { type Finding, type LintError, type LintResult, merged } from './finding.ts'
import type { FileMode, FileView, Report, Rule } from './rule.ts'
import { RULES } from './rules.ts'
import { attempt, imagesOf, type KnownImage, stageViews, type WalkInput } from './stage-views.ts'
import { walk } from './walk.ts'

export interface LintOptions {
  /** Default: the platform of this machine. */
  readonly platforms?: readonly Platform[]
  /** All platforms that it is built for, where it is checked for some of them now. */
  readonly among?: readonly Platform[]
  /** The stage that is built; without it all stages are looked at, and the last one is built. */
  readonly target?: string
  /** Values of ARG, as --build-arg gives them. BUILDKIT_DOCKERFILE_CHECK stands for the `# check=` directive. */
  readonly args?: Readonly<Record<string, string>>
  /** Names of further contexts, which stand for stages and images. */
  readonly contexts?: (name: string) => boolean
  /** What is known of an image; without it nothing is, and rules that need images say nothing. */
  readonly image?: (reference: string, platform: Platform) => KnownImage | undefined
  /** Whether .dockerignore leaves a source of COPY out. */
  readonly ignored?: (source: string) => boolean
  readonly modes?: (sources: readonly string[]) => readonly FileMode[]
  readonly platformException?: string
  /** Only the stages that the target needs, as in a build. */
  readonly neededOnly?: boolean
}

/**
 * Checks a Dockerfile for each platform: BuildKit's rules, and those of our own for work with several platforms. Pure: it
 * looks at nothing but its arguments, and throws nothing but for a `target` that is no stage.
 */
export function lintDockerfile(dockerfile: Dockerfile, options: LintOptions = {}): LintResult {
  const platforms = (options.platforms ?? [buildPlatform()]).map(normalizePlatform)
  const found: Found = { findings: [], errors: [] }
  const names = platforms.map(formatPlatform)
  const fault = (error: ArchimageError): void => void found.errors.push({ error, platforms: names })
  const checks = attempt(() => checkOptions(dockerfile, options.args ?? {}), top(dockerfile), { dockerfile, fault })
  for (const platform of platforms) lintFor(platform, platforms, dockerfile, checks ?? EVERY_CHECK, options, found)
  return { ...merged(found), options: checks ?? EVERY_CHECK }
}

interface Found {
  readonly findings: Finding[]
  readonly errors: LintError[]
}

function lintFor(
  platform: Platform,
  platforms: readonly Platform[],
  dockerfile: Dockerfile,
  checks: CheckOptions,
  options: LintOptions,
  found: Found,
): void {
  const on = [formatPlatform(platform)]
  const fault = (error: ArchimageError): void => void found.errors.push({ error, platforms: on })
  const target = targetStage(dockerfile, options.target)
  const args = options.args ?? {}
  const globals = attempt(() => globalArguments({ dockerfile, args }, platform, options.target), top(dockerfile), {
    dockerfile,
    fault,
  })
  const input: WalkInput = {
    dockerfile,
    platform,
    args,
    globals: globals ?? new Map(),
    target,
    all: options.target === undefined && options.neededOnly !== true,
    image: options.image ?? (() => undefined),
    replaced: options.contexts ?? (() => false),
    fault,
  }
  const file: FileView = {
    dockerfile,
    stages: stageViews(input),
    target,
    platform,
    platforms: options.among ?? platforms,
    host: buildPlatform(),
    args,
    globals: input.globals,
    defaults: attempt(
      () => globalArguments({ dockerfile, args: automaticOnly(args) }, platform, options.target),
      top(dockerfile),
    ),
    options: checks,
    ruleNames: RULES.map(rule => rule.name),
    ...(options.ignored ? { ignored: options.ignored } : {}),
    ...(options.modes ? { modes: options.modes } : {}),
    ...(options.platformException === undefined ? {} : { platformException: options.platformException }),
  }
  const sayers = new Map(RULES.map(rule => [rule, new Sayer(rule, checks, dockerfile.file, on, found.findings)]))
  const first = dockerfile.stages[0]!.from
  for (const rule of FILE_RULES) rule.check.file!(file, sayers.get(rule)!.at(first.range, []))
  for (const one of everyInstruction(dockerfile))
    for (const rule of INSTRUCTION_RULES)
      rule.check.instruction!(one, sayers.get(rule)!.at(one.range, one.comments), file)
  for (const view of file.stages) {
    const { range, comments } = view.stage.from
    for (const rule of STAGE_RULES) rule.check.stage!(view, sayers.get(rule)!.at(range, comments), file)
    if (view.needed || input.all)
      for (const use of imagesOf(view))
        for (const rule of IMAGE_RULES)
          rule.check.image!(use, sayers.get(rule)!.at(use.by.range, use.by.comments), file)
  }
  const stepSayers = STEP_RULES.map(rule => [rule.check.step!, sayers.get(rule)!] as const)
  walk(file.stages, input, step => {
    for (const [check, sayer] of stepSayers) check(step, sayer.at(step.range, step.comments), file)
  })
}

const FILE_RULES = RULES.filter(({ check }) => check.file)
const INSTRUCTION_RULES = RULES.filter(({ check }) => check.instruction)
const STAGE_RULES = RULES.filter(({ check }) => check.stage)
const IMAGE_RULES = RULES.filter(({ check }) => check.image)
const STEP_RULES = RULES.filter(({ check }) => check.step)

/** Notes what one rule has to say, unless it is switched off where it says it. One object for all places: there are many. */
class Sayer {
  private readonly rule: Rule
  private readonly checks: CheckOptions
  private readonly file: string
  private readonly platforms: readonly string[]
  private readonly findings: Finding[]
  private range: Range | undefined
  private comments: readonly string[] = []

  constructor(rule: Rule, checks: CheckOptions, file: string, platforms: readonly string[], findings: Finding[]) {
    this.rule = rule
    this.checks = checks
    this.file = file
    this.platforms = platforms
    this.findings = findings
  }

  /** To be called before the next `at`. */
  at(range: Range, comments: readonly string[]): Report {
    this.range = range
    this.comments = comments
    return this.say
  }

  private readonly say: Report = (message, at = this.range!) => {
    const { rule, checks, file, platforms } = this
    const comments = 'comments' in at ? at.comments : this.comments
    if (!isWanted(rule, rule.wholeFile ? checks : withComments(checks, comments))) return
    const range = 'range' in at ? at.range : at
    this.findings.push({ rule: rule.name, level: rule.level, message, file, range, platforms })
  }
}

function top(dockerfile: Dockerfile): Range {
  return dockerfile.stages[0]!.from.range
}

function everyInstruction(dockerfile: Dockerfile): readonly Instruction[] {
  return [...dockerfile.globalArgs, ...dockerfile.stages.flatMap(({ from, instructions }) => [from, ...instructions])]
}

/** Without --build-arg, but for the automatic arguments. */
function automaticOnly(args: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(args).filter(([name]) => /^(?:BUILD|TARGET)[A-Z]+$/.test(name)))
}
