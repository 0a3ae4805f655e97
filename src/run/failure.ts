import { ArchimageError, isArchimageError, type Place, systemError } from '../errors/error.ts'
import type { Op } from '../plan/lowered.ts'
import type { Failure } from './events.ts'

/** An error as reports show it. What is no error of ours is a bug and is thrown on. */
export function toFailure(error: unknown, lines?: readonly string[]): Failure {
  const known = isArchimageError(error) ? error : systemError(error, 'building')
  const { place } = known
  const excerpt = place?.excerpt
    ? { excerpt: place.excerpt, excerptLine: place.excerptLine ?? 1 }
    : excerptOf(place?.line, lines)
  return {
    code: known.code,
    message: messageOf(known),
    ...(known.hint ? { hint: known.hint } : {}),
    ...(place ? { file: place.file } : {}),
    ...(place?.line === undefined ? {} : { line: place.line }),
    ...(place?.column === undefined ? {} : { column: place.column }),
    ...(place?.endLine === undefined ? {} : { endLine: place.endLine }),
    ...excerpt,
  }
}

/** The error with the instruction as its place, when it has none of its own. */
export function placedAt(error: unknown, file: string, op: Pick<Op, 'line' | 'range'>): unknown {
  if (!isArchimageError(error) || error.place || error.code === 'CANCELLED') return error
  return relocated(error, { file, line: op.line, column: op.range.start.column, endLine: op.range.end.line })
}

/** The same error at another place. */
export function relocated(error: ArchimageError, place: Place): ArchimageError {
  return new ArchimageError(error.code, error.message, {
    ...(error.hint ? { hint: error.hint } : {}),
    place,
    details: error.details,
    cause: error.cause,
    parts: error.parts,
  })
}

function messageOf(error: ArchimageError): string {
  if (error.parts.length === 0) return error.message
  return [error.message, ...error.parts.map(part => `- ${part.message}`)].join('\n')
}

function excerptOf(
  line: number | undefined,
  lines: readonly string[] | undefined,
): Pick<Failure, 'excerpt' | 'excerptLine'> {
  if (line === undefined || !lines) return {}
  const first = Math.max(1, line - 2)
  return { excerpt: lines.slice(first - 1, line + 2), excerptLine: first }
}
