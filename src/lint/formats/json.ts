import type { Range } from '../../dockerfile/ast.ts'
import type { CheckedFile } from '../checked.ts'
import { ruleNamed } from '../rules.ts'

interface Location {
  readonly sourceIndex?: number
  readonly ranges?: readonly { readonly start: { readonly line: number }; readonly end: { readonly line: number } }[]
}

/**
 * What BuildKit's `frontend.lint` gives, as docker buildx build --call=check,format=json prints it, with more in it: `level`
 * and `platforms` of each warning, `buildErrors` for all errors of all files (`buildError` is the first of them).
 */
export function lintJson(files: readonly CheckedFile[]): string {
  const warnings = files.flatMap((file, index) =>
    file.findings.map(({ rule, level, message, range, platforms }) => ({
      ruleName: rule,
      description: ruleNamed(rule)?.description,
      url: ruleNamed(rule)?.url,
      detail: message,
      location: location(index, range.start.line, range.end.line),
      level,
      platforms,
    })),
  )
  const errors = files.flatMap((file, index) =>
    file.errors.map(({ error, platforms }) => ({
      message: error.message,
      location: location(index, error.place?.line, error.place?.endLine),
      code: error.code,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      platforms,
    })),
  )
  const sources = files.map(({ file, bytes }) => ({
    filename: file,
    data: Buffer.from(bytes).toString('base64'),
    language: 'Dockerfile',
  }))
  const failed = errors.length === 0 ? {} : { buildError: errors[0], buildErrors: errors }
  return `${JSON.stringify({ warnings, sources, ...failed }, null, 2)}\n`
}

/** A range for each line, as BuildKit has it; index 0 is left out, as it writes it. */
export function location(index: number, first: number | undefined, last: number | undefined): Location {
  const source = index === 0 ? {} : { sourceIndex: index }
  if (first === undefined) return source
  const count = Math.max(1, (last ?? first) - first + 1)
  const ranges = Array.from({ length: count }, (_, i) => ({ start: { line: first + i }, end: { line: first + i } }))
  return { ...source, ranges }
}

/** The same for a node of a Dockerfile that stands alone. */
export function locationOf({ start, end }: Range): Location {
  return location(0, start.line, end.line)
}
