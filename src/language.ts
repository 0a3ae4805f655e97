/**
 * The Dockerfile language alone: parse, expand, stages, lint. Pure functions over their arguments, without store, network or
 * anything of the runtime.
 *
 *     const dockerfile = parseDockerfile(await readFile('Dockerfile'), 'Dockerfile')
 *     const { findings } = lintDockerfile(dockerfile, { platforms: parsePlatforms(['linux/amd64,linux/arm64']) })
 */

export type {
  AddInstruction,
  ArgInstruction,
  Command,
  CopyInstruction,
  Dockerfile,
  Flag,
  FromInstruction,
  Heredoc,
  Instruction,
  Range,
  RunInstruction,
  Stage,
} from './dockerfile/ast.ts'
export { type Environment, type ExpandOptions, type Expansion, expandWord, expandWords } from './dockerfile/expand.ts'
export { type Mount, parseMount } from './dockerfile/mounts.ts'
export { parseDockerfile } from './dockerfile/parse.ts'
export { findStage, type NeededStage, reachableStages, type StageOptions, targetStage } from './dockerfile/stages.ts'
export { ArchimageError, isArchimageError, type Place } from './errors/error.ts'
export { renderError } from './errors/render.ts'
export { type CheckOptions, parseCheckOptions } from './lint/check-options.ts'
export type { CheckedFile } from './lint/checked.ts'
export type { Finding, LintError, LintResult } from './lint/finding.ts'
export { lintGithub } from './lint/formats/github.ts'
export { lintJson } from './lint/formats/json.ts'
export { lintSarif } from './lint/formats/sarif.ts'
export { lintText } from './lint/formats/text.ts'
export { imageUses } from './lint/image-uses.ts'
export { type LintOptions, lintDockerfile } from './lint/lint.ts'
export { type Outline, type OutlineOptions, outlineOf } from './lint/outline.ts'
export type { Example, Level, Rule } from './lint/rule.ts'
export { RULES } from './lint/rules.ts'
export type { ImageUse, KnownImage } from './lint/stage-views.ts'
export { type TargetList, targetList } from './lint/targets.ts'
export { formatPlatform, type Platform, parsePlatform, parsePlatforms } from './oci/platform.ts'
export { globalArguments } from './plan/from.ts'
