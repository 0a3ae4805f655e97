import { sha256 } from '../oci/digest.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import { formatReference, type Reference } from '../oci/reference.ts'
import type { CachePlace } from './cache-options.ts'

/** The cache of one service and platform, in one place. */
export type CacheName =
  | { readonly kind: 'registry'; readonly reference: Reference & { readonly tag: string }; readonly text: string }
  | { readonly kind: 'local'; readonly folder: string; readonly name: string; readonly text: string }

const MOST = 128

/**
 * `api-linux-arm64`, behind the tag of the place if it has one; without the service where one image is built, whose name would be
 * that of a folder.
 */
export function cacheName(place: CachePlace, service: string | undefined, platform: Platform): CacheName {
  const parts = [service, formatPlatform(platform).replaceAll('/', '-')]
  if (place.kind === 'local') {
    const name = tagOf(parts)
    return { kind: 'local', folder: place.folder, name, text: `${place.folder} (${name})` }
  }
  const reference = { ...place.reference, tag: tagOf([place.reference.tag, ...parts]) }
  return { kind: 'registry', reference, text: formatReference(reference) }
}

/** What no tag can be has a digest in its place, so that two never share one. */
function tagOf(parts: readonly (string | undefined)[]): string {
  const whole = parts.filter(part => part !== undefined).join('-')
  const tag = whole.replace(/[^\w.-]+/g, '-').replace(/^[.-]/, '_')
  if (tag === whole && tag.length <= MOST) return tag
  return `${tag.slice(0, MOST - 17)}-${sha256(whole).slice(7, 23)}`
}
