import type { Rule } from './rule.ts'
import { AutomaticArgShadowed } from './rules/automatic-args.ts'
import { BaseNotIndex, BasePinnedToPlatform } from './rules/bases.ts'
import { CacheMountWithoutPlatform } from './rules/cache-mounts.ts'
import { JSONArgsRecommended, MultipleInstructionsDisallowed, WorkdirRelativePath } from './rules/commands.ts'
import { CopyIgnoredFile } from './rules/copy.ts'
import { EmulatedCompile } from './rules/emulated-compile.ts'
import { ExposeInvalidFormat, ExposeProtoCasing } from './rules/expose.ts'
import { FinalStagePinned } from './rules/final-stage.ts'
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
import { HardcodedArchitecture } from './rules/hardcoded-architecture.ts'
import { GroupWritableFiles } from './rules/modes.ts'
import {
  ConsistentInstructionCasing,
  DuplicateStageName,
  FromAsCasing,
  ReservedStageName,
  StageNameCasing,
} from './rules/names.ts'
import { UnknownCheck } from './rules/unknown-check.ts'
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

  AutomaticArgShadowed,
  FinalStagePinned,
  HardcodedArchitecture,
  BaseNotIndex,
  BasePinnedToPlatform,
  CacheMountWithoutPlatform,
  EmulatedCompile,
  GroupWritableFiles,
  UnknownCheck,
]

const BY_NAME = new Map(RULES.map(rule => [rule.name, rule]))

export function ruleNamed(name: string): Rule | undefined {
  return BY_NAME.get(name)
}
