import { parseMount } from '../../dockerfile/mounts.ts'
import { ArchimageError, isArchimageError } from '../../errors/error.ts'
import { clean } from '../../plan/posix.ts'
import type { FileView, Rule } from '../rule.ts'
import type { StageView } from '../stage-views.ts'

/** Caches that hold sources, or whose entries know the platform that they are for. */
const SHARED_SAFELY: readonly RegExp[] = [
  // Go, Rust, C
  /\/pkg\/mod(?:\/|$)/,
  /\/go-build(?:\/|$)/,
  /\/(?:\.?cargo)\/(?:registry|git)(?:\/|$)/,
  /\/\.?s?ccache(?:\/|$)/,
  // JavaScript
  /\/\.npm(?:\/|$)/,
  /\/(?:\.yarn|\.cache\/yarn|yarn\/cache)(?:\/|$)/,
  /pnpm.*store/,
  /\/\.bun\/install\/cache(?:\/|$)/,
  // Python, PHP, Ruby
  /\/\.cache\/(?:pip|uv|pypoetry)(?:\/|$)/,
  /\/(?:\.composer|composer\/cache|\.cache\/composer)(?:\/|$)/,
  // Java, .NET
  /\/(?:\.m2|\.gradle|\.ivy2|\.sbt)(?:\/|$)/,
  /\/\.nuget(?:\/|$)/,
  // Everything below it has a name of its own in one of the lists above.
  /^(?:\/root|\/home\/[^/]+)\/\.cache$/,
  // Alpine names packages by their digest
  /^\/(?:var\/cache|etc)\/apk(?:\/|$)/,
]

export const CacheMountWithoutPlatform: Rule = {
  name: 'CacheMountWithoutPlatform',
  description: 'A cache mount of a step that runs for each platform is shared between architectures',
  from: 'archimage',
  level: 'warning',
  remedy:
    'put the platform into its id: --mount=type=cache,id=NAME-$TARGETPLATFORM,…, with ARG TARGETPLATFORM above it',
  about:
    "The id of a cache mount is its target, and says nothing of the platform: steps for amd64 and for arm64 write into one folder, so object files of one are linked into the other, or each throws away what the other has fetched. Caches that know the platform of what they hold (Go, npm, pip, cargo's registry, …) are left in peace, and so are stages that are pinned to `$BUILDPLATFORM`.",
  bad: {
    dockerfile: 'FROM rust:1.82 AS build\nRUN --mount=type=cache,target=/src/target cargo fetch\nFROM scratch\n',
  },
  good: {
    dockerfile:
      'FROM rust:1.82 AS build\nARG TARGETPLATFORM\nRUN --mount=type=cache,id=target-$TARGETPLATFORM,target=/src/target cargo fetch\nFROM scratch\n',
  },
  check: {
    step: ({ instruction, stage, word }, report, file) => {
      if (instruction.kind !== 'run' || !hasArchitectures(file) || !variesWithTarget(stage)) return
      for (const raw of instruction.mounts) {
        const mount = mountOf(raw, text => text)
        if (mount?.type !== 'cache' || mount.target === undefined) continue
        const { id, target } = mount
        if (/\$/.test(id ?? target) || /\$/.test(target)) continue
        const path = clean(word(target))
        if (!SHARED_SAFELY.some(one => one.test(path)))
          report(`The cache mount "${id ?? path}" is shared between all architectures`)
      }
    },
  },
}

function mountOf(raw: string, expand: (word: string) => string): ReturnType<typeof parseMount> | undefined {
  try {
    return parseMount(raw, expand, message => new ArchimageError('DOCKERFILE_INVALID', message))
  } catch (error) {
    if (isArchimageError(error)) return undefined
    throw error
  }
}

/** Whether the Dockerfile is built for more than one architecture. */
export function hasArchitectures({ platforms }: FileView): boolean {
  return new Set(platforms.map(({ architecture, variant }) => `${architecture} ${variant ?? ''}`)).size > 1
}

/** Whether the steps of a stage run for each platform anew, and not for the build platform alone. */
export function variesWithTarget({ root }: StageView): boolean {
  const { platformFlag } = root
  return platformFlag === undefined || platformFlag.matched.some(name => name.startsWith('TARGET'))
}
