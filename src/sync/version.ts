import { ArchimageError } from '../errors/error.ts'

/** A version as tags have it: `v1.2`, `1.2.3-rc.1+build`; what stands behind a "+" does not count (semver.org). */
export interface Version {
  readonly numbers: readonly number[]
  readonly pre: readonly string[]
}

export function parseVersion(text: string): Version | undefined {
  const match = /^v?(\d{1,15}(?:\.\d{1,15})*)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$/.exec(text)
  if (match === null) return undefined
  return { numbers: match[1]!.split('.').map(Number), pre: match[2]?.split('.') ?? [] }
}

/** Numbers that are not there are 0; a version with a pre-release comes before the one without. */
export function compareVersions(a: Version, b: Version): number {
  for (let i = 0; i < Math.max(a.numbers.length, b.numbers.length); i++) {
    const difference = (a.numbers[i] ?? 0) - (b.numbers[i] ?? 0)
    if (difference !== 0) return difference
  }
  if (a.pre.length === 0 || b.pre.length === 0) return b.pre.length - a.pre.length
  for (let i = 0; i < Math.max(a.pre.length, b.pre.length); i++) {
    const [x, y] = [a.pre[i], b.pre[i]]
    if (x === undefined || y === undefined) return x === undefined ? -1 : 1
    if (x === y) continue
    const numeric = [x, y].map(part => /^\d+$/.test(part))
    if (numeric[0] && numeric[1]) return Number(x) - Number(y)
    if (numeric[0] !== numeric[1]) return numeric[0] ? -1 : 1
    return x < y ? -1 : 1
  }
  return 0
}

type Test = (version: Version) => boolean

/**
 * Reads a range: `>=1.2 <2`, `^1.2`, `~1.2.3`, `1.x`, `1.2 - 1.4`, alternatives with `||`. Two dialects: skopeo's (Masterminds/semver:
 * `1.2` means every 1.2.x, and pre-releases count only where the range names one) and regsync's (`1.2` means 1.2.0).
 * Throws CONFIG_INVALID.
 */
export function versionRange(text: string, dialect: 'skopeo' | 'regsync'): (tag: string) => boolean {
  const fail = (part: string): never => {
    throw new ArchimageError('CONFIG_INVALID', `"${text}" is not a range of versions: "${part}" is not understood`, {
      hint: 'for instance ">=1.2.0 <2.0.0", "^1.2", "~1.2.3"',
    })
  }
  const alternatives = text.split('||').map(alternative => {
    const spread = alternative.replace(/(\S+)\s+-\s+(\S+)/g, '>=$1 <=$2')
    const joined = spread.replace(/([<>=!~^]+)\s+/g, '$1')
    const parts = joined.split(/[\s,]+/).filter(Boolean)
    if (parts.length === 0) return fail(alternative)
    const named = parts.some(part => /\d-/.test(part))
    const tests = parts.map(part => comparator(part, dialect) ?? fail(part))
    return (version: Version): boolean =>
      (dialect === 'regsync' || version.pre.length === 0 || named) && tests.every(test => test(version))
  })
  return tag => {
    const version = parseVersion(tag)
    return version !== undefined && alternatives.some(fits => fits(version))
  }
}

function comparator(part: string, dialect: 'skopeo' | 'regsync'): Test | undefined {
  const [, operator, rest] = /^(=|==|!=|>|>=|=>|<|<=|=<|~|~>|\^)?([^<>=!~^].*)$/.exec(part) ?? []
  if (rest === undefined) return undefined
  const bare = dialect === 'skopeo' ? rest.replace(/(?:^|\.)[xX*](?:\.[xX*])*$/, '') : rest
  if (bare === '' || bare === 'v') return () => true
  const low = parseVersion(bare)
  if (low === undefined) return undefined
  const { numbers } = low
  const partial = dialect === 'skopeo' && numbers.length < 3 && low.pre.length === 0
  /** The first version behind all that begin with the first `count` numbers. */
  const behind = (count: number): Version => ({
    numbers: [...numbers.slice(0, count - 1), (numbers[count - 1] ?? 0) + 1],
    pre: [],
  })
  const [lowest, next]: [Version, Version] = [low, behind(numbers.length)]
  const atLeast: Test = version => compareVersions(version, lowest) >= 0
  const below =
    (limit: Version): Test =>
    version =>
      compareVersions(version, limit) < 0
  const within =
    (limit: Version): Test =>
    version =>
      atLeast(version) && below(limit)(version)
  const equal: Test = partial ? within(next) : version => compareVersions(version, lowest) === 0
  switch (operator) {
    case undefined:
    case '=':
    case '==':
      return equal
    case '!=':
      return version => !equal(version)
    case '>':
      return partial ? version => compareVersions(version, next) >= 0 : version => compareVersions(version, lowest) > 0
    case '>=':
    case '=>':
      return atLeast
    case '<':
      return below(lowest)
    case '<=':
    case '=<':
      return partial ? below(next) : version => compareVersions(version, lowest) <= 0
    case '~':
    case '~>':
      return within(behind(partial && numbers.length === 1 ? 1 : 2))
    default: {
      const first = numbers.findIndex(number => number > 0)
      const most = dialect === 'regsync' ? 3 : numbers.length
      return within(behind(first < 0 ? most : first + 1))
    }
  }
}
