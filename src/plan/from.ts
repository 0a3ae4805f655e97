import type { Dockerfile, Instruction, Stage } from '../dockerfile/ast.ts'
import { type Expansion, expandWord } from '../dockerfile/expand.ts'
import { placeOf } from '../dockerfile/fault.ts'
import { baseStage } from '../dockerfile/stages.ts'
import { ArchimageError, isArchimageError, type Place } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { buildPlatform, formatPlatform, type Platform, parsePlatform } from '../oci/platform.ts'
import { parseReference } from '../oci/reference.ts'
import { relocated } from './placed.ts'

/** Where an instruction stands, with the lines around it. */
export function placeIn(dockerfile: Dockerfile, instruction: Pick<Instruction, 'range'>): Place {
  return placeOf(dockerfile, instruction.range)
}

/**
 * The automatic platform arguments, then the ARGs before the first FROM (DESIGN §4; BuildKit's defaultArgs). `target` is what the
 * user asked for. Throws DOCKERFILE_INVALID.
 */
export function globalArguments(
  input: { readonly dockerfile: Dockerfile; readonly args: Readonly<Record<string, string>> },
  platform: Platform,
  target: string | undefined,
): Map<string, string> {
  const { dockerfile } = input
  const host = buildPlatform()
  // As it is written, also in another case than the stage's name; an index is our own addition.
  const asked = target && /^\d+$/.test(target) ? dockerfile.stages[Number(target)]?.name : target
  const stage = target ? asked : dockerfile.stages.at(-1)?.name
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
    ['TARGETSTAGE', stage ?? 'default'],
  ]
  const given = (key: string): string | undefined => (Object.hasOwn(input.args, key) ? input.args[key] : undefined)
  const values = new Map(automatic.map(([key, value]) => [key, given(key) ?? value]))
  const env = { get: (name: string) => values.get(name) }
  for (const instruction of dockerfile.globalArgs) {
    const own = (value: string): string =>
      attempt(
        () => expandWord(value, env, { escape: dockerfile.escape }).value,
        error => relocated(error, placeIn(dockerfile, instruction)),
      )
    for (const { key, value } of instruction.args) {
      const result = given(key) ?? (value === undefined ? undefined : own(value))
      if (result !== undefined) values.set(key, result)
    }
  }
  return values
}

/** What a FROM says when its arguments are put in. */
export interface ExpandedFrom {
  readonly image: string
  readonly platform?: Platform
  /** What an argument without value in the image's name may be meant for. */
  readonly meant?: string | undefined
}

/** Image and platform of a FROM, with global arguments expanded. Throws DOCKERFILE_INVALID. */
export function expandFrom(stage: Stage, globals: ReadonlyMap<string, string>, dockerfile: Dockerfile): ExpandedFrom {
  const word = (text: string): Expansion =>
    attempt(
      () => expandWord(text, { get: name => globals.get(name) }, { escape: dockerfile.escape }),
      error => relocated(error, placeIn(dockerfile, stage.from)),
    )
  const fail = (message: string, hint?: string): ArchimageError =>
    new ArchimageError('DOCKERFILE_INVALID', message, {
      place: placeIn(dockerfile, stage.from),
      ...(hint ? { hint } : {}),
    })
  const meant = ({ unmatched: [name] }: Expansion): string | undefined => {
    if (name === undefined) return undefined
    const declared = dockerfile.globalArgs.flatMap(({ args }) => args.map(({ key }) => key))
    return didYouMean(name, [...globals.keys(), ...declared]) ?? `${name} has no value: ${GIVE_VALUE}`
  }

  const image = word(stage.from.image)
  if (image.value === '')
    throw fail(`FROM ${stage.from.image}: the name of the base is empty`, meant(image) ?? GIVE_VALUE)
  let platform: Platform | undefined
  if (stage.from.platform !== undefined) {
    const expanded = word(stage.from.platform)
    const what = `FROM --platform=${stage.from.platform}`
    if (expanded.value === '')
      throw fail(`${what}: the platform is empty`, meant(expanded) ?? 'for instance --platform=$BUILDPLATFORM')
    platform = attempt(
      () => parsePlatform(expanded.value),
      error => fail(`FROM: ${error.message}`, error.hint),
    )
  }
  return {
    image: image.value,
    ...(platform === undefined ? {} : { platform }),
    meant: meant(image),
  }
}

/**
 * Refuses what no image can be called: every base and every name of a stage might be that of a named context or an image.
 * Throws DOCKERFILE_INVALID.
 */
export function checkNames(stage: Stage, from: ExpandedFrom, dockerfile: Dockerfile): void {
  const check = (what: string, reference: string, meant?: string): void => {
    attempt(
      () => parseReference(reference),
      ({ message, hint }) =>
        new ArchimageError('DOCKERFILE_INVALID', `${what}: ${message}`, {
          place: placeIn(dockerfile, stage.from),
          hint: meant ?? hint ?? '',
        }),
    )
  }
  if (stage.name !== undefined) check(`AS ${stage.name}`, stage.name)
  const { image, meant } = from
  if (image === 'scratch' || baseStage(dockerfile, stage, image) !== undefined) return
  const below = baseStage(dockerfile, stage, image.toLowerCase())
  const ofAnotherCase = below && `FROM wants the name of a stage in lower case: FROM ${below.name}`
  check(`FROM ${stage.from.image}`, image, ofAnotherCase ?? meant)
}

const GIVE_VALUE = 'give the argument a default before the first FROM, or a value with --build-arg'

function attempt<T>(work: () => T, fail: (error: ArchimageError) => ArchimageError): T {
  try {
    return work()
  } catch (error) {
    throw isArchimageError(error) ? fail(error) : error
  }
}
