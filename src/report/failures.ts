import { formatPlace, renderHint } from '../errors/render.ts'
import { renderExcerpt } from '../errors/render-excerpt.ts'
import { PLAIN_STYLE, paint, type Style, sign } from '../errors/render-style.ts'
import { sanitize, sanitizeText, truncate, wrap } from '../errors/render-text.ts'
import type { CellResult, Failure, RunResult, ServiceResult } from '../run/events.ts'
import { count, formatSeconds, groupBy } from './format.ts'

/** As many lines of a log as a block shows; the whole of it is in the file that the block names. */
const LOG_LINES = 20

/**
 * What went wrong, for the very end of a run: one block per failed cell (platforms of a service that failed alike share
 * one), what did not hold when it was read back, and the cells that never ran with what held them up. Empty when all
 * is right.
 */
export function renderFailures(result: RunResult, options: Partial<Style> = {}): string[] {
  const style = { ...PLAIN_STYLE, ...options }
  const failed = groupBy(
    result.cells.filter(cell => cell.state === 'failed'),
    cell => JSON.stringify([cell.service, alike(cell)]),
  )
  const blocks = [
    ...[...failed.values()].map(cells => renderBlock(cells, style)),
    ...unpublished(result, style),
    ...result.services.flatMap(({ service, verified }) =>
      verified.filter(one => !one.ok).map(one => renderUnverified(service, one.where, one.problems, style)),
    ),
    renderHeldUp(result, style),
  ]
  return blocks.filter(block => block.length > 0).flatMap((block, index) => (index === 0 ? block : ['', ...block]))
}

/**
 * Services whose cells are right and which are not where they should be. Those of one cause share a block, also when the
 * cause names what is each service's own (its repository, a digest); that is shown as `*` then.
 */
function unpublished(result: RunResult, style: Style): string[][] {
  const failed = result.services.filter(service => service.failure !== undefined)
  return [...groupBy(failed, service => JSON.stringify(commonFailure(service))).values()].map(services => {
    const failure = services.length === 1 ? services[0]!.failure! : sharedFailure(services)
    const names = paint(style, 'bold', sanitize(services.map(({ service }) => service).join(', ')))
    return [
      `${paint(style, 'red', sign(style, 'failed'))} ${names} ${paint(style, 'red', 'not published')} ${paint(style, 'dim', `[${failure.code}]`)}`,
      ...wrap(sanitizeText(failure.message), style.columns - 2).map(line => `  ${line}`),
      ...(failure.hint === undefined ? [] : renderHint(failure.hint, style)),
    ]
  })
}

function commonFailure({ image, failure }: ServiceResult): Failure {
  const { code, message, hint } = failure!
  const common = (text: string): string => withoutImage(text, image).replaceAll(DIGEST, '$1*')
  return { code, message: common(message), ...(hint === undefined ? {} : { hint: common(hint) }) }
}

function sharedFailure(services: readonly ServiceResult[]): Failure {
  const { code, message, hint } = services[0]!.failure!
  const same = services.every(({ failure }) => failure!.message === message && failure!.hint === hint)
  return same ? { code, message, ...(hint === undefined ? {} : { hint }) } : commonFailure(services[0]!)
}

const DIGEST = /\b(sha\d+:)[0-9a-f]{12,128}\b/g

/** `localhost:5000/team/api:v1` → `localhost:5000/team/*:v1`: the name as a whole only, wherever its path ends in it. */
function withoutImage(text: string, image: string): string {
  return image === '' ? text : text.replaceAll(new RegExp(`(?<![\\w.-])${RegExp.escape(image)}(?![\\w-])`, 'g'), '*')
}

/** What failures must have in common to share a block: everything but their logs. */
function alike(cell: CellResult): unknown {
  const { log: _, logFile: __, ...same } = cell.failure ?? { message: cell.reason }
  return same
}

