import { ArchimageError, isArchimageError } from '../errors/error.ts'
import type { Dockerfile } from './ast.ts'
import { foreignSyntax, syntaxDirective } from './directives.ts'
import { invalid, placeOf, quoted, type Source } from './fault.ts'

/** The version of docker/dockerfile that this language equals: that of BuildKit 0.33. */
export const LANGUAGE = '1.27'

/**
 * What a `# syntax=` reference asks for: the language that is built in, a newer one, or another frontend. A copy of the image
 * docker/dockerfile in another registry counts as it.
 */
export function judgeSyntax(reference: string): 'built-in' | 'newer' | 'other' {
  const image = reference.slice(reference.lastIndexOf('/') + 1).replace(/[ @].*$/s, '')
  const colon = image.indexOf(':')
  const [name, tag] = colon < 0 ? [image, ''] : [image.slice(0, colon), image.slice(colon + 1)]
  if (name !== 'dockerfile' && name !== 'dockerfile-upstream') return 'other'
  if (name === 'dockerfile-upstream' || /^(?:master|edge|nightly)\b/.test(tag)) return 'newer'
  const [, major, minor = '0'] = /^v?(\d+)(?:\.(\d+))?(?:[.-].*)?$/.exec(tag) ?? []
  const [ownMajor, ownMinor] = LANGUAGE.split('.').map(Number) as [number, number]
  const ahead = Number(major ?? 0) - ownMajor || Number(minor) - ownMinor
  return ahead > 0 ? 'newer' : 'built-in'
}

/**
 * A warning when the Dockerfile asks for a newer language than this one; `given` (the build argument BUILDKIT_SYNTAX) stands in
 * for its `# syntax=` line. Throws UNSUPPORTED for a frontend that is not docker/dockerfile.
 */
export function checkSyntax(dockerfile: Dockerfile, given?: string): string | undefined {
  const directive = dockerfile.directives['syntax']
  const reference = given ?? directive?.value
  if (reference === undefined) return undefined
  const what = given === undefined ? `# syntax=${reference}` : `BUILDKIT_SYNTAX=${reference}`
  const verdict = judgeSyntax(reference)
  const line = directive?.line ?? 1
  if (verdict === 'other') {
    const start = { line, column: 1 }
    throw new ArchimageError('UNSUPPORTED', other(what), {
      hint: 'if that frontend reads plain Dockerfiles: --build-arg BUILDKIT_SYNTAX=docker/dockerfile:1 says so',
      ...(given === undefined ? { place: placeOf(dockerfile, { start, end: start }) } : {}),
    })
  }
  return verdict === 'built-in' ? undefined : `${dockerfile.file}:${line}: ${newer(what)}`
}

/** An error of reading a file, with what its syntax line explains of it. */
export function explainBySyntax(error: unknown, source: Source): unknown {
  if (!isArchimageError(error)) return error
  const foreign = foreignSyntax(source)
  if (foreign !== undefined) {
    const start = { line: foreign.line, column: 1 }
    return invalid(source, { start, end: start }, other(foreign.value))
  }
  const { syntax } = syntaxDirective(source)
  if (syntax === undefined || judgeSyntax(syntax.value) !== 'newer') return error
  const why = newer(`# syntax=${syntax.value}`)
  return new ArchimageError(error.code, error.message, {
    hint: error.hint === undefined ? why : `${error.hint}\n${why}`,
    ...(error.place === undefined ? {} : { place: error.place }),
  })
}

function newer(what: string): string {
  return `${quoted(what)} asks for a newer language than docker/dockerfile ${LANGUAGE}, which is built in: what came after it is not understood`
}

function other(what: string): string {
  return `${quoted(what)} asks for another frontend; archimage has docker/dockerfile ${LANGUAGE} built in and runs no other`
}
