import { ArchimageError } from '../errors/error.ts'
import { didYouMean, distance } from '../errors/suggest.ts'
import { type Digest, isDigest } from '../oci/digest.ts'
import { familiarReference, formatReference, parseReference, type Reference } from '../oci/reference.ts'

/** Places that name images by references. */
export const NAMED = ['registry', 'store', 'docker', 'podman'] as const
/** Places that are a file or folder, with images in it. */
export const FILED = ['oci', 'oci-archive', 'docker-archive'] as const

/**
 * Where an image is, or will be. In a file or folder `name` is the image's name there (whole, or its tag) and `digest` the
 * manifest that is meant; without both the only image is.
 */
export type Location =
  | { readonly kind: (typeof NAMED)[number]; readonly reference: Reference }
  | {
      readonly kind: (typeof FILED)[number]
      readonly path: string
      readonly name?: string
      readonly digest?: Digest
    }

type Kind = Location['kind']

/** As skopeo, podman, regctl and oras write them. */
const PREFIXES: Readonly<Record<string, Kind>> = {
  docker: 'registry',
  registry: 'registry',
  store: 'store',
  oci: 'oci',
  ocidir: 'oci',
  'oci-archive': 'oci-archive',
  'docker-archive': 'docker-archive',
  'docker-daemon': 'docker',
  podman: 'podman',
  'containers-storage': 'podman',
}
/** Prefixes of others that have no counterpart here. */
const STRANGE = ['dir', 'sif', 'tarball', 'ostree', 'atomic', 'docker-reference']

const ARCHIVE = /\.(?:tar(?:\.(?:gz|zst|bz2|xz))?|tgz)$/i

/** What is at a path now, for words without a prefix; `undefined` where nothing is. */
export type Look = (path: string) => 'folder' | 'file' | undefined

/**
 * Reads a place of an image: `REFERENCE` or `docker://REFERENCE` (a registry), `store:REFERENCE`, `oci:FOLDER[:NAME|@DIGEST]`,
 * `oci-archive:FILE[:NAME]`, `docker-archive:FILE[:NAME]`, `docker-daemon:REFERENCE`, `podman:REFERENCE` and the other words of
 * skopeo and regctl for these. A word that begins with `.` or `/`, or ends in `.tar` (or `.tar.gz`, `.tgz` …), is a path: a folder or what will be one is
 * an OCI layout, a file an OCI archive (readers tell docker's archives by what is in them). Throws USAGE, REFERENCE_INVALID.
 */
export function parseLocation(text: string, look: Look): Location {
  const [, word, rest] = /^([a-z][a-z-]*):(.*)$/s.exec(text) ?? []
  // `registry:5000/app` and `app:1.0` look alike; a reference whose repository is one of our words needs docker://
  const kind = word !== undefined && Object.hasOwn(PREFIXES, word) ? PREFIXES[word]! : undefined
  if (kind !== undefined && !looksLikeReference(word!, rest!)) return withKind(kind, text, rest!, look)
  if (word !== undefined && STRANGE.includes(word) && /^[./]/.test(rest!))
    throw usage(`"${text}": ${word}: is not a kind of place here`, `these are: ${Object.keys(PREFIXES).join(', ')}`)
  if (word !== undefined && /^[./]/.test(rest!))
    throw usage(
      `"${text}": ${word}: is not a kind of place`,
      didYouMean(word, Object.keys(PREFIXES)) ?? `these are: ${Object.keys(PREFIXES).join(', ')}`,
    )
  if (text === '-')
    throw usage('"-" is no place', 'an archive by standard input or output is oci-archive:- or docker-archive:-')
  const meant = word === undefined || rest!.startsWith('//') ? undefined : misspelt(word)
  if (meant !== undefined)
    throw usage(
      `"${text}": ${word}: is not a kind of place`,
      `did you mean "${meant}:"? An image of that name is docker://${text}`,
    )
  if (isPath(text)) {
    const { path, ...rest } = splitPath(text, look)
    return { kind: look(path) === 'file' || ARCHIVE.test(path) ? 'oci-archive' : 'oci', path, ...rest }
  }
  return { kind: 'registry', reference: parseReference(text) }
}

