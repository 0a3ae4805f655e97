import { parseIgnoreFile } from '../../context/ignore.ts'
import { parseDockerfile } from '../../dockerfile/parse.ts'
import { type Platform, parsePlatform, selectPlatform } from '../../oci/platform.ts'
import type { LintResult } from '../finding.ts'
import { type LintOptions, lintDockerfile } from '../lint.ts'
import type { Example } from '../rule.ts'
import type { KnownImage } from '../stage-views.ts'

const DEFAULT = ['linux/amd64', 'linux/arm64']

/** Checks an example of a rule with what it brings along. */
export function lintExample(example: Example, more: LintOptions = {}): LintResult {
  const { dockerfile, dockerignore, modes } = example
  const rules = dockerignore === undefined ? undefined : parseIgnoreFile(Buffer.from(dockerignore), '.dockerignore')
  return lintDockerfile(parseDockerfile(dockerfile, 'Dockerfile'), {
    platforms: (example.platforms ?? DEFAULT).map(parsePlatform),
    image: (reference, platform) => known(example, reference, platform),
    ...(rules ? { ignored: source => rules.leavesOut(source) } : {}),
    ...(modes ? { modes: () => modes } : {}),
    ...more,
  })
}

function known({ images }: Example, reference: string, wanted: Platform): KnownImage | undefined {
  const image = images?.[reference]
  if (image === undefined) return undefined
  const platforms = image.platforms.map(parsePlatform)
  const platform = platforms[selectPlatform(wanted, platforms)?.index ?? 0]!
  return { platform, index: image.index, env: [], shell: false, onbuild: [] }
}

/** `Rule:line`, or `Rule:line on platforms` for what does not hold on all of them. */
export function found(dockerfile: string, platforms = DEFAULT, more: LintOptions = {}): readonly string[] {
  return lintExample({ dockerfile, platforms }, more).findings.map(({ rule, range, platforms: on }) => {
    const where = on.length === platforms.length ? '' : ` on ${on.join(', ')}`
    return `${rule}:${range.start.line}${where}`
  })
}
