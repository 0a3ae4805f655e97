import type { Dockerfile, Instruction, Range } from '../dockerfile/ast.ts'
import { invalid } from '../dockerfile/fault.ts'
import type { ArchimageError } from '../errors/error.ts'
import { buildPlatform, formatPlatform, normalizePlatform, type Platform } from '../oci/platform.ts'
import { findTarget, globalArguments } from '../plan/from.ts'
import {
  type CheckOptions,
  directiveValue,
  EVERY_CHECK,
  isWanted,
  parseCheckOptions,
  withComments,
} from './check-options.ts'
import type { FileMode, FileView, Level, Report, Rule } from './rule.ts'
import { RULES } from './rules.ts'
import { attempt, type KnownImage, stageViews, type WalkInput } from './stage-views.ts'
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
  readonly modes?: (instruction: Instruction) => readonly FileMode[]
  readonly platformException?: string
  /** Only the stages that the target needs, as in a build. */
  readonly neededOnly?: boolean
}

/** Something that a rule found. */
export interface Finding {
  readonly rule: string
  readonly level: Level
  readonly message: string
  readonly file: string
  readonly range: Range
  /** The platforms on which it holds, as `formatPlatform` writes them. */
  readonly platforms: readonly string[]
}

/** Something that no build for these platforms gets past. */
export interface LintError {
  readonly error: ArchimageError
  readonly platforms: readonly string[]
}

export interface LintResult {
  /** By line; equal ones of several platforms are one. */
  readonly findings: readonly Finding[]
  readonly errors: readonly LintError[]
  /** What the file itself says of its checks. */
  readonly options: CheckOptions
}

/**
 * Checks a Dockerfile for each platform: BuildKit's rules, and those of our own for work with several platforms. Pure: it
 * looks at nothing but its arguments, and throws nothing but for a `target` that is no stage.
 */
export function lintDockerfile(dockerfile: Dockerfile, options: LintOptions = {}): LintResult {
  const platforms = (options.platforms ?? [buildPlatform()]).map(normalizePlatform)
  const merge = new Merge()
  const checks = fileOptions(dockerfile, options.args ?? {}, error => merge.error(error, platforms))
  for (const platform of platforms) lintFor(platform, platforms, dockerfile, checks, options, merge)
  return { ...merge.result(), options: checks }
}

/** Collects what is found for one platform after the other. */
class Merge {
  readonly #findings = new Map<string, Omit<Finding, 'platforms'> & { readonly platforms: Set<string> }>()
  readonly #errors = new Map<string, { readonly error: ArchimageError; readonly platforms: Set<string> }>()

  add(finding: Omit<Finding, 'platforms'>, platform: Platform): void {
    const { start, end } = finding.range
    const key = JSON.stringify([finding.rule, start, end, finding.message])
    const known = this.#findings.get(key) ?? { ...finding, platforms: new Set() }
    this.#findings.set(key, known)
    known.platforms.add(formatPlatform(platform))
  }

  error(error: ArchimageError, platforms: readonly Platform[]): void {
    const key = JSON.stringify([error.message, error.place?.line])
    const known = this.#errors.get(key) ?? { error, platforms: new Set() }
    this.#errors.set(key, known)
    for (const platform of platforms) known.platforms.add(formatPlatform(platform))
  }

  result(): Pick<LintResult, 'findings' | 'errors'> {
    const listed = <T extends { platforms: Set<string> }>(one: T) => ({ ...one, platforms: [...one.platforms] })
    return {
      findings: [...this.#findings.values()].map(listed).sort((a, b) => a.range.start.line - b.range.start.line),
      errors: [...this.#errors.values()].map(listed),
    }
  }
}

/** What the directive or the build argument says; told of what is malformed. */
function fileOptions(
  dockerfile: Dockerfile,
  args: Readonly<Record<string, string>>,
  fault: (error: ArchimageError) => void,
): CheckOptions {
  const given = Object.hasOwn(args, 'BUILDKIT_DOCKERFILE_CHECK') ? args['BUILDKIT_DOCKERFILE_CHECK']! : undefined
  const directive = dockerfile.directives['check']
  const options = parseCheckOptions(given ?? directiveValue(directive?.value ?? ''))
  if (typeof options !== 'string') return options
  const line = given === undefined ? directive!.line : 1
  const range: Range = { start: { line, column: 1 }, end: { line, column: 1 } }
  const what = given === undefined ? 'the check directive' : 'BUILDKIT_DOCKERFILE_CHECK'
  fault(invalid(dockerfile, range, `${what} is wrong: ${options}`, 'for instance: skip=UndefinedVar;error=true'))
  return EVERY_CHECK
}

function lintFor(
  platform: Platform,
  platforms: readonly Platform[],
  dockerfile: Dockerfile,
  checks: CheckOptions,
  options: LintOptions,
  merge: Merge,
): void {
  const fault = (error: ArchimageError): void => merge.error(error, [platform])
  const target = findTarget(dockerfile, options.target)
  const args = options.args ?? {}
  const name = target.name ?? 'default'
  const top = dockerfile.stages[0]!.from.range
  const globals = attempt(() => globalArguments({ dockerfile, args }, platform, name), top, { dockerfile, fault })
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
    defaults: attempt(() => globalArguments({ dockerfile, args: automaticOnly(args) }, platform, name), top),
    options: checks,
    ...(options.ignored ? { ignored: options.ignored } : {}),
    ...(options.modes ? { modes: options.modes } : {}),
    ...(options.platformException === undefined ? {} : { platformException: options.platformException }),
  }
  const report =
    (rule: Rule, range: Range, comments: readonly string[] = []): Report =>
    (message, at = range) => {
      if (!isWanted(rule, rule.wholeFile ? checks : withComments(checks, comments))) return
      merge.add({ rule: rule.name, level: rule.level, message, file: dockerfile.file, range: at }, platform)
    }
  const walked = file.stages.filter(stage => stage.needed || input.all)
  for (const rule of RULES) {
    const { check } = rule
    check.file?.(file, report(rule, top))
    if (check.instruction)
      for (const one of everyInstruction(dockerfile))
        check.instruction(one, report(rule, one.range, one.comments), file)
    if (check.stage)
      for (const one of file.stages) {
        const { range, comments } = one.stage.from
        check.stage(one, report(rule, range, comments), file)
      }
    if (check.image)
      for (const use of walked.flatMap(({ base, images }) => [...(base.kind === 'image' ? [base] : []), ...images]))
        check.image(use, report(rule, use.by.range, use.by.comments), file)
  }
  const stepRules = RULES.filter(rule => rule.check.step !== undefined)
  walk(file.stages, input, step => {
    for (const rule of stepRules) rule.check.step!(step, report(rule, step.range, step.comments), file)
  })
}

function everyInstruction(dockerfile: Dockerfile): readonly Instruction[] {
  return [...dockerfile.globalArgs, ...dockerfile.stages.flatMap(({ from, instructions }) => [from, ...instructions])]
}

/** Without --build-arg, but for the automatic arguments. */
function automaticOnly(args: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(args).filter(([name]) => /^(?:BUILD|TARGET)[A-Z]+$/.test(name)))
}
