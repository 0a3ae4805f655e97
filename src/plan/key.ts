import { createHash } from 'node:crypto'
import type { BaseImage, CopySource, Lowered, Op } from './lowered.ts'

/** Raised when anything about how bytes come out of a Dockerfile changes (DESIGN §4: bytes have a format version). */
export const FORMAT = 2

/** What besides the Dockerfile decides about the bytes of an image. */
export interface KeyOptions {
  readonly docker: boolean
  readonly compression: string
  readonly timestamps: string
  readonly epoch: number | undefined
  readonly annotations: Readonly<Record<string, string>>
}

/**
 * The key of a cell: the same key, the same image (DESIGN §4, steps are cached by content). `context` gives the digest of
 * what a COPY finds in the build context (or a named directory). Parts are kept so that a rebuild can say what changed.
 */
export function cellKey(
  lowered: Lowered,
  options: KeyOptions,
  context: (op: Op & { readonly kind: 'copy' }) => string,
): { readonly key: string; readonly parts: Readonly<Record<string, string>> } {
  const parts: Record<string, string> = {
    format: String(FORMAT),
    options: JSON.stringify([
      options.docker,
      options.compression,
      options.timestamps,
      options.epoch ?? null,
      Object.entries(options.annotations).sort(),
    ]),
    config: JSON.stringify([lowered.target.index, lowered.target.config]),
  }
  for (const [index, stage] of [...lowered.stages].sort(([a], [b]) => a - b)) {
    const base = stage.base
    parts[`stage ${index} ${stage.name} base`] =
      base.kind === 'image' ? imageText(base.image) : base.kind === 'stage' ? `stage ${base.stage}` : 'scratch'
    for (const [i, op] of stage.ops.entries()) {
      parts[`${index}.${i} ${op.label}`] = opText(op)
      if (op.kind === 'copy' && (op.from.kind === 'context' || op.from.kind === 'directory') && op.sources.length > 0)
        parts[`${index}.${i} files of ${op.label}`] = context(op)
    }
  }
  const hash = createHash('sha256')
  for (const [name, value] of Object.entries(parts)) hash.update(JSON.stringify([name, value])).update('\n')
  const digests = Object.fromEntries(
    Object.entries(parts).map(([name, value]) => [name, createHash('sha256').update(value).digest('hex').slice(0, 16)]),
  )
  return { key: hash.digest('hex'), parts: digests }
}

function imageText(image: BaseImage): string {
  return image.manifest.digest
}

function sourceText(source: CopySource): unknown {
  if (source.kind === 'image') return ['image', imageText(source.image)]
  if (source.kind === 'stage') return ['stage', source.stage]
  return [source.kind]
}

function opText(op: Op): string {
  const { line: _line, range: _range, label: _label, ...rest } = op
  if (op.kind === 'copy') return JSON.stringify({ ...rest, from: sourceText(op.from) })
  if (op.kind === 'run') return JSON.stringify({ ...rest, instruction: op.instruction.original })
  return JSON.stringify(rest)
}

/** Why a cell is built though an earlier record exists: the first parts that differ, in words. */
export function whatChanged(before: Readonly<Record<string, string>>, now: Readonly<Record<string, string>>): string {
  const changed: string[] = []
  for (const [name, digest] of Object.entries(now)) {
    if (before[name] === digest) continue
    if (name === 'format') return 'this version of archimage writes other bytes'
    if (name === 'options') changed.push('the options of the build')
    else if (name.endsWith(' base')) changed.push(`the base of ${name.slice(0, -5)}`)
    else if (name.includes(' files of ')) changed.push(`files of ${name.slice(name.indexOf(' files of ') + 10)}`)
    else if (name === 'config') changed.push('the configuration')
    else changed.push(name.slice(name.indexOf(' ') + 1))
  }
  if (changed.length === 0) changed.push('the Dockerfile')
  const specific = changed.filter(text => text !== 'the configuration')
  const list = specific.length > 0 ? specific : changed
  return `${list.slice(0, 2).join(' and ')} changed${list.length > 2 ? `, and ${list.length - 2} more` : ''}`
}
