import type { Dockerfile, Instruction, Stage } from '../dockerfile/ast.ts'
import { expandWord } from '../dockerfile/expand.ts'
import { findStage } from '../dockerfile/stages.ts'
import { ArchimageError, isArchimageError, type Place } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { buildPlatform, formatPlatform, type Platform, parsePlatform } from '../oci/platform.ts'

/** Where an instruction stands, with the lines around it. */
export function placeIn(dockerfile: Dockerfile, instruction: Pick<Instruction, 'range'>): Place {
  const { start, end } = instruction.range
  const first = Math.max(1, start.line - 2)
  return {
    file: dockerfile.file,
    line: start.line,
    column: start.column,
    endLine: end.line,
    excerpt: dockerfile.lines.slice(first - 1, Math.min(end.line, start.line + 8) + 1),
    excerptLine: first,
  }
}

/** The stage to build: by name in any case, by number, or the last one. Throws DOCKERFILE_INVALID. */
export function findTarget(dockerfile: Dockerfile, target: string | undefined): Stage {
  const { stages } = dockerfile
  if (target === undefined || target === '') return stages.at(-1)!
  const found = findStage(dockerfile, target)
  if (found) return found
  const names = stages.flatMap(stage => stage.name ?? [])
  throw new ArchimageError('DOCKERFILE_INVALID', `${dockerfile.file} has no stage "${target}"`, {
    hint:
      didYouMean(target, names) ??
      (names.length > 0 ? `its stages are: ${names.join(', ')}` : 'none of its stages has a name'),
    place: { file: dockerfile.file },
  })
}

/** The automatic platform arguments, then the ARGs before the first FROM (DESIGN §4; BuildKit's defaultArgs). */
export function globalArguments(
  input: { readonly dockerfile: Dockerfile; readonly args: Readonly<Record<string, string>> },
  platform: Platform,
  stage: string,
): Map<string, string> {
  const host = buildPlatform()
  const automatic: readonly (readonly [string, string])[] = [
    ['BUILDPLATFORM', formatPlatform(host)],
    ['BUILDOS', host.os],
    ['BUILDOSVERSION', ''],
    ['BUILDARCH', host.architecture],
    ['BUILDVARIANT', host.variant ?? ''],
    ['TARGETPLATFORM', formatPlatform(platform)],
    ['TARGETOS', platform.os],
    ['TARGETOSVERSION', platform['os.version'] ?? ''],
    ['TARGETARCH', platform.architecture],
    ['TARGETVARIANT', platform.variant ?? ''],
    ['TARGETSTAGE', stage],
  ]
  const given = (key: string): string | undefined => (Object.hasOwn(input.args, key) ? input.args[key] : undefined)
  const values = new Map(automatic.map(([key, value]) => [key, given(key) ?? value]))
  for (const instruction of input.dockerfile.globalArgs)
    for (const { key, value } of instruction.args) {
      const result =
        given(key) ??
        (value === undefined
          ? undefined
          : expandWord(value, { get: name => values.get(name) }, { escape: input.dockerfile.escape }).value)
      if (result !== undefined) values.set(key, result)
    }
  return values
}

/** Image and platform of a FROM, with global arguments expanded. Throws DOCKERFILE_INVALID. */
export function expandFrom(
  stage: Stage,
  globals: ReadonlyMap<string, string>,
  dockerfile: Dockerfile,
): { image: string; platform?: Platform } {
  const word = (text: string): { value: string; unmatched: readonly string[] } =>
    expandWord(text, { get: name => globals.get(name) }, { escape: dockerfile.escape })
  const place = placeIn(dockerfile, stage.from)
  const image = word(stage.from.image)
  const missing = image.unmatched[0] === undefined ? undefined : didYouMean(image.unmatched[0], globals.keys())
  if (image.value === '')
    throw new ArchimageError('DOCKERFILE_INVALID', `FROM ${stage.from.image}: the name of the base is empty`, {
      place,
      hint: missing ?? 'give the argument a default before the first FROM, or a value with --build-arg',
    })
  if (stage.from.platform === undefined) return { image: image.value }
  const platform = word(stage.from.platform)
  if (platform.value === '')
    throw new ArchimageError('DOCKERFILE_INVALID', `FROM --platform=${stage.from.platform}: the platform is empty`, {
      place,
      hint:
        (platform.unmatched[0] && didYouMean(platform.unmatched[0], globals.keys())) ||
        'for instance --platform=$BUILDPLATFORM',
    })
  try {
    return { image: image.value, platform: parsePlatform(platform.value) }
  } catch (error) {
    if (!isArchimageError(error)) throw error
    throw new ArchimageError('DOCKERFILE_INVALID', `FROM: ${error.message}`, {
      place,
      ...(error.hint ? { hint: error.hint } : {}),
    })
  }
}
