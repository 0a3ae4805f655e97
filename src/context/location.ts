import { isAbsolute, resolve } from 'node:path'
import { ArchimageError } from '../errors/error.ts'
import { type Digest, isDigest } from '../oci/digest.ts'
import { type GitSource, parseGitSource } from './git-source.ts'

/** Where a context is. Paths are absolute. */
export type Location =
  /** A folder; as the context of a build also a file that is an archive. */
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 'stdin' }
  | { readonly kind: 'git'; readonly git: GitSource }
  | { readonly kind: 'http'; readonly url: string }
  | { readonly kind: 'image'; readonly reference: string }
  | { readonly kind: 'layout'; readonly path: string; readonly tag?: string; readonly digest?: Digest }
  | { readonly kind: 'service'; readonly name: string }

const SCHEME = /^[a-z][a-z0-9+.-]*:/i
const DRIVE = /^[a-z]:[\\/]/i
const LAYOUT = 'oci-layout://'

/**
 * Reads the value of a named context (`--build-context`, build-contexts): a folder, `docker-image://REFERENCE`,
 * `oci-layout://FOLDER[:TAG][@DIGEST]`, a git reference, a URL, `service:NAME` (or bake's `target:NAME`). Relative paths begin at
 * `folder`. Throws UNSUPPORTED for another scheme.
 */
export function parseLocation(text: string, folder: string): Location {
  const git = parseGitSource(text, { legacy: true })
  if (git !== undefined) return { kind: 'git', git }
  if (/^https?:\/\//.test(text)) return { kind: 'http', url: text }
  if (text.startsWith('docker-image://')) return { kind: 'image', reference: text.slice('docker-image://'.length) }
  if (text.startsWith(LAYOUT)) return layoutOf(text.slice(LAYOUT.length), folder)
  const service = /^(?:service|target):(.+)$/s.exec(text)?.[1]
  if (service !== undefined) return { kind: 'service', name: service }
  if (SCHEME.test(text) && !DRIVE.test(text))
    throw new ArchimageError('UNSUPPORTED', `"${text}" is no context that archimage can read`, {
      hint: 'a folder, a git repository, a URL, docker-image://REFERENCE, oci-layout://FOLDER and service:NAME are',
    })
  return { kind: 'path', path: resolve(folder, text) }
}

/** The same location as text that means the same from every folder. */
export function formatLocation(text: string, folder: string): string {
  const location = parseLocation(text, folder)
  if (location.kind === 'path') return location.path
  if (location.kind !== 'layout') return text
  const { path, tag, digest } = location
  return `${LAYOUT}${path}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`
}

function layoutOf(text: string, folder: string): Location {
  const at = text.lastIndexOf('@')
  const after = text.slice(at + 1)
  const digest = at >= 0 && isDigest(after) ? after : undefined
  const rest = digest === undefined ? text : text.slice(0, at)
  // The colon of a drive (C:\images) is none of a tag.
  const [, path = rest, tag] = /^(.*):([\w][\w.-]{0,127})$/s.exec(rest) ?? []
  if (path === '') throw new ArchimageError('USAGE', `${LAYOUT}${text} names no folder`)
  return {
    kind: 'layout',
    path: isAbsolute(path) ? path : resolve(folder, path),
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  }
}
