import { isArchimageError } from '../errors/error.ts'
import { formatPlatform, normalizePlatform, type Platform } from '../oci/platform.ts'
import { familiarReference, parseReference } from '../oci/reference.ts'

/**
 * The names under which a named context (`--build-context`) stands for a stage or an image: as it is written, and in the
 * short form that buildx makes of names (`docker.io/library/alpine:latest` is `alpine`). Nothing stands for `scratch` and
 * `context`.
 */
export function contextNames(name: string): readonly string[] {
  if (/^(?:scratch|context)$/i.test(name)) return []
  try {
    const short = familiarReference(parseReference(name)).replace(/:latest$/, '')
    return short === name ? [name] : [name, short]
  } catch (error) {
    if (isArchimageError(error)) return [name]
    throw error
  }
}

/** The value of a named context: `name::linux/arm64` is for one platform and wins over `name`. */
export function namedContext(
  contexts: Readonly<Record<string, string>>,
  name: string,
  platform: Platform,
): string | undefined {
  for (const key of [`${name}::${formatPlatform(normalizePlatform(platform))}`, name])
    if (Object.hasOwn(contexts, key)) return contexts[key]
  return undefined
}
