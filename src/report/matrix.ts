import { PLAIN_STYLE, paint, type Style, sign } from '../errors/render-style.ts'
import { padEnd, sanitize, width, wrap } from '../errors/render-text.ts'
import type { CellResult, RunResult, ServiceResult } from '../run/events.ts'
import { cellKey, count, formatSeconds, groupBy, shortDigest } from './format.ts'
import { isRight, paintState, stateSign, stateWord } from './signs.ts'

const GAP = '   '
const INDENT = '  '
const NOT_PUBLISHED = 'not published'

/** One table entry: how it looks, and the columns that it takes. */
interface Entry {
  readonly text: string
  readonly columns: number
}

/**
 * The end of every run: the table services × platforms, what its marks mean, the references that now exist, and a line
 * that sums up. Where the table is wider than the terminal each cell has a line of its own.
 */
export function renderMatrix(result: RunResult, options: Partial<Style> = {}): string[] {
  const style = { ...PLAIN_STYLE, ...options }
  const marks = new Marks(result)
  const table = renderTable(result, style, marks) ?? renderList(result, style, marks)
  const blocks = [table, marks.legend(style), renderReferences(result, style), renderSummary(result, style)]
  return blocks.filter(block => block.length > 0).flatMap((block, index) => (index === 0 ? block : ['', ...block]))
}

/** Platforms that most services have come first, then in the order of the result. */
function platformsOf(result: RunResult): string[] {
  const groups = [...groupBy(result.cells, cell => cell.platform)]
  return groups.sort(([, a], [, b]) => b.length - a.length).map(([platform]) => platform)
}

function renderTable(result: RunResult, style: Style, marks: Marks): string[] | undefined {
  const platforms = platformsOf(result)
  const byKey = new Map(result.cells.map(cell => [cellKey(cell), cell]))
  const services = [...new Set(result.cells.map(cell => cell.service))]
  const heading = ['service', ...platforms].map(text => entry(sanitize(text), shown => paint(style, 'bold', shown)))
  const rows = services.map(service => [
    entry(sanitize(service)),
    ...platforms.map(platform => cellEntry(byKey.get(cellKey({ service, platform })), style, marks)),
  ])
  const widths = heading.map((_, column) => Math.max(...[heading, ...rows].map(row => row[column]!.columns)))
  const total = INDENT.length + widths.reduce((sum, w) => sum + w, 0) + GAP.length * (widths.length - 1)
  if (total > style.columns) return undefined
  return [heading, ...rows].map(row => {
    const padded = row.map((e, column) => e.text + ' '.repeat(widths[column]! - e.columns))
    return (INDENT + padded.join(GAP)).trimEnd()
  })
}

function renderList(result: RunResult, style: Style, marks: Marks): string[] {
  const names = result.cells.map(cell => sanitize(cellKey(cell)))
  const widest = Math.max(0, ...names.map(width))
  const narrow = widest + 20 > style.columns
  return result.cells.map((cell, index) => {
    const name = narrow ? names[index]! : padEnd(names[index]!, widest)
    return `${narrow ? '' : INDENT}${name}  ${cellEntry(cell, style, marks).text}`
  })
}

function entry(text: string, dress = (shown: string): string => shown): Entry {
  return { text: dress(text), columns: width(text) }
}

function cellEntry(cell: CellResult | undefined, style: Style, marks: Marks): Entry {
  if (cell === undefined) return entry(sign(style, 'none'), text => paint(style, 'dim', text))
  const timed = cell.state === 'built' || cell.state === 'failed'
  const words = [stateSign(style, cell.state), stateWord(cell.state), ...(timed ? [formatSeconds(cell.seconds)] : [])]
  const mark = marks.of(cell)
  return entry(words.join(' ') + (mark === '' ? '' : ` ${mark}`), text => paintState(style, cell.state, text))
}

/** Signs behind a cell for what a reader should know of it, explained below the table. */
class Marks {
  readonly #engine: string | undefined
  readonly #emulated: string | undefined
  readonly #others: Set<string>
  readonly #fallbacks: Set<string>

  constructor(result: RunResult) {
    const ran = result.cells.filter(cell => cell.engine !== '')
    const engines = [...groupBy(ran, cell => cell.engine)].sort(([, a], [, b]) => b.length - a.length)
    this.#engine = engines[0]?.[0]
    this.#others = new Set(engines.slice(1).map(([engine]) => engine))
    this.#emulated = ran.some(cell => cell.emulated) ? `~ emulated${emulation(ran)}` : undefined
    this.#fallbacks = new Set(result.cells.flatMap(cell => cell.fallback ?? []))
  }

  of(cell: CellResult): string {
    const other = cell.engine !== '' && cell.engine !== this.#engine
    return (cell.emulated ? '~' : '') + (other ? '@' : '') + (cell.fallback === undefined ? '' : '^')
  }

