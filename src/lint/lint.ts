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
    platforms,
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
  const report =
    (rule: Rule, range: Range, comments: readonly string[] = []): Report =>
    (message, at = range) => {
      const own = 'comments' in at ? at.comments : comments
      if (!isWanted(rule, rule.wholeFile ? checks : withComments(checks, own))) return
      const { name, level } = rule
      const place = 'range' in at ? at.range : at
      found.findings.push({ rule: name, level, message, file: dockerfile.file, range: place, platforms: on })
    }
  const walked = file.stages.filter(stage => stage.needed || input.all)
  for (const rule of RULES) {
    const { check } = rule
    check.file?.(file, report(rule, top(dockerfile)))
    if (check.instruction)
      for (const one of everyInstruction(dockerfile))
        check.instruction(one, report(rule, one.range, one.comments), file)
    if (check.stage)
      for (const one of file.stages) {
        const { range, comments } = one.stage.from
        check.stage(one, report(rule, range, comments), file)
      }
    if (check.image)
      for (const use of walked.flatMap(imagesOf)) check.image(use, report(rule, use.by.range, use.by.comments), file)
  }
  const stepRules = RULES.filter(rule => rule.check.step !== undefined)
  walk(file.stages, input, step => {
    for (const rule of stepRules) rule.check.step!(step, report(rule, step.range, step.comments), file)
  })
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
