import { formatPlatform, parsePlatform } from '../oci/platform.ts'

const ARCHITECTURES: Readonly<Record<string, string>> = {
  amd64: 'amd64',
  x86_64: 'amd64',
  'x86-64': 'amd64',
  x64: 'amd64',
  arm64: 'arm64',
  arm64v8: 'arm64',
  armv8: 'arm64',
  aarch64: 'arm64',
  arm: 'arm/v7',
  armv7: 'arm/v7',
  armv7l: 'arm/v7',
  arm32v7: 'arm/v7',
  armhf: 'arm/v7',
  armv6: 'arm/v6',
  armv6l: 'arm/v6',
  arm32v6: 'arm/v6',
  armel: 'arm/v6',
  armv5: 'arm/v5',
  arm32v5: 'arm/v5',
  386: '386',
  i386: '386',
  x86: '386',
  ppc64le: 'ppc64le',
  s390x: 's390x',
  riscv64: 'riscv64',
  loong64: 'loong64',
}

/** `linux/arm64` for the suffix of `Dockerfile.arm64`, `windows/amd64` for `win`; undefined for any other word. */
export function platformOfSuffix(suffix: string): string | undefined {
  const word = suffix.toLowerCase()
  if (word === 'win64') return 'windows/amd64'
  const match = /^(?:(linux|windows|win)(?:[-_.]|$))?(.*)$/.exec(word)
  const os = match?.[1]?.replace(/^win$/, 'windows')
  const rest = match?.[2] ?? ''
  const architecture = rest === '' ? (os === 'windows' ? 'amd64' : undefined) : ARCHITECTURES[rest]
  return architecture === undefined ? undefined : formatPlatform(parsePlatform(`${os ?? 'linux'}/${architecture}`))
}

/** The Dockerfiles of one folder, by file name. */
export interface DockerfileSet {
  readonly main?: string
  /** By `formatPlatform`. */
  readonly platforms: Readonly<Record<string, string>>
  /** Files that name a platform which another file has already. */
  readonly shadowed: readonly string[]
}

/** Picks `Dockerfile` and `Dockerfile.<platform>` out of a folder's names; `Containerfile` counts where there is none. */
export function dockerfilesAmong(names: readonly string[]): DockerfileSet | undefined {
  for (const base of ['Dockerfile', 'Containerfile']) {
    const platforms: Record<string, string> = {}
    const shadowed: string[] = []
    for (const name of [...names].sort()) {
      if (!name.startsWith(`${base}.`)) continue
      const platform = platformOfSuffix(name.slice(base.length + 1))
      if (platform === undefined) continue
      if (platform in platforms) shadowed.push(name)
      else platforms[platform] = name
    }
    const main = names.includes(base) ? base : undefined
    if (main !== undefined || Object.keys(platforms).length > 0)
      return { ...(main === undefined ? {} : { main }), platforms, shadowed }
  }
  return undefined
}
