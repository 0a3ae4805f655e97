import { type Expansion, expandWord } from '../../dockerfile/expand.ts'
import { isArchimageError } from '../../errors/error.ts'
import { formatPlatform, type Platform, parsePlatform } from '../../oci/platform.ts'
import { parseReference } from '../../oci/reference.ts'
import { nearest } from '../nearest.ts'
import type { Rule } from '../rule.ts'
import { ruleUrl } from './url.ts'

export const UndefinedArgInFrom: Rule = {
  name: 'UndefinedArgInFrom',
  description: 'FROM command must use declared ARGs',
  url: ruleUrl('undefined-arg-in-from'),
  from: 'buildkit',
  level: 'warning',
  remedy: 'declare it with ARG before the first FROM',
  about:
    'FROM sees the ARGs that stand before the first FROM, and the automatic ones. A name that is not among them is empty, whatever `--build-arg` says.',
  bad: { dockerfile: 'FROM node:22${VARIANT}\n' },
  good: { dockerfile: 'ARG VARIANT=-alpine\nFROM node:22${VARIANT}\n' },
  check: {
    stage: ({ image, platformFlag }, report, { globals, dockerfile }) => {
      const declared = dockerfile.globalArgs.flatMap(({ args }) => args.map(arg => arg.key))
      const names = new Set([...declared, ...globals.keys()])
      for (const word of [image, platformFlag])
        for (const name of word?.unmatched ?? []) {
          if (names.has(name)) continue
          const meant = nearest(name, names)
          report(`FROM argument '${name}' is not declared${meant === undefined ? '' : ` (did you mean ${meant}?)`}`)
        }
    },
  },
}

export const InvalidDefaultArgInFrom: Rule = {
  name: 'InvalidDefaultArgInFrom',
  description: 'Default value for global ARG results in an empty or invalid base image name',
  url: ruleUrl('invalid-default-arg-in-from'),
  from: 'buildkit',
  level: 'warning',
  wholeFile: true,
  remedy: 'give the ARG a default before the first FROM',
  about:
    'Without `--build-arg` this Dockerfile cannot be built, so neither can most tools look into it. Give the ARG a default.',
  bad: { dockerfile: 'ARG TAG\nFROM busybox:${TAG}\n' },
  good: { dockerfile: 'ARG TAG=1.36\nFROM busybox:${TAG}\n' },
  check: {
    file: ({ dockerfile, defaults }, report) => {
      if (!defaults) return
      const env = { get: (name: string) => defaults.get(name) }
      for (const { from } of dockerfile.stages) {
        const name = quietly(() => expandWord(from.image, env, { escape: dockerfile.escape }).value)
        if (name === undefined) return
        if (quietly(() => parseReference(name)) === undefined)
          report(`Default value for ARG ${from.image} results in empty or invalid base image name`, from.range)
      }
    },
  },
}

function quietly<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    if (isArchimageError(error)) return undefined
    throw error
  }
}

export const RedundantTargetPlatform: Rule = {
  name: 'RedundantTargetPlatform',
  description: 'Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior',
  url: ruleUrl('redundant-target-platform'),
  from: 'buildkit',
  level: 'warning',
  remedy: 'leave --platform out',
  about: 'A stage is of the platform that is built unless it says something else.',
  bad: { dockerfile: 'FROM --platform=$TARGETPLATFORM alpine:3.20\n' },
  good: { dockerfile: 'FROM alpine:3.20\n' },
  check: {
    stage: ({ stage, platformFlag }, report, { globals }) => {
      if (platformFlag === undefined || platformFlag.unmatched.length > 0) return
      const { matched, value } = platformFlag
      if (matched.length === 1 && matched[0] === 'TARGETPLATFORM' && value === globals.get('TARGETPLATFORM'))
        report(
          `Setting platform to predefined ${stage.from.platform} in FROM is redundant as this is the default behavior`,
        )
    },
  },
}

export const FromPlatformFlagConstDisallowed: Rule = {
  name: 'FromPlatformFlagConstDisallowed',
  description: 'FROM --platform flag should not use a constant value',
  url: ruleUrl('from-platform-flag-const-disallowed'),
  from: 'buildkit',
  level: 'warning',
  remedy: 'leave --platform out, or write --platform=$BUILDPLATFORM for a stage that compiles',
  about:
    'The stage is of that one platform, whatever is built. Leave the flag out for the platform that is built, or write `$BUILDPLATFORM` for a stage that compiles for others. A stage whose name holds the operating system or the architecture is taken for meant so.',
  bad: {
    dockerfile: 'FROM --platform=linux/amd64 golang:1.23 AS build\nFROM scratch\nCOPY --from=build /go/bin/app /app\n',
  },
  good: {
    dockerfile:
      'FROM --platform=$BUILDPLATFORM golang:1.23 AS build\nFROM scratch\nCOPY --from=build /go/bin/app /app\n',
  },
  check: {
    stage: ({ stage, platformFlag }, report) => {
      if (platformFlag === undefined || !isConstant(platformFlag)) return
      const platform = quietly(() => parsePlatform(platformFlag.value))
      const name = stage.name ?? ''
      if (platform === undefined || name.includes(platform.os) || name.includes(platform.architecture)) return
      report(`FROM --platform flag should not use constant value "${platformFlag.value}"`)
    },
  },
}

function isConstant({ matched, unmatched }: Expansion): boolean {
  return matched.length === 0 && unmatched.length === 0
}

export const InvalidBaseImagePlatform: Rule = {
  name: 'InvalidBaseImagePlatform',
  description: 'Base image platform does not match expected target platform',
  from: 'buildkit',
  level: 'error',
  wholeFile: true,
  needs: 'images',
  remedy: 'take a base that exists for this platform',
  about:
    'The image exists for another platform only: its programs do not run on the one that is built. archimage refuses to build upon it ([platforms.md](platforms.md)). Take a base that is an index with this platform.',
  bad: {
    dockerfile: 'FROM registry.example.com/amd64-only:1\n',
    platforms: ['linux/arm64'],
    images: { 'registry.example.com/amd64-only:1': { index: false, platforms: ['linux/amd64'] } },
  },
  good: {
    dockerfile: 'FROM alpine:3.20\n',
    platforms: ['linux/arm64'],
    images: { 'alpine:3.20': { index: true, platforms: ['linux/amd64', 'linux/arm64'] } },
  },
  check: {
    image: ({ reference, wanted, known }, report) => {
      if (known === undefined || sameMachine(known.platform, wanted)) return
      const [have, want] = [formatPlatform(known.platform), formatPlatform(wanted)]
      report(`Base image ${reference} was pulled with platform "${have}", expected "${want}" for current build`)
    },
  },
}

function sameMachine(a: Platform, b: Platform): boolean {
  return a.os === b.os && a.architecture === b.architecture
}
