import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { type CopyOutcome, type CopyResult, copy, labelOf } from '../../copy/copy.ts'
import { planCopy } from '../../copy/plan.ts'
import type { PlanView } from '../../copy/plan-view.ts'
import type { CopyEvent, CopyImage, CopyTools } from '../../copy/request.ts'
import { type ArchimageError, gravest, isArchimageError, systemError } from '../../errors/error.ts'
import { renderError } from '../../errors/render.ts'
import { styleFor } from '../../errors/render-style.ts'
import { sanitize } from '../../errors/render-text.ts'
import type { RegistryOptions } from '../../registry/registry.ts'
import { count, formatBytes } from '../../report/format.ts'
import { stringify } from '../../report/json.ts'
import { terminal } from '../../sys/terminal.ts'
import { type Invocation, print, say, workingDirectory } from '../command.ts'
import type { Side } from '../registry-flags.ts'
import { openSides, type Sides } from './sides.ts'

type Options = Readonly<Record<string, unknown>>

type Ended = CopyEvent & { readonly type: 'image-ended' }

/** A source that could not even be listed. */
interface Lost {
  readonly source: string
  readonly error: ArchimageError
}

/**
 * Finds the images (`find` may say that it failed for some), copies them or says what would be done, prints the results. Returns the
 * exit code.
 */
export async function runCopies(
  invocation: Invocation,
  options: Options,
  hosts: Readonly<Record<Side, readonly string[]>>,
  find: (
    sides: Sides,
    fail: (source: string, error: ArchimageError) => void,
    warn: (message: string) => void,
  ) => Promise<readonly CopyImage[]>,
  more: Pick<RegistryOptions, 'hosts' | 'credentials'> = {},
): Promise<number> {
  process.chdir(workingDirectory(invocation, options))
  const { signal } = invocation
  const quiet = options['quiet'] === true || options['progress'] === 'quiet'
  const dry = options['dryRun'] === true
  const { startCopyReport } = await import('../../report/copy-report.ts')
  const report = startCopyReport({
    mode:
      quiet || dry
        ? 'quiet'
        : ((options['progress'] as 'auto' | undefined) ?? (options['verbose'] === true ? 'plain' : 'auto')),
    stream: terminal(2),
    env: process.env,
  })
  const warn = (message: string): void => report.emit({ type: 'warning', message })
  const lost: Lost[] = []
  const sides = await openSides(options, hosts, { ...more, warn, signal })
  try {
    const images = await find(sides, (source, error) => lost.push({ source, error }), warn)
    const jobs = options['jobs'] ?? options['concurrency']
    const unseen: Ended[] = []
    const emit = (event: CopyEvent): void => {
      if (event.type === 'image-ended' && event.unseen) unseen.push(event)
      else report.emit(event)
    }
    const tools: CopyTools = { signal, emit, ...(jobs === undefined ? {} : { jobs: Number(jobs) }) }
    if (dry) return await showPlan(images, lost, options, tools)
    const result = await copy(images, tools)
    const bad = [...lost.map(({ error }) => error), ...result.images.flatMap(({ error }) => error ?? [])]
    const held = await sides.target.commit(bad.length === 0, signal)
    for (const event of unseen) report.emit(held.length === 0 ? event : withoutDigest(event))
    report.close()
    const done = result.images.filter(({ image, digest }) => digest !== undefined && !held.includes(image.target.label))
    printResult(result, done, lost, options)
    if (typeof options['digestfile'] === 'string') writeDigests(options['digestfile'], done)
    if (!quiet) say(summary(result, done, result.images.length + lost.length - done.length))
    for (const label of held) say(`${label} was not written: something that belongs into it failed`)
    printFailures(bad)
    return gravest(bad.map(error => error.exit))
  } finally {
    report.close()
    await sides.close()
  }
}

function printFailures(errors: readonly ArchimageError[]): void {
  const out = terminal(2)
  const style = styleFor(out, process.env)
  const shown = errors.filter((error, i) => error.code !== 'CANCELLED' || i === 0)
  for (const error of shown) out.write(`${renderError(error, style)}\n`)
}

function withoutDigest({ digest: _, ...event }: Ended): Ended {
  return { ...event, state: 'failed' }
}

function summary({ blobs }: CopyResult, done: readonly CopyOutcome[], failed: number): string {
  const of = (state: string): number => done.filter(image => image.state === state).length
  const { sent, sentBytes, mounted, there } = blobs
  const parts = [
    `${count(of('copied'), 'image')} copied`,
    ...(of('same') > 0 ? [`${of('same')} there already`] : []),
    ...(of('kept') > 0 ? [`${of('kept')} kept`] : []),
    ...(failed > 0 ? [`${failed} failed`] : []),
  ]
  const moved = [
    ...(sent > 0 ? [`${count(sent, 'blob')} (${formatBytes(sentBytes)}) sent`] : []),
    ...(mounted > 0 ? [`${mounted} mounted`] : []),
    ...(there > 0 ? [`${there} there already`] : []),
  ]
  return [parts.join(', '), ...(moved.length > 0 ? [moved.join(', ')] : [])].join('; ')
}

function nameOf({ image, digest }: CopyOutcome): string {
  return `${image.target.label}@${digest}`
}

function printResult(
  { images, blobs }: CopyResult,
  done: readonly CopyOutcome[],
  lost: readonly Lost[],
  options: Options,
): void {
  if (options['json'] !== true) {
    for (const outcome of done) print(sanitize(nameOf(outcome)))
    return
  }
  const failure = ({ code, message, hint }: ArchimageError) => ({ code, message, ...(hint && { hint }) })
  const view = images.map(outcome => {
    const { image, state, digest, error } = outcome
    return {
      source: labelOf(image).split(' → ')[0],
      target: image.target.label,
      tags: image.tags,
      state,
      ...(digest === undefined || done.includes(outcome) ? {} : { written: false }),
      ...(digest === undefined ? {} : { digest }),
      ...(error === undefined ? {} : { error: failure(error) }),
    }
  })
  const gone = lost.map(({ source, error }) => ({ source, state: 'failed', error: failure(error) }))
  print(stringify({ version: 1, images: [...view, ...gone], blobs }, 2))
}

/** As skopeo: the digest alone for one image, with names for several. */
function writeDigests(file: string, images: readonly CopyOutcome[]): void {
  const lines = images.map(({ image, digest }) =>
    images.length === 1
      ? `${digest}`
      : `${digest} ${image.target.label}${image.tags[0] === undefined ? '' : `:${image.tags[0]}`}`,
  )
  try {
    writeFileSync(resolve(file), lines.join('\n') + (images.length > 1 ? '\n' : ''))
  } catch (error) {
    throw systemError(error, `writing ${file}`)
  }
}

async function showPlan(
  images: readonly CopyImage[],
  lost: readonly Lost[],
  options: Options,
  tools: CopyTools,
): Promise<number> {
  const { viewFailure, viewPlan } = await import('../../copy/plan-view.ts')
  const errors: ArchimageError[] = lost.map(({ error }) => error)
  const views: PlanView[] = []
  for (const image of images)
    try {
      views.push(await viewPlan(await planCopy(image, tools), tools.signal))
    } catch (error) {
      if (!isArchimageError(error) || tools.signal.aborted) throw error
      errors.push(error)
      views.push(viewFailure(image, error))
    }
  if (options['json'] === true) print(stringify({ version: 1, images: views }, 2))
  else for (const line of (await import('../../report/copy-plan.ts')).renderCopyPlan(views)) print(line)
  printFailures(errors)
  return gravest(errors.map(error => error.exit))
}