function renderBlock(cells: readonly CellResult[], style: Style): string[] {
  const first = cells[0]!
  const failure: Failure = first.failure ?? { code: 'CELL_FAILED', message: first.reason }
  const platforms = cells.map(cell => cell.platform).join(', ')
  const title = paint(style, 'bold', sanitize(`${first.service} ${platforms}`))
  const seconds = formatSeconds(Math.max(...cells.map(cell => cell.seconds)))
  return [
    `${paint(style, 'red', `${sign(style, 'failed')}`)} ${title} ${paint(style, 'red', 'failed')} after ${seconds} ${paint(style, 'dim', `[${failure.code}]`)}`,
    ...place(failure, style),
    ...wrap(sanitizeText(failure.message), style.columns - 2).map(line => `  ${line}`),
    ...logLines(cells, style),
    ...(failure.hint === undefined ? [] : renderHint(failure.hint, style)),
  ]
}

function place(failure: Failure, style: Style): string[] {
  const { file, line, column, endLine, excerpt, excerptLine, message } = failure
  if (file === undefined || (excerpt === undefined && message.startsWith(formatPlace({ file, line, column }))))
    return []
  const lines =
    line === undefined || excerpt === undefined
      ? []
      : renderExcerpt({ lines: excerpt, first: excerptLine ?? line, line, column, endLine }, style)
  return [`  ${paint(style, 'cyan', formatPlace({ file, line, column }))}`, ...lines, ...(lines.length > 0 ? [''] : [])]
}

function logLines(cells: readonly CellResult[], style: Style): string[] {
  const shown = cells.find(cell => cell.failure?.log?.length)
  const log = shown?.failure?.log ?? []
  const files = cells.flatMap(cell => cell.failure?.logFile ?? []).map(sanitize)
  const whose = cells.length > 1 && shown !== undefined ? ` of ${sanitize(shown.platform)}` : ''
  const bar = paint(style, 'dim', sign(style, 'bar'))
  return [
    ...(log.length === 0 ? [] : ['', `  ${paint(style, 'dim', `last lines of the log${whose}`)}`]),
    ...log.slice(-LOG_LINES).map(line => `  ${bar} ${truncate(sanitize(line), style.columns - 5)}`.trimEnd()),
    ...files.map((file, index) => `  ${index === 0 ? 'whole log: ' : '           '}${file}`),
    ...(log.length === 0 && files.length === 0 ? [] : ['']),
  ]
}

function renderUnverified(service: string, where: string, problems: readonly string[], style: Style): string[] {
  const title = `${sign(style, 'failed')} ${sanitize(service)}: what is now in ${sanitize(where)} is not what was built`
  return [
    paint(style, 'red', title),
    ...problems.flatMap(problem =>
      wrap(sanitizeText(problem), style.columns - 4).map((line, index) => `  ${index === 0 ? '-' : ' '} ${line}`),
    ),
  ]
}

/**
 * Cells that never ran or were stopped, with the reason, those of one reason together. An interruption stops them all alike:
 * the table has their names.
 */
function renderHeldUp(result: RunResult, style: Style): string[] {
  const idle = result.cells.filter(cell => cell.state === 'not-run' || cell.state === 'cancelled')
  if (idle.length === 0) return []
  const title = `${sign(style, 'notRun')} ${count(idle.length, 'cell was', 'cells were')} not built`
  if (result.exitCode === 130) return [paint(style, 'yellow', `${title}: interrupted`)]
  const lines = [...groupBy(idle, cell => `${cell.state} ${cell.reason}`).values()].flatMap(cells => {
    const names = [...groupBy(cells, cell => cell.service)].map(
      ([service, own]) => `${service} ${own.map(cell => cell.platform).join(', ')}`,
    )
    const text = sanitize(`${names.join('; ')}: ${cells[0]!.reason}`)
    return wrap(text, style.columns - 4).map((line, index) => `  ${index === 0 ? '-' : ' '} ${line}`)
  })
  return [paint(style, 'yellow', title), ...lines]
}