  legend(style: Style): string[] {
    const lines = [
      ...(this.#emulated === undefined ? [] : [this.#emulated]),
      ...(this.#others.size > 0 ? [`@ built by ${[...this.#others].join(', ')}, the others by ${this.#engine}`] : []),
      ...(this.#fallbacks.size > 0
        ? [`^ a base image exists for a lower variant only: ${[...this.#fallbacks].join(', ')}`]
        : []),
    ]
    return lines.flatMap(line =>
      wrap(sanitize(line), style.columns - INDENT.length).map(part => INDENT + paint(style, 'dim', part)),
    )
  }
}

/** How long steps were emulated, and what would make the longest of those native for which that is known. */
function emulation(cells: readonly CellResult[]): string {
  const steps = cells.flatMap(cell => cell.steps ?? []).filter(step => step.emulated && !step.cached && !step.shared)
  if (steps.length === 0) return ''
  const seconds = formatSeconds(steps.reduce((sum, step) => sum + step.seconds, 0))
  const longest = steps.filter(step => step.native !== undefined).sort((a, b) => b.seconds - a.seconds)[0]
  const advice = longest && `; ${formatSeconds(longest.seconds)} of it natively: ${longest.native}`
  return `: ${count(steps.length, 'step')}, ${seconds}${advice ?? ''}`
}

function renderReferences(result: RunResult, style: Style): string[] {
  const rows = result.services.flatMap(service => referenceRows(service, result))
  const widest = [0, 1].map(column => Math.max(0, ...rows.map(row => width(row[column]!))))
  return rows.map(([service, reference, rest]) => {
    const fits = INDENT.length + widest[0]! + widest[1]! + 6 + width(rest) <= style.columns
    const shown = [
      padEnd(service, widest[0]!),
      fits ? padEnd(reference, widest[1]!) : reference,
      paint(style, rest.endsWith(NOT_PUBLISHED) ? 'red' : 'dim', rest),
    ]
    return (INDENT + shown.join(GAP)).trimEnd()
  })
}

/** The index's own tags each have a line; tags of single platforms are only counted. */
function referenceRows(service: ServiceResult, result: RunResult): [string, string, string][] {
  const name = sanitize(service.service)
  const cells = result.cells.filter(cell => cell.service === service.service)
  const wrong = cells.filter(cell => !isRight(cell.state)).length
  const single = service.tags.filter(tag => tag.digest !== service.digest).length
  const more = single === 0 ? '' : `, and ${count(single, 'tag')} of other digests`
  const tags = service.tags.filter(tag => tag.digest === service.digest || service.digest === undefined)
  if (service.digest === undefined && service.tags.length === 0 && result.exitCode === 130) return []
  if (service.digest === undefined) {
    const was =
      service.tags.length === 0 ? '' : ` (${service.tags.map(tag => `${tag.reference} ${tag.state}`).join(', ')})`
    const why = wrong === 0 ? '' : `: ${wrong} of ${count(cells.length, 'platform')} missing`
    return [[name, sanitize(service.image), `no index${why}${sanitize(was)}`]]
  }
  const there = service.tags.some(({ state }) => state === 'moved' || state === 'already')
  const unpublished = service.failure === undefined || there ? '' : `  ${NOT_PUBLISHED}`
  if (tags.length === 0) return [[name, sanitize(service.image), `${shortDigest(service.digest)}${more}${unpublished}`]]
  return tags.map(({ reference, digest, state }, index) => [
    index === 0 ? name : '',
    sanitize(reference),
    `${sanitize(shortDigest(digest))}  ${state}${index === 0 ? more + unpublished : ''}`,
  ])
}

/** Of a run that publishes: all of its names are there. */
function isPublished({ digest, failure }: ServiceResult): boolean {
  return digest !== undefined && failure === undefined
}

function renderSummary(result: RunResult, style: Style): string[] {
  const right = result.cells.filter(cell => isRight(cell.state)).length
  const states = [...groupBy(result.cells, cell => cell.state)].map(([, cells]) => cells)
  const order: readonly string[] = ['built', 'unchanged', 'failed', 'not-run', 'cancelled']
  const each = states
    .sort((a, b) => order.indexOf(a[0]!.state) - order.indexOf(b[0]!.state))
    .map(cells => `${cells.length} ${stateWord(cells[0]!.state)}`)
  const tags = groupBy(
    result.services.flatMap(service => service.tags),
    tag => tag.state,
  )
  const tagWord = { moved: 'moved', already: 'already there', kept: 'kept as before', restored: 'put back' }
  const published = result.services.filter(isPublished).length
  const pushed = result.services.some(service => service.failure !== undefined || service.tags.length > 0)
  const unverified = result.services.filter(service => service.verified.some(one => !one.ok)).length
  const parts = [
    `${right} of ${count(result.cells.length, 'cell')} right${each.length === 0 ? '' : `: ${each.join(', ')}`}`,
    ...(pushed && published < result.services.length
      ? [`${published} of ${count(result.services.length, 'service')} published`]
      : []),
    ...(Object.keys(tagWord) as (keyof typeof tagWord)[]).flatMap(state => {
      const some = tags.get(state)
      return some === undefined ? [] : [`${count(some.length, 'tag')} ${tagWord[state]}`]
    }),
    ...(unverified === 0 ? [] : [`${count(unverified, 'service')} not as built when read back`]),
    ...(result.warnings.length === 0 ? [] : [count(result.warnings.length, 'warning')]),
    `${result.seconds < 60 ? `${result.seconds.toFixed(1)} s` : formatSeconds(result.seconds)}`,
  ]
  const ink = result.complete && result.exitCode === 0 ? 'green' : result.exitCode === 130 ? 'yellow' : 'red'
  const lines = wrap(parts.join(` ${sign(style, 'dot')} `), style.columns - INDENT.length)
  return lines.map(line => INDENT + paint(style, ink, line))
}
