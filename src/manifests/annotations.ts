import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { type Platform, parsePlatform } from '../oci/platform.ts'

/**
 * Where an annotation stands: in the index; in the manifest of an image, whose digest changes; in the entry of an image in
 * the index; in the entry of the index in an OCI layout.
 */
export const LEVELS = ['index', 'manifest', 'manifest-descriptor', 'index-descriptor'] as const
export type Level = (typeof LEVELS)[number]

export interface Annotation {
  readonly level: Level
  /** Of one platform only; of all without it. */
  readonly platform?: Platform
  readonly key: string
  readonly value: string
}

/**
 * Reads an annotation as buildx and regctl write it: `KEY=VALUE` (of `plain`'s level), `index:KEY=VALUE`,
 * `manifest[linux/amd64]:KEY=VALUE`, several levels with commas; `[*]KEY=VALUE` is the index and every image,
 * `[linux/amd64]KEY=VALUE` one image. Throws USAGE.
 */
export function parseAnnotation(text: string, plain: Level): Annotation[] {
  const [, all, bracket, bare] = /^\[(\*|([^\]]+))\](.*)$/s.exec(text) ?? []
  if (bare !== undefined) {
    const pair = keyValue(bare, text)
    if (all === '*')
      return [
        { level: 'index', ...pair },
        { level: 'manifest', ...pair },
      ]
    return [{ level: 'manifest', platform: parsePlatform(bracket!), ...pair }]
  }
  const [, levels, rest] = /^((?:[a-z-]+(?:\[[^\]]*\])?)(?:,[a-z-]+(?:\[[^\]]*\])?)*):(.*)$/s.exec(text) ?? []
  if (levels === undefined || levels.includes('=')) return [{ level: plain, ...keyValue(text, text) }]
  const pair = keyValue(rest!, text)
  return levels.split(/,(?![^[]*\])/).map(word => {
    const [, level, platform] = /^([a-z-]+)(?:\[([^\]]*)\])?$/.exec(word)!
    if (!LEVELS.some(one => one === level))
      throw new ArchimageError('USAGE', `annotation "${text}": "${level}" is no place for annotations`, {
        hint: didYouMean(level!, LEVELS) ?? `these are: ${LEVELS.join(', ')}`,
      })
    if (platform !== undefined && (level === 'index' || level === 'index-descriptor'))
      throw new ArchimageError('USAGE', `annotation "${text}": an index is of no platform`)
    return {
      level: level as Level,
      ...(platform === undefined ? {} : { platform: parsePlatform(platform) }),
      ...pair,
    }
  })
}

function keyValue(text: string, whole: string): { readonly key: string; readonly value: string } {
  const equals = text.indexOf('=')
  if (equals > 0) return { key: text.slice(0, equals), value: text.slice(equals + 1) }
  throw new ArchimageError('USAGE', `annotation "${whole}" is not KEY=VALUE`, {
    hint: 'for instance --annotation org.opencontainers.image.version=1.0',
  })
}
