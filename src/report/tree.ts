import { PLAIN_STYLE, paint, type Style, sign } from '../errors/render-style.ts'
import { padEnd, padStart, sanitize, truncate, width } from '../errors/render-text.ts'
import { count, formatBytes, formatSeconds, groupBy, shortDigest } from './format.ts'
import { isRight, paintState, stateSign, stateWord } from './signs.ts'
import { type CellProgress, type RunState, type ServiceProgress, type Transfer, transferRate } from './state.ts'

const SPINNER = { unicode: [...'⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'], ascii: [...'|/-\\'] }
const PHASES = { prepare: 'preparing', build: 'building', publish: 'publishing', verify: 'reading back' }
const BAR = 16

/** A line of the tree; `below` is a log line that is shown where there is room for it. */
interface Line {
  readonly text: string
  readonly below?: string
}

/**
 * The live picture of a run: a heading, services with their cells, transfers. Never more than `rows` - 1 lines (the
 * cursor stands below them), none wider than `columns` - 1. What does not fit is told in less detail, first the
 * services that are done, then those that wait; running and failed cells stay longest.
 */
export function render(
  state: RunState,
  columns: number,
  rows: number,
  now: number,
  options: Pick<Style, 'color' | 'unicode'> = PLAIN_STYLE,
): string[] {
  const style = { ...options, columns }
  const room = Math.max(1, rows - 1)
  const head = heading(state, style, now)
  // One line is kept for a transfer, so that the tree does not jump whenever one begins.
  const forTree = Math.max(0, room - 2)
  const views = [everything, doneInOneLine, onlyActive, flat]
  let tree: Line[] = []
  for (const view of views) {
    tree = view(state, style, now)
    if (tree.length <= forTree) break
  }
  if (tree.length > forTree) tree = cut(tree, forTree)
  const transfers = [...state.transfers.values()]
  const left = room - 1 - tree.length
  const below = transferLines(transfers, Math.min(left, 6), style, now)
  const logs = tree.filter(line => line.below !== undefined).length <= left - below.length
  const lines = tree.flatMap(({ text, below }) => (logs && below !== undefined ? [text, below] : [text]))
  const ellipsis = style.unicode ? '…' : '~'
  return [head, ...lines, ...below].slice(0, room).map(line => truncate(line, Math.max(1, columns - 1), ellipsis))
}

function cut(lines: Line[], room: number): Line[] {
  if (room <= 0) return []
  return [...lines.slice(0, room - 1), { text: `  and ${lines.length - room + 1} more` }]
}

function heading(state: RunState, style: Style, now: number): string {
  const cells = [...state.cells.values()]
  const ended = cells.filter(cell => cell.state !== 'waiting' && cell.state !== 'running')
  const failed = ended.filter(cell => cell.state === 'failed').length
  const running = cells.filter(cell => cell.state === 'running').length
  const parts = [
    ...(state.phase === undefined ? [] : [PHASES[state.phase]]),
    `${ended.length} of ${count(cells.length, 'cell')}`,
    ...(running === 0 ? [] : [`${running} running`]),
    ...(failed === 0 ? [] : [paint(style, 'red', `${failed} failed`)]),
    formatSeconds((now - (state.startedAt ?? now)) / 1000),
  ]
  return `${paint(style, 'bold', sanitize(state.project))}  ${parts.join(` ${sign(style, 'dot')} `)}`
}

type Progress = 'failed' | 'running' | 'waiting' | 'done'

/** A service is done when all its cells ended right, waiting when none has begun. */
function progressOf({ cells }: ServiceProgress): Progress {
  if (cells.every(cell => isRight(cell.state))) return 'done'
  if (cells.every(cell => cell.state === 'waiting')) return 'waiting'
  if (cells.some(cell => cell.state === 'running' || cell.state === 'waiting')) return 'running'
  return 'failed'
}

function everything(state: RunState, style: Style, now: number): Line[] {
  return [...state.services.values()].flatMap(service => expanded(service, state, style, now))
}

function doneInOneLine(state: RunState, style: Style, now: number): Line[] {
  return [...state.services.values()].flatMap(service =>
    progressOf(service) === 'done' ? [serviceLine(service, style, now)] : expanded(service, state, style, now),
  )
}

function onlyActive(state: RunState, style: Style, now: number): Line[] {
  const services = groupBy(state.services.values(), progressOf)
  const active = [...state.services.values()].filter(service => ['running', 'failed'].includes(progressOf(service)))
  return [
    ...gathered(services.get('done'), 'done', style),
    ...active.flatMap(service => expanded(service, state, style, now)),
    ...gathered(services.get('waiting'), 'waiting', style),
  ]
}

/** One line per cell that runs or failed, failed ones first. */
function flat(state: RunState, style: Style, now: number): Line[] {
  const shown = groupBy(state.cells.values(), cell => cell.state)
  const cells = [...(shown.get('failed') ?? []), ...(shown.get('running') ?? [])]
  const widest = Math.max(0, ...cells.map(cell => width(cell.service)))
  return cells.map(cell => {
    const service = padEnd(sanitize(cell.service), widest)
    return { text: `${cellSign(cell, style, now)} ${service}  ${cell.platform}  ${cellText(cell, style, now)}` }
  })
}

function gathered(services: readonly ServiceProgress[] | undefined, what: 'done' | 'waiting', style: Style): Line[] {
  if (services === undefined) return []
  const mark = what === 'done' ? paint(style, 'green', sign(style, 'ok')) : paint(style, 'dim', sign(style, 'waiting'))
  const names = services.map(({ service }) => sanitize(service)).join(', ')
  return [{ text: `${mark} ${count(services.length, 'service')} ${what}: ${paint(style, 'dim', names)}` }]
}

