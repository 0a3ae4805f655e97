import { ArchimageError } from '../errors/error.ts'
import { suggest } from '../errors/suggest.ts'

/** A platform as the image index has it (image-spec, image-index.md); values here are normalised by `normalizePlatform`. */
export interface Platform {
  readonly architecture: string
  readonly os: string
  readonly 'os.version'?: string
  readonly 'os.features'?: readonly string[]
  readonly variant?: string
}

const OSES = [
  'linux',
  'windows',
  'darwin',
  'freebsd',
  'netbsd',
  'openbsd',
  'dragonfly',
  'solaris',
  'illumos',
  'aix',
  'android',
  'ios',
  'plan9',
  'wasip1',
  'js',
]
const ARCHITECTURES = [
  'amd64',
  'arm64',
  'arm',
  '386',
  'ppc64le',
  'ppc64',
  's390x',
  'riscv64',
  'loong64',
  'mips',
  'mipsle',
  'mips64',
  'mips64le',
  'wasm',
]

const ARCHITECTURE_ALIASES: ReadonlyMap<string, readonly [string, string?]> = new Map<
  string,
  readonly [string, string?]
>(
  Object.entries({
    x86_64: ['amd64'],
    'x86-64': ['amd64'],
    x64: ['amd64'],
    aarch64: ['arm64'],
    armhf: ['arm', 'v7'],
    armel: ['arm', 'v6'],
    i386: ['386'],
    i486: ['386'],
    i586: ['386'],
    i686: ['386'],
    x86: ['386'],
    loongarch64: ['loong64'],
  }),
)
const OS_ALIASES: ReadonlyMap<string, string> = new Map(Object.entries({ macos: 'darwin', win: 'windows' }))

/**
 * The one form of a platform: `aarch64` is `arm64`, its variant `v8` is left out, `arm` without variant is `arm/v7`,
 * `amd64/v1` is `amd64` (as containerd/platforms). Unknown words stay as they are, in lower case.
 */
export function normalizePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase()
  const given = platform.architecture.toLowerCase()
  const alias = ARCHITECTURE_ALIASES.get(given)
  const architecture = alias?.[0] ?? given
  let variant = platform.variant?.toLowerCase() || alias?.[1]
  if (variant !== undefined && /^\d/.test(variant)) variant = `v${variant}`
  if (architecture === 'arm64' && (variant === 'v8' || variant === 'v8.0')) variant = undefined
  if (architecture === 'arm' && variant === undefined) variant = 'v7'
  if (architecture === 'amd64' && variant === 'v1') variant = undefined
  return {
    architecture,
    os: OS_ALIASES.get(os) ?? os,
    ...(platform['os.version'] ? { 'os.version': platform['os.version'] } : {}),
    ...(platform['os.features']?.length ? { 'os.features': platform['os.features'] } : {}),
    ...(variant ? { variant } : {}),
  }
}

/** Reads `os/arch[/variant]`, `arch[/variant]`, `os(version+feature)/arch`. Throws PLATFORM_INVALID with a suggestion. */
export function parsePlatform(text: string): Platform {
  const fail = (why: string, meant?: string): never => {
    throw new ArchimageError('PLATFORM_INVALID', `"${text}" is not a platform: ${why}`, {
      hint:
        meant === undefined
          ? 'write it as os/architecture[/variant], for instance linux/arm64'
          : `did you mean "${meant}"?`,
    })
  }
  const match = /^(?:([a-z0-9_-]+)(?:\(([^()/]*)\))?\/)?([a-z0-9_-]+)(?:\/([a-z0-9_.-]+))?$/i.exec(text.trim())
  if (!match) return fail(text.trim() === '' ? 'it is empty' : 'it is not well formed')
  let [, os, versionText, architecture, variant] = match as unknown as [string, string?, string?, string?, string?]
  const isArchitecture = (word: string): boolean =>
    ARCHITECTURES.includes(word.toLowerCase()) || ARCHITECTURE_ALIASES.has(word.toLowerCase())
  const isOs = (word: string): boolean => OSES.includes(word.toLowerCase()) || OS_ALIASES.has(word.toLowerCase())
  // `arm/v7` and `arm64/v8` read as os/arch above: the first word tells.
  if (os !== undefined && variant === undefined && !isOs(os) && isArchitecture(os))
    [os, architecture, variant] = [undefined, os, architecture]
  if (os === undefined && architecture !== undefined && isOs(architecture))
    return fail('the architecture is missing', `${architecture}/amd64`)
  if (os !== undefined && !isOs(os)) {
    const meant = suggest(os, [...OSES, ...OS_ALIASES.keys()])
    return fail(`unknown operating system "${os}"`, meant && [meant, architecture, variant].filter(Boolean).join('/'))
  }
  if (architecture === undefined || !isArchitecture(architecture)) {
    const meant = suggest(architecture ?? '', [...ARCHITECTURES, ...ARCHITECTURE_ALIASES.keys()])
    return fail(
      `unknown architecture "${architecture}"`,
      meant && [os ?? 'linux', meant, variant].filter(Boolean).join('/'),
    )
  }
  if (variant !== undefined && !/^v?\d+(\.\d+)?$/i.test(variant)) return fail(`unknown variant "${variant}"`)
  const [version, ...features] = (versionText ?? '').split('+')
  return normalizePlatform({
    architecture,
    os: os ?? 'linux',
    ...(version ? { 'os.version': version } : {}),
    ...(features.length > 0 ? { 'os.features': features.filter(Boolean) } : {}),
    ...(variant ? { variant } : {}),
  })
}