/** `docker-demon:app` would be an image of Docker Hub, and what was meant for this machine go there. */
function misspelt(word: string): string | undefined {
  if (!word.includes('-') || Object.hasOwn(PREFIXES, word) || STRANGE.includes(word)) return undefined
  return Object.keys(PREFIXES).find(prefix => prefix.includes('-') && distance(word, prefix, 2) <= 2)
}

/** `registry:2` and `store:1.0/x`-like words: a word of ours without a slash behind it and with a plain tag is an image. */
function looksLikeReference(word: string, rest: string): boolean {
  if (word === 'store' || word === 'podman' || word.includes('-') || word === 'ocidir' || word === 'oci') return false
  return !rest.startsWith('//')
}

function withKind(kind: Kind, text: string, rest: string, look: Look): Location {
  const bare = rest.startsWith('//') && kind !== 'oci-archive' && kind !== 'docker-archive' ? rest.slice(2) : rest
  if (bare === '') throw usage(`"${text}" names no place`, 'oci:FOLDER:NAME, docker://REFERENCE, store:REFERENCE')
  if (kind === 'registry' || kind === 'store' || kind === 'docker' || kind === 'podman')
    return { kind, reference: parseReference(bare) }
  return { kind, ...splitPath(bare, look) }
}

function isPath(text: string): boolean {
  return /^\.{0,2}\//.test(text) || text === '.' || text === '..' || ARCHIVE.test(text.replace(/[:@].*$/s, ''))
}

/**
 * PATH, PATH:NAME, PATH@DIGEST or PATH:NAME@DIGEST. A name may hold colons itself (docker-archive:image.tar:app:1.0): the path
 * ends at the first colon that leads to something that is there, else at the first one behind the last folder.
 */
function splitPath(
  text: string,
  look: Look,
): { readonly path: string; readonly name?: string; readonly digest?: Digest } {
  if (look(text) !== undefined) return { path: text }
  const at = text.lastIndexOf('@')
  const after = at < 0 ? undefined : text.slice(at + 1)
  const digest = isDigest(after) ? after : undefined
  const body = digest === undefined ? text : text.slice(0, at)
  const ends = [...body.matchAll(/:/g)].map(match => match.index)
  // C:\images is a path of Windows
  const colons = ends.filter(end => !(end === 1 && /^[a-z]:[\\/]/i.test(body)))
  const end =
    look(body) === undefined ? (colons.find(one => look(body.slice(0, one)) !== undefined) ?? colons[0]) : undefined
  const path = end === undefined ? body : body.slice(0, end)
  const name = end === undefined ? undefined : body.slice(end + 1)
  if (path === '') throw usage(`"${text}" has no path`)
  if (name === '') throw usage(`"${text}" has nothing behind its last colon`, 'PATH:NAME, or the path alone')
  return { path, ...(name === undefined ? {} : { name }), ...(digest === undefined ? {} : { digest }) }
}

/** As people write it, for messages and plans: `store:app:1.0`, `oci:out:1.0`, `registry.example.com/app:1.0`. */
export function formatLocation(location: Location): string {
  if ('reference' in location) {
    const { kind, reference } = location
    if (kind === 'registry') return formatReference(reference)
    return `${kind === 'docker' ? 'docker-daemon' : kind}:${familiarReference(reference)}`
  }
  const { kind, path, name, digest } = location
  return `${kind}:${path}${name === undefined ? '' : `:${name}`}${digest === undefined ? '' : `@${digest}`}`
}

function usage(message: string, hint?: string): ArchimageError {
  return new ArchimageError('USAGE', message, hint === undefined ? {} : { hint })
}
