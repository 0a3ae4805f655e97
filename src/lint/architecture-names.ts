import { normalizePlatform, type Platform } from '../oci/platform.ts'

/** What architectures are called in names of files and packages, beside the words that a platform may have. */
const NAMES: Readonly<Record<string, readonly [architecture: string, variant?: string]>> = {
  amd64: ['amd64'],
  x86_64: ['amd64'],
  'x86-64': ['amd64'],
  x64: ['amd64'],
  linux64: ['amd64'],
  arm64: ['arm64'],
  arm64v8: ['arm64'],
  aarch64: ['arm64'],
  armhf: ['arm', 'v7'],
  armel: ['arm', 'v5'],
  armv5: ['arm', 'v5'],
  armv6: ['arm', 'v6'],
  armv6l: ['arm', 'v6'],
  armv6hf: ['arm', 'v6'],
  armv7: ['arm', 'v7'],
  armv7l: ['arm', 'v7'],
  armv7hf: ['arm', 'v7'],
  arm32v5: ['arm', 'v5'],
  arm32v6: ['arm', 'v6'],
  arm32v7: ['arm', 'v7'],
  i386: ['386'],
  i586: ['386'],
  i686: ['386'],
  ppc64le: ['ppc64le'],
  powerpc64le: ['ppc64le'],
  s390x: ['s390x'],
  riscv64: ['riscv64'],
  mips64el: ['mips64le'],
  mips64le: ['mips64le'],
  loong64: ['loong64'],
  loongarch64: ['loong64'],
}

/** An alternative of all names, the longest first, for regular expressions that ignore case. */
const ANY = Object.keys(NAMES)
  .toSorted((a, b) => b.length - a.length)
  .join('|')
const WORD = new RegExp(`(?<![a-z0-9])(?:${ANY})(?![a-z0-9])`, 'gi')
/** `linux-amd64`, `linux_x86_64`, `win-x64`; `x86_64-unknown-linux-musl`. */
const SYSTEM = new RegExp(
  `(?:linux|darwin|macos|osx|windows|win|musl|alpine)[-_/](?:${ANY})(?![a-z0-9])|(?:^|[=/])(?:${ANY})-(?:unknown|linux|pc|apple)-`,
  'i',
)

/** The names of architectures in a text, as they are written there. `foo_amd64.deb` has one, `camd64` none. */
export function architecturesIn(text: string): readonly string[] {
  return text.match(WORD) ?? []
}

/** Whether an architecture stands beside an operating system, as in the names of what programs are published as. */
export function hasSystem(text: string): boolean {
  return SYSTEM.test(text)
}

/** `amd64` for `x86_64`. */
export function architectureOf(name: string): string {
  return NAMES[name.toLowerCase()]![0]
}

/** Whether what is made for the architecture of that name runs on a platform: older variants, and i386 on amd64, do. */
export function fits(name: string, platform: Platform): boolean {
  const [architecture, variant] = NAMES[name.toLowerCase()]!
  const have = normalizePlatform(platform)
  if (architecture === '386') return have.architecture === '386' || have.architecture === 'amd64'
  if (architecture !== have.architecture) return false
  return variant === undefined || variant <= (have.variant ?? 'v7')
}
