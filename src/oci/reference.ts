import { ArchimageError } from '../errors/error.ts'
import { type Digest, isDigest } from './digest.ts'

/** A reference to an image in a registry, with defaults filled in: `nginx` is docker.io / library/nginx. */
export interface Reference {
  readonly registry: string
  readonly repository: string
  readonly tag?: string
  readonly digest?: Digest
}

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*'
const REPOSITORY = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`)
const REGISTRY =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/

export function isTag(text: string): boolean {
  return TAG.test(text)
}

/**
 * Reads `[registry/]repository[:tag][@digest]` as docker does (distribution/reference): the first part is a registry when
 * it holds a dot or a colon, is `localhost`, or has upper case. No tag is filled in. Throws REFERENCE_INVALID.
 */
export function parseReference(text: string): Reference {
  const fail = (why: string, hint = 'a reference looks like registry.example.com/team/app:1.0'): never => {
    throw new ArchimageError('REFERENCE_INVALID', `"${text}" is not an image reference: ${why}`, { hint })
  }
  let rest = text.startsWith('docker://') ? text.slice(9) : text
  let digest: Digest | undefined
  const at = rest.indexOf('@')
  if (at >= 0) {
    const after = rest.slice(at + 1)
    if (!isDigest(after)) return fail(`"${after}" is not a digest`, 'a digest is "sha256:" and 64 hexadecimal digits')
    digest = after
    rest = rest.slice(0, at)
  }
  let tag: string | undefined
  const colon = rest.lastIndexOf(':')
  if (colon > rest.lastIndexOf('/') && colon >= 0) {
    tag = rest.slice(colon + 1)
    rest = rest.slice(0, colon)
    if (!TAG.test(tag))
      return fail(
        `"${tag}" is not a tag`,
        'a tag has letters, digits, "_", "." and "-", at most 128, and begins with a letter, digit or "_"',
      )
  }
  if (rest === '') return fail('the name is missing')
  const slash = rest.indexOf('/')
  const first = slash < 0 ? '' : rest.slice(0, slash)
  const isRegistry = first !== '' && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase())
  let registry = isRegistry ? first : 'docker.io'
  let repository = isRegistry ? rest.slice(slash + 1) : rest
  if (!REGISTRY.test(registry)) return fail(`"${registry}" is not a registry`)
  if (registry === 'index.docker.io' || registry === 'registry-1.docker.io') registry = 'docker.io'
  if (registry === 'docker.io' && !repository.includes('/')) repository = `library/${repository}`
  if (!REPOSITORY.test(repository))
    return fail(
      `"${repository}" is not a repository name`,
      repository !== repository.toLowerCase()
        ? `names are lower case: did you mean "${rest.toLowerCase()}"?`
        : undefined,
    )
  if (repository.length > 255) return fail('the repository name is longer than 255 characters')
  return { registry, repository, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) }
}

/**
 * What stands before image names: `registry.example.com/team`, without a slash at its end. The first part has to be a
 * registry. Throws REFERENCE_INVALID in terms of what was written.
 */
export function parseRegistryPrefix(text: string): string {
  const fail = (why: string, hint = 'it looks like registry.example.com/team'): never => {
    throw new ArchimageError('REFERENCE_INVALID', `"${text}" ${why}`, { hint })
  }
  const prefix = text.replace(/\/+$/, '')
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(prefix)?.[0]
  if (scheme !== undefined)
    return fail(
      'is a URL, not a registry',
      `remove "${scheme}": ${prefix.slice(scheme.length) || 'registry.example.com'}`,
    )
  const [first = '', ...path] = prefix.split('/')
  if (first === '') return fail('does not begin with a registry')
  if (!/[.:]/.test(first) && first !== 'localhost')
    return fail('does not begin with a registry', `for Docker Hub: docker.io/${prefix.toLowerCase()}`)
  if (!REGISTRY.test(first)) return fail(`does not begin with a registry: "${first}" is no host name`)
  for (const part of path) {
    if (new RegExp(`^${COMPONENT}$`).test(part)) continue
    if (new RegExp(`^${COMPONENT}$`, 'i').test(part))
      return fail(
        `is not a registry with a path: "${part}" is not in lower case`,
        `did you mean "${[first, ...path.map(one => one.toLowerCase())].join('/')}"?`,
      )
    return fail(
      `is not a registry with a path: "${part}" cannot be a part of an image's name`,
      /^[^:@]+[:@]/.test(part) ? 'the tag is given on its own' : undefined,
    )
  }
  return prefix
}

/** The whole name: `docker.io/library/nginx:1.27@sha256:…`. */
export function formatReference(reference: Reference): string {
  const { registry, repository, tag, digest } = reference
  return `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`
}

/** As people write it: docker.io and library/ are left out. */
export function familiarReference(reference: Reference): string {
  const full = formatReference(reference)
  if (reference.registry !== 'docker.io') return full
  const short = full.slice('docker.io/'.length)
  return short.startsWith('library/') ? short.slice('library/'.length) : short
}

/** The same with `latest` where neither tag nor digest is given. */
export function withDefaultTag(reference: Reference): Reference {
  return reference.tag === undefined && reference.digest === undefined ? { ...reference, tag: 'latest' } : reference
}
