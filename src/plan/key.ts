import { hash } from 'node:crypto'
import type { BaseImage, CopyOp, CopySource, Lowered, Op, RunMount, RunOp } from './lowered.ts'

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

/** What an instruction reads of the build context, or of a named directory. */
export type FileUse =
  | { readonly op: CopyOp; readonly from: CopySource }
  | { readonly op: RunOp; readonly from: CopySource; readonly path: string }

/** The places where an instruction looks into contexts. */
export function fileUses(op: Op): FileUse[] {
  const inContext = ({ kind }: CopySource): boolean => kind === 'context' || kind === 'directory'
  if (op.kind === 'copy') return inContext(op.from) && op.sources.length > 0 ? [{ op, from: op.from }] : []
  if (op.kind !== 'run') return []
  return op.mounts.flatMap(mount =>
    (mount.kind === 'bind' || mount.kind === 'cache') && inContext(mount.from)
      ? [{ op, from: mount.from, path: mount.path }]
      : [],
  )
}

export interface CellKey {
  readonly key: string
  /** What it is made of, by name, each as a digest; made when it is asked for, as few are. */
  readonly parts: () => Readonly<Record<string, string>>
}

/**
 * The key of a cell: the same key, the same image (DESIGN §4, steps are cached by content). `files` gives the digest of
 * what an instruction finds in the build context (or a named directory). Parts are kept so that a rebuild can say what changed.
 */
export function cellKey(lowered: Lowered, options: KeyOptions, files: (use: FileUse) => string): CellKey {
  const parts: (readonly [name: string, value: string])[] = [
    ['format', String(FORMAT)],
    [
      'options',
      JSON.stringify([
        options.docker,
        options.compression,
        options.timestamps,
        options.epoch ?? null,
        Object.entries(options.annotations).sort(),
      ]),
    ],
    ['config', JSON.stringify([lowered.target.index, lowered.target.config])],
  ]
  for (const [index, stage] of [...lowered.stages].sort(([a], [b]) => a - b)) {
    const base = stage.base
    parts.push([
      `stage ${index} ${stage.name} base`,
      base.kind === 'image' ? imageText(base.image) : base.kind === 'stage' ? `stage ${base.stage}` : 'scratch',
    ])
    for (const [i, op] of stage.ops.entries()) {
      parts.push([`${index}.${i} ${op.label}`, opText(op)])
      const uses = fileUses(op)
      if (uses.length > 0) parts.push([`${index}.${i} files of ${op.label}`, uses.map(files).join()])
    }
  }
  return {
    key: hash('sha256', parts.map(part => `${JSON.stringify(part)}\n`).join(''), 'hex'),
    parts: () => Object.fromEntries(parts.map(([name, value]) => [name, hash('sha256', value, 'hex').slice(0, 16)])),
  }
}

/**
 * The key of a cell that an engine builds: the images of two engines are never taken for each other, for they differ in
 * bytes (times, history, the order of what an archive holds). `key` and `parts` are those of `cellKey`, which are the
 * native engine's.
 */
export function engineKey({ key, parts }: CellKey, engine: string): CellKey {
  const own = engine === 'native' ? key : hash('sha256', `${engine} ${key}`, 'hex')
  return { key: own, parts: () => ({ ...parts(), engine }) }
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
  if (op.kind === 'run') return JSON.stringify({ ...rest, mounts: op.mounts.map(mountText) })
  return JSON.stringify(rest)
}

/** A cache mount's name decides where it lies, never what a step finds in it. */
function mountText(mount: RunMount): unknown {
  if (mount.kind === 'bind') return { ...mount, from: sourceText(mount.from) }
  if (mount.kind !== 'cache') return mount
  const { id: _, sharing: __, ...rest } = mount
  return { ...rest, from: sourceText(mount.from) }
}

/** Why a cell is built though an earlier record exists: the first parts that differ, in words. */
export function whatChanged(before: Readonly<Record<string, string>>, now: Readonly<Record<string, string>>): string {
  const changed: string[] = []
  for (const [name, digest] of Object.entries(now)) {
    if (before[name] === digest) continue
    if (name === 'engine' && (before[name] ?? 'native') === digest) continue
    if (name === 'format') return 'this version of archimage writes other bytes'
    if (name === 'engine') changed.push('the engine')
    else if (name === 'options') changed.push('the options of the build')
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
