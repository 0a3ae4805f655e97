import { ArchimageError, isArchimageError, type Place } from '../errors/error.ts'
import type { Op } from './lowered.ts'

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
