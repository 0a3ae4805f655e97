import type { Dockerfile } from '../dockerfile/ast.ts'
import { placeOf } from '../dockerfile/fault.ts'
import { ArchimageError } from '../errors/error.ts'
import { checkOptions } from '../lint/check-options.ts'
import { type Finding, merged, onlyOn } from '../lint/finding.ts'
import { type LintOptions, lintDockerfile } from '../lint/lint.ts'
import { ruleNamed } from '../lint/rules.ts'
import type { KnownImage } from '../lint/stage-views.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import type { BaseImage } from '../plan/lowered.ts'

/**
 * What checks find in a Dockerfile that is about to be built, as far as they can tell from what the build knows anyway. Throws
 * CHECK_FAILED where `# check=error=true` wants it: of rules of our own nobody who wrote that for BuildKit can know.
 */
export function findingsOf(
  dockerfile: Dockerfile,
  platform: Platform,
  options: Omit<LintOptions, 'platforms'>,
): readonly Finding[] {
  const checks = checkOptions(dockerfile, options.args ?? {})
  const { findings } = lintDockerfile(dockerfile, { ...options, platforms: [platform], neededOnly: true })
  const counted = checks.error ? findings.filter(({ rule }) => ruleNamed(rule)?.from === 'buildkit') : []
  const [first] = counted
  if (first === undefined) return findings
  throw new ArchimageError('CHECK_FAILED', `checks found what check=error=true forbids: ${summary(counted)}`, {
    place: placeOf(dockerfile, first.range),
    hint: `${first.message}: ${ruleNamed(first.rule)!.remedy}\narchimage lint shows all of it; # check=skip=${first.rule} switches the rule off`,
  })
}

function summary(findings: readonly Finding[]): string {
  return [...new Set(findings.map(({ rule, range }) => `${rule} (line ${range.start.line})`))].join(', ')
}

/** A base as checks know it. Whether its name leads to an index is not known here. */
export function knownBase({ platform, config }: BaseImage): KnownImage {
  const { Env = [], Shell = [], OnBuild = [] } = config.config ?? {}
  return { platform, index: true, env: Env, shell: Shell.length > 0, onbuild: OnBuild }
}

/** Findings of the cells of a run, which become warnings when all are known: equal ones are one. */
export class RunFindings {
  private readonly findings: Finding[] = []
  private readonly platforms = new Map<string, Set<string>>()

  add(file: string, platform: Platform, findings: readonly Finding[]): void {
    this.platforms.set(file, (this.platforms.get(file) ?? new Set()).add(formatPlatform(platform)))
    this.findings.push(...findings)
  }

  /** By file and line: cells end in any order. */
  warnings(): readonly string[] {
    const groups = [...Map.groupBy(this.findings, ({ file }) => file)].sort(([a], [b]) => (a < b ? -1 : 1))
    return groups.flatMap(([file, findings]) =>
      merged({ findings, errors: [] }).findings.map(({ rule, message, range, platforms }) => {
        const only = onlyOn(platforms, [...this.platforms.get(file)!])
        return `${file}:${range.start.line}: ${rule}: ${message}${only === undefined ? '' : ` (on ${only})`}`
      }),
    )
  }
}
