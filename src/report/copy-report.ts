import type { CopyEvent } from '../copy/request.ts'
import { paint, type Style, sign, styleFor } from '../errors/render-style.ts'
import { sanitize, wrap } from '../errors/render-text.ts'
import { count, formatBytes, formatSeconds, shortDigest } from './format.ts'
import { columnsOf, FrameWriter, type ReportStream } from './frame.ts'
import { type ReportMode, resolveAuto } from './reporter.ts'

const REPAINT_EVERY = 100
const HEARTBEAT_EVERY = 30_000
const MOST_LINES = 8

export interface CopyReport {
  emit(event: CopyEvent): void
  /** Leaves the terminal as it was found; safe to call more than once. */
  close(): void
}

type Blob = CopyEvent & { readonly type: 'blob' }

/** Shows copies while they go on: at a terminal what moves just now, else a line for each image. Quiet: warnings only. */
export function startCopyReport(options: {
  readonly mode: Exclude<ReportMode, 'json'>
  readonly stream: ReportStream
  readonly env: Readonly<Record<string, string | undefined>>
}): CopyReport {
  const { stream, env } = options
  const mode = options.mode === 'auto' ? resolveAuto(stream, env) : options.mode
  const style = styleFor(stream, env)
  const moving = new Map<string, Blob>()
  let open = 0
  const frame = new FrameWriter(stream)
  const write = (lines: readonly string[]): void => {
    if (mode === 'tty') frame.print(lines)
    else stream.write(lines.map(line => `${line}\n`).join(''))
  }
  const tick = (): void => {
    if (mode === 'tty') frame.paint(movingLines([...moving.values()], open, columnsOf(stream), style))
    else if (moving.size > 0) stream.write(`still going: ${[...moving.values()].map(ofBlob).join(', ')}\n`)
  }
  const timer = mode === 'quiet' ? undefined : setInterval(tick, mode === 'tty' ? REPAINT_EVERY : HEARTBEAT_EVERY)
  timer?.unref?.()
  const close = (): void => {
    clearInterval(timer)
    process.off('exit', close)
    frame.clear()
  }
  // Also when somebody's process.exit cuts it short: a terminal must not stay without its cursor.
  process.once('exit', close)
  return {
    emit(event) {
      if (event.type === 'image-started') open++
      if (event.type === 'image-ended') open--
      if (event.type === 'blob') {
        const key = `${event.doing} ${event.target} ${event.digest}`
        if (event.done) moving.delete(key)
        else moving.set(key, event)
      }
      if (event.type === 'warning') write(warning(event.message, style))
      if (event.type === 'image-ended' && mode !== 'quiet') write([endLine(event, style)])
    },
    close,
  }
}

function warning(message: string, style: Style): string[] {
  return wrap(sanitize(message), style.columns - 2).map(
    (line, i) => `${i === 0 ? paint(style, 'yellow', sign(style, 'warning')) : ' '} ${line}`,
  )
}

const LOOK = {
  copied: ['ok', 'green'],
  same: ['same', 'dim'],
  kept: ['notRun', 'yellow'],
  failed: ['failed', 'red'],
} as const
const WORDS = { copied: '', same: 'was there already', kept: 'is there and leads elsewhere: kept', failed: 'failed' }

function endLine(event: CopyEvent & { readonly type: 'image-ended' }, style: Style): string {
  const [name, ink] = LOOK[event.state]
  const digest = event.digest === undefined ? '' : shortDigest(event.digest)
  const details = [digest, event.state === 'copied' ? formatSeconds(event.seconds) : WORDS[event.state]]
  return `${paint(style, ink, sign(style, name))} ${sanitize(event.image)}  ${paint(style, 'dim', details.filter(Boolean).join(', '))}`
}

function ofBlob({ doing, digest, current, total }: Blob): string {
  const part = total > 0 ? ` (${formatBytes(current)} of ${formatBytes(total)})` : ''
  return `${doing} ${shortDigest(digest)}${part}`
}

function movingLines(blobs: readonly Blob[], images: number, columns: number, style: Style): string[] {
  if (images === 0) return []
  const shown = blobs.slice(0, MOST_LINES).map(blob => {
    const width = Math.max(8, Math.min(20, columns - 50))
    const full = blob.total > 0 ? Math.round((blob.current / blob.total) * width) : 0
    const bar = sign(style, 'full').repeat(full) + paint(style, 'dim', sign(style, 'empty').repeat(width - full))
    return `  ${bar} ${ofBlob(blob)}`
  })
  const more = blobs.length - shown.length
  return [count(images, 'image') + (more > 0 ? `, ${more} more blobs` : ''), ...shown]
}