function expanded(service: ServiceProgress, state: RunState, style: Style, now: number): Line[] {
  return [
    serviceLine(service, style, now),
    ...service.cells.map(cell => ({
      text: `  ${cellSign(cell, style, now)} ${padEnd(sanitize(cell.platform), state.platformColumns)} ${cellText(cell, style, now)}`,
      ...(cell.state === 'running' && cell.lastLine !== ''
        ? { below: paint(style, 'dim', `      ${sign(style, 'bar')} ${cell.lastLine}`) }
        : {}),
    })),
  ]
}

function serviceLine(service: ServiceProgress, style: Style, now: number): Line {
  const progress = progressOf(service)
  const mark = {
    done: () => paint(style, 'green', sign(style, 'ok')),
    failed: () => paint(style, 'red', sign(style, 'failed')),
    waiting: () => paint(style, 'dim', sign(style, 'waiting')),
    running: () => paint(style, 'cyan', spinner(style, now)),
  }[progress]()
  const states = [...groupBy(service.cells, cell => cell.state)].map(
    ([cellState, cells]) => `${cells.length} ${cellState}`,
  )
  const tag = service.tags.at(-1)
  const bad = service.verified.find(one => !one.ok)
  const more = [
    ...(progress === 'done' ? [states.join(', ')] : []),
    ...(tag === undefined ? [] : [`${tag.reference} ${tag.state}`]),
    ...(bad === undefined ? [] : [`not as built in ${bad.where}`]),
  ]
  return { text: `${mark} ${paint(style, 'bold', sanitize(service.service))}  ${sanitize(more.join('  '))}`.trimEnd() }
}

function spinner(style: Style, now: number): string {
  const frames = style.unicode ? SPINNER.unicode : SPINNER.ascii
  return frames[Math.floor(now / 100) % frames.length]!
}

function cellSign(cell: CellProgress, style: Style, now: number): string {
  if (cell.state === 'waiting') return paint(style, 'dim', sign(style, 'waiting'))
  if (cell.state === 'running') return paint(style, 'cyan', spinner(style, now))
  return paintState(style, cell.state, stateSign(style, cell.state))
}

function cellText(cell: CellProgress, style: Style, now: number): string {
  const seconds = cell.state === 'running' ? (now - (cell.startedAt ?? now)) / 1000 : cell.seconds
  const elapsed = paint(style, 'dim', padStart(cell.state === 'waiting' ? '' : formatSeconds(seconds), 6))
  if (cell.state === 'waiting') return `${elapsed}  ${paint(style, 'dim', 'waiting')}`
  if (cell.state !== 'running') {
    const why = sanitize(cell.failure?.message ?? cell.reason).replace(/\\x0a.*/, '')
    return `${elapsed}  ${paintState(style, cell.state, stateWord(cell.state))}  ${paint(style, 'dim', why)}`
  }
  const emulated = cell.emulated || cell.step?.emulated ? paint(style, 'yellow', ' emulated') : ''
  return `${elapsed}  ${stepText(cell, style, now)}${emulated}`
}

function stepText({ step, running }: CellProgress, style: Style, now: number): string {
  if (step === undefined) return 'starting'
  const cached = step.cached ? paint(style, 'dim', ' cached') : ''
  const seconds = step.startedAt === undefined ? 0 : (now - step.startedAt) / 1000
  const since = running.includes(step) && seconds >= 1 ? paint(style, 'dim', ` ${formatSeconds(seconds)}`) : ''
  const others = running.length > 1 ? paint(style, 'dim', ` and ${count(running.length - 1, 'other step')}`) : ''
  return `${paint(style, 'dim', `${step.number}/${step.total}`)} ${sanitize(step.text)}${cached}${since}${others}`
}

function transferLines(transfers: readonly Transfer[], room: number, style: Style, now: number): string[] {
  if (room <= 0 || transfers.length === 0) return []
  const shown = transfers.length <= room ? transfers : transfers.slice(0, room - 1)
  const rest = transfers.length - shown.length
  return [
    ...shown.map(transfer => transferLine(transfer, style, now)),
    ...(rest === 0 ? [] : [`${paint(style, 'dim', sign(style, 'dot'))} ${count(rest, 'more transfer')}`]),
  ]
}

const DIRECTIONS = { pull: ['down', 'pulling'], push: ['up', 'pushing'], write: ['write', 'writing'] } as const

function transferLine(transfer: Transfer, style: Style, now: number): string {
  const [mark, word] = DIRECTIONS[transfer.direction]
  const { current, total } = transfer
  const rate = transferRate(transfer, now)
  const done = total > 0 ? Math.min(1, current / total) : 0
  const filled = Math.round(done * BAR)
  const bar =
    total > 0
      ? `${sign(style, 'full').repeat(filled)}${paint(style, 'dim', sign(style, 'empty').repeat(BAR - filled))} `
      : ''
  const bytes = total > 0 ? `${formatBytes(current)} of ${formatBytes(total)}` : formatBytes(current)
  const speed = rate === undefined ? '' : `  ${formatBytes(rate)}/s`
  const what = /^sha\d+:/.test(transfer.what) ? shortDigest(transfer.what) : transfer.what
  return `${paint(style, 'cyan', sign(style, mark))} ${word} ${bar}${bytes}${speed}  ${sanitize(what)}`
}
