import { isArchimageError } from '../errors/error.ts'
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