/** Reads a list with commas (and several lists), drops repetitions, keeps the order. An empty one is an error. */
export function parsePlatforms(texts: readonly string[]): Platform[] {
  const out = new Map<string, Platform>()
  for (const text of texts.flatMap(list => list.split(',')))
    if (text.trim() !== '') {
      const platform = parsePlatform(text)
      out.set(formatPlatform(platform), platform)
    }
  if (out.size === 0)
    throw new ArchimageError('PLATFORM_INVALID', 'the list of platforms is empty', {
      hint: 'for instance: --platform linux/amd64,linux/arm64',
    })
  return [...out.values()]
}

/** `os[(version)]/arch[/variant]`. */
export function formatPlatform(platform: Platform): string {
  const version = platform['os.version']
    ? `(${[platform['os.version'], ...(platform['os.features'] ?? [])].join('+')})`
    : ''
  return `${platform.os}${version}/${platform.architecture}${platform.variant ? `/${platform.variant}` : ''}`
}

/** buildx's folder and tag form: `linux_arm_v7`, or `arm-v7` with `dash` and without the os when it is linux. */
export function platformSlug(platform: Platform): string {
  return `${platform.os}_${platform.architecture}${platform.variant ? `_${platform.variant}` : ''}`
}

/** `amd64`, `arm-v7`, `windows-amd64`: what stands in tags of one platform (`--arch-tags`). */
export function platformTag(platform: Platform): string {
  const arch = platform.variant ? `${platform.architecture}-${platform.variant}` : platform.architecture
  return platform.os === 'linux' ? arch : `${platform.os}-${arch}`
}

/** The same os, architecture and variant, after normalisation; os.version only counts where both have one. */
export function samePlatform(a: Platform, b: Platform): boolean {
  const [x, y] = [normalizePlatform(a), normalizePlatform(b)]
  return (
    x.os === y.os &&
    x.architecture === y.architecture &&
    (x.variant ?? '') === (y.variant ?? '') &&
    (versionFits(x, y) || versionFits(y, x))
  )
}

function versionFits(a: Platform, b: Platform): boolean {
  return (
    !a['os.version'] ||
    !b['os.version'] ||
    a['os.version'] === b['os.version'] ||
    b['os.version'].startsWith(`${a['os.version']}.`)
  )
}

function variantLevel(platform: Platform): number {
  const level = Number.parseFloat(platform.variant?.slice(1) ?? '')
  if (!Number.isNaN(level)) return level
  return platform.architecture === 'arm64' ? 8 : platform.architecture === 'amd64' ? 1 : 0
}

/**
 * Which of `candidates` serves `wanted` (DESIGN §1, strict platforms): the first exact match, else the one of the same
 * os and architecture with the highest lower variant. Never a higher variant, never another architecture.
 * Returns the index and whether it is exact; undefined when none serves.
 */
export function selectPlatform(
  wanted: Platform,
  candidates: readonly (Platform | undefined)[],
): { readonly index: number; readonly exact: boolean } | undefined {
  const target = normalizePlatform(wanted)
  let best: { index: number; level: number } | undefined
  for (const [index, candidate] of candidates.entries()) {
    if (candidate === undefined) continue
    const have = normalizePlatform(candidate)
    if (have.os !== target.os || have.architecture !== target.architecture || !versionFits(target, have)) continue
    if ((have.variant ?? '') === (target.variant ?? '')) return { index, exact: true }
    const level = variantLevel(have)
    if (level < variantLevel(target) && (best === undefined || level > best.level)) best = { index, level }
  }
  return best && { index: best.index, exact: false }
}

/** The platform of the machine that we run on, as a build platform: linux on every host (DESIGN §4). */
export function buildPlatform(): Platform {
  const names: Readonly<Record<string, string>> = {
    x64: 'amd64',
    ia32: '386',
    arm64: 'arm64',
    arm: 'arm',
    ppc64: 'ppc64le',
    s390x: 's390x',
    riscv64: 'riscv64',
    loong64: 'loong64',
  }
  return normalizePlatform({ os: 'linux', architecture: names[process.arch] ?? process.arch })
}
