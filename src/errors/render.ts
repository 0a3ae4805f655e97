import { type ArchimageError, isArchimageError } from './error.ts'
import { redact } from './redact.ts'
import { renderExcerpt } from './render-excerpt.ts'
import { PLAIN_STYLE, paint, type Style, sign } from './render-style.ts'
import { sanitize, sanitizeText, wrap } from './render-text.ts'

export interface RenderErrorOptions extends Partial<Style> {
  /** Version of archimage, for the report of a bug. */
  readonly version?: string
}

const DEEPEST_CAUSE = 5
const MOST_PARTS = 20

/**
 * What a person reads when something thrown reaches the top: an ArchimageError with its place, causes and remedy and
 * without a stack; anything else as a bug, with the stack and how to report it. Several lines, no final line break.
 */
export function renderError(error: unknown, options: RenderErrorOptions = {}): string {
  const style = { ...PLAIN_STYLE, ...options }
  return (isArchimageError(error) ? expected(error, style) : bug(error, style, options.version)).join('\n')
}

/** The place as `file:line:column`. */
export function formatPlace(place: { file: string; line?: number | undefined; column?: number | undefined }): string {
  return [place.file, place.line, place.line === undefined ? undefined : place.column]
    .filter(part => part !== undefined)
    .map(part => sanitize(String(part)))
    .join(':')
}

/** The remedy, after an arrow, wrapped. */
export function renderHint(hint: string, style: Style): string[] {
  return wrap(sanitizeText(hint), style.columns - 4).map(
    (line, index) => `  ${index === 0 ? paint(style, 'cyan', sign(style, 'arrow')) : ' '} ${line}`,
  )
}

function expected(error: ArchimageError, style: Style): string[] {
  if (error.code === 'CANCELLED' && error.parts.length === 0) return [paint(style, 'yellow', sanitize(error.message))]
  const [head = '', ...more] = wrap(sanitizeText(`error: ${error.message}`), style.columns)
  return [
    paint(style, 'red', 'error:') + paint(style, 'bold', head.slice('error:'.length)),
    ...more.map(line => `  ${line}`),
    ...place(error, style),
    ...causes(error, style),
    ...(error.hint === undefined ? [] : renderHint(error.hint, style)),
    ...parts(error, style),
  ]
}

function place(error: ArchimageError, style: Style): string[] {
  const at = error.place
  if (at === undefined) return []
  const excerpt =
    at.line === undefined || at.excerpt === undefined
      ? []
      : renderExcerpt({ ...at, lines: at.excerpt, first: at.excerptLine ?? at.line, line: at.line }, style)
  return [`  ${paint(style, 'cyan', formatPlace(at))}`, ...excerpt]
}

/** Causes whose message the errors above them do not already hold. */
function causes(error: ArchimageError, style: Style): string[] {
  const lines: string[] = []
  let said = error.message
  let cause = error.cause
  for (let depth = 0; cause instanceof Error && depth < DEEPEST_CAUSE; depth++) {
    const message = redact(cause.message)
    if (message !== '' && !said.includes(message)) {
      lines.push(...wrap(`because: ${sanitizeText(message)}`, style.columns - 2).map(line => `  ${line}`))
      said += message
    }
    cause = cause.cause
  }
  return lines
}

function parts(error: ArchimageError, style: Style): string[] {
  const shown = error.parts
    .slice(0, MOST_PARTS)
    .flatMap(part => ['', ...expected(part, style).map(line => `  ${line}`)])
  const left = error.parts.length - MOST_PARTS
  return left > 0 ? [...shown, '', `  and ${left} more`] : shown
}

function bug(error: unknown, style: Style, version: string | undefined): string[] {
  const stack = error instanceof Error ? (error.stack ?? `${error.name}: ${error.message}`) : `thrown: ${String(error)}`
  const runtime = `bun ${process.versions['bun'] ?? '?'}, ${process.platform} ${process.arch}`
  return [
    paint(style, 'red', 'this is a bug in archimage, not a mistake of yours:'),
    '',
    ...sanitizeText(redact(stack))
      .split('\n')
      .map(line => `  ${line}`),
    '',
    ...renderHint(
      `please report it: the lines above, the command that you ran, and this: archimage ${version ?? '?'}, ${runtime}`,
      style,
    ),
  ]
}
