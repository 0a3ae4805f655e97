import { CODES, type ErrorCode } from './codes.ts'
import { redactProse } from './redact.ts'

/** A place in a file that an error or a finding speaks of; lines and columns start at 1. */
export interface Place {
  readonly file: string
  readonly line?: number
  readonly column?: number
  readonly endLine?: number
  /** The lines of the file around the place, when the reader has them at hand. */
  readonly excerpt?: readonly string[]
  /** Number of the first line of `excerpt`. */
  readonly excerptLine?: number
}

export interface ErrorOptions {
  /** What to do about it, one sentence or several lines. */
  readonly hint?: string
  readonly place?: Place
  readonly details?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
  /** The failures that this one stands for. */
  readonly parts?: readonly ArchimageError[]
}

const BRAND = Symbol.for('archimage.error')

/**
 * The one error class: for users' and environment's mistakes, and for cancelling. Anything else thrown is a bug and is
 * shown with its stack. Message and hint are redacted here, where the error is made; what somebody else said (a registry, a
 * program) goes through `redact` before it becomes part of them.
 */
export class ArchimageError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly place: Place | undefined
  readonly details: Readonly<Record<string, unknown>>
  readonly parts: readonly ArchimageError[]
  readonly [BRAND] = true

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(redactProse(message), options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'ArchimageError'
    this.code = code
    this.hint = options.hint === undefined ? undefined : redactProse(options.hint)
    this.place = options.place
    this.details = options.details ?? {}
    this.parts = options.parts ?? []
  }

  /** The process exit code that this error asks for (DESIGN: exit codes). */
  get exit(): number {
    return CODES[this.code].exit
  }
}

export function isArchimageError(value: unknown): value is ArchimageError {
  return typeof value === 'object' && value !== null && BRAND in value
}

/** The gravest of several exit codes: 130, then 2, 3, 1, 0. */
export function gravest(exits: Iterable<number>): number {
  const order = [0, 1, 3, 2, 130]
  let worst = 0
  for (const exit of exits) if (order.indexOf(exit) > order.indexOf(worst)) worst = exit
  return worst
}

export function cancelled(reason?: unknown): ArchimageError {
  return isArchimageError(reason) && reason.code === 'CANCELLED'
    ? reason
    : new ArchimageError('CANCELLED', 'interrupted')
}

/** Says an operating system's error in our terms: what was being done, with what, and the remedy where there is one. */
export function systemError(error: unknown, doing: string): ArchimageError {
  if (isArchimageError(error)) return error
  const { code, message } = error as { code?: string; message?: string }
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new ArchimageError('NO_SPACE', `${doing}: no space left on the disk`, {
      hint: 'free some space, for instance with: archimage cache prune',
      cause: error,
    })
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return new ArchimageError('PERMISSION', `${doing}: ${message ?? code}`, {
      hint: 'check the owner and the mode of the file and of the folders above it',
      cause: error,
    })
  throw error
}
