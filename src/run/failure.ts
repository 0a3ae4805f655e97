import { type ArchimageError, isArchimageError, systemError } from '../errors/error.ts'
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
    ...logOf(known),
  }
}

/** The last lines of the step that failed, where its engine knows them better than the cell's log does. */
function logOf({ details }: ArchimageError): Pick<Failure, 'log'> {
  const log = details['log']
  return Array.isArray(log) && log.length > 0 ? { log: log.map(String) } : {}
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
