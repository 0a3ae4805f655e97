import type { Rule } from './rule.ts'
import { JSONArgsRecommended, MultipleInstructionsDisallowed, WorkdirRelativePath } from './rules/commands.ts'
import { CopyIgnoredFile } from './rules/copy.ts'
import { ExposeInvalidFormat, ExposeProtoCasing } from './rules/expose.ts'
import {
  InvalidDefinitionDescription,
  LegacyKeyValueFormat,
  MaintainerDeprecated,
  NoEmptyContinuation,
} from './rules/form.ts'
import {
  FromPlatformFlagConstDisallowed,
  InvalidBaseImagePlatform,
  InvalidDefaultArgInFrom,
  RedundantTargetPlatform,
  UndefinedArgInFrom,
} from './rules/from.ts'
import {
  ConsistentInstructionCasing,
  DuplicateStageName,
  FromAsCasing,
  ReservedStageName,
  StageNameCasing,
} from './rules/names.ts'
import { SecretsUsedInArgOrEnv, UndefinedVar } from './rules/variables.ts'

/** All checks: BuildKit's in its order, then our own. */
export const RULES: readonly Rule[] = [
  StageNameCasing,
  FromAsCasing,
  NoEmptyContinuation,
  ConsistentInstructionCasing,
  DuplicateStageName,
  ReservedStageName,
  JSONArgsRecommended,
  MaintainerDeprecated,
  UndefinedArgInFrom,
  WorkdirRelativePath,
  UndefinedVar,
  MultipleInstructionsDisallowed,
  LegacyKeyValueFormat,
  InvalidBaseImagePlatform,
  RedundantTargetPlatform,
  SecretsUsedInArgOrEnv,
  InvalidDefaultArgInFrom,
  FromPlatformFlagConstDisallowed,
  CopyIgnoredFile,
  InvalidDefinitionDescription,
  ExposeProtoCasing,
  ExposeInvalidFormat,
]

const BY_NAME = new Map(RULES.map(rule => [rule.name, rule]))

export function ruleNamed(name: string): Rule | undefined {
  return BY_NAME.get(name)
}
