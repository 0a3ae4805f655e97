import type { Range } from '../dockerfile/ast.ts'
import type { ArchimageError } from '../errors/error.ts'
import type { CheckOptions } from './check-options.ts'
import type { Level } from './rule.ts'

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

/** Makes one of equal findings and of equal errors, with all their platforms; findings in the order of lines and rules. */
export function merged({
  findings,
  errors,
}: Pick<LintResult, 'findings' | 'errors'>): Pick<LintResult, 'findings' | 'errors'> {
  const findingKey = ({ file, rule, range, message }: Finding): string =>
    JSON.stringify([file, rule, range.start, range.end, message])
  const errorKey = ({ error }: LintError): string => JSON.stringify([error.message, error.place?.line])
  return {
    findings: joined(findings, findingKey).sort(
      (a, b) => a.range.start.line - b.range.start.line || (a.rule < b.rule ? -1 : a.rule > b.rule ? 1 : 0),
    ),
    errors: joined(errors, errorKey).sort((a, b) => (a.error.place?.line ?? 0) - (b.error.place?.line ?? 0)),
  }
}

function joined<T extends { readonly platforms: readonly string[] }>(list: readonly T[], key: (one: T) => string): T[] {
  const groups = Map.groupBy(list, key)
  return [...groups.values()].map(group => ({
    ...group[0]!,
    platforms: [...new Set(group.flatMap(({ platforms }) => platforms))],
  }))
}

/** `linux/arm/v7 only`, where something does not hold on all platforms that were looked at; else undefined. */
export function onlyOn(platforms: readonly string[], all: readonly string[]): string | undefined {
  return all.every(platform => platforms.includes(platform)) ? undefined : `${platforms.join(' and ')} only`
}
