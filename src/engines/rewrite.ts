import type { Flag, Range, Stage } from '../dockerfile/ast.ts'
import { mountFrom } from '../dockerfile/mounts.ts'
import { ArchimageError } from '../errors/error.ts'
import { formatPlatform } from '../oci/platform.ts'
import type { BaseImage, CopySource, LoweredStage } from '../plan/lowered.ts'
import type { Elsewhere } from './elsewhere.ts'
import type { Cell } from './engine.ts'

/** How the names of a Dockerfile are to be written for an engine. */
export interface EngineNames {
  readonly image: (image: BaseImage) => string
  /** A named context that is files, or what an ADD takes from elsewhere. */
  readonly directory: (path: string) => string
}

export interface RewriteOptions {
  /** Whether the directive of this name stays. */
  readonly syntax: boolean
  /** Whether FROM names the platform also where the Dockerfile leaves it to the build. */
  readonly platforms: boolean
}

export interface Rewritten {
  readonly text: string
  /** The stages that are left, by the names that they have now, in their order. */
  readonly stages: ReadonlyMap<string, LoweredStage>
}

/**
 * The Dockerfile of a cell for an engine that reads it itself: every base, stage, context and platform has the name of what
 * archimage resolved it to, and what the target does not need is gone. Each instruction stays on its line, so that what an
 * engine says of a line holds.
 */
export function rewriteDockerfile(
  { source, lowered }: Pick<Cell, 'source' | 'lowered'>,
  names: EngineNames,
  options: RewriteOptions,
  elsewhere: readonly Elsewhere[] = [],
): Rewritten {
  const { dockerfile } = source
  const lines = source.text.replace(/^\ufeff/, '').split('\n')
  const stageNames = uniqueNames(dockerfile.stages, lowered.stages)
  const text = new Text(lines, dockerfile.escape)
  text.directives(dockerfile.directives, options.syntax ? ['syntax', 'escape'] : ['escape'])
  // From the end: what is written into a line moves what stands behind it.
  for (const stage of dockerfile.stages.toReversed()) {
    const known = lowered.stages.get(stage.index)
    const last = (dockerfile.stages[stage.index + 1]?.from.range.start.line ?? lines.length + 1) - 1
    if (!known) {
      text.clear(stage.from.range.start.line, last)
      continue
    }
    if (known.replaced) text.clear(stage.from.range.end.line + 1, last)
    else for (const instruction of stage.instructions.toReversed()) sources(instruction)
    from(stage, known)
  }
  const stages = new Map([...lowered.stages].sort(([a], [b]) => a - b).map(([i, stage]) => [stageNames.get(i)!, stage]))
  return { text: text.toString(), stages }

  function from({ from, index }: Stage, known: LoweredStage): void {
    const { base } = known
    const name =
      base.kind === 'scratch'
        ? known.files === undefined
          ? 'scratch'
          : names.directory(known.files)
        : base.kind === 'stage'
          ? stageNames.get(base.stage)!
          : names.image(base.image)
    const named = from.platform !== undefined || (options.platforms && base.kind === 'image')
    const platform = named ? `--platform=${formatPlatform(known.platform)} ` : ''
    text.replace(from.range, `FROM ${platform}${name} AS ${stageNames.get(index)!}`)
  }

  function sources(instruction: Stage['instructions'][number]): void {
    if (instruction.kind === 'add') added(instruction)
    if (instruction.kind !== 'copy' && instruction.kind !== 'run') return
    for (const flag of instruction.flags.toReversed()) {
      const name = instruction.kind === 'copy' ? (flag.name === 'from' ? flag.value : undefined) : mountSource(flag)
      if (name === undefined) continue
      const found = lowered.sources.find(one => one.name === name && sameRange(one.range, instruction.range))
      if (!found) continue
      const written = text.get(flag.range)
      const wanted = nameOf(found.source)
      const rewritten =
        instruction.kind === 'copy'
          ? `--from=${wanted}`
          : written.replace(/((?:=|,)\s*["']?from=)[^,"'\s]+/i, `$1${wanted}`)
      if (rewritten === written && wanted !== name)
        throw new ArchimageError('UNSUPPORTED', `${written} cannot be handed to another engine`, {
          place: { file: dockerfile.file, line: flag.range.start.line },
          hint: 'write it without quotes: --mount=type=bind,from=NAME,target=/path',
        })
      text.replace(flag.range, rewritten)
    }
  }

  /** What is from elsewhere is in a folder, with all that goes with it. */
  function added(instruction: Stage['instructions'][number] & { readonly kind: 'add' }): void {
    const found = elsewhere.find(({ op }) => sameRange(op.range, instruction.range))
    if (!found) return
    const kept = instruction.flags.filter(({ name }) => ['chown', 'chmod', 'link'].includes(name))
    const words = JSON.stringify([...found.sources, instruction.dest])
    const flags = [`--from=${names.directory(found.path)}`, ...kept.map(flag => text.get(flag.range))]
    text.replace(instruction.range, `COPY ${flags.join(' ')} ${words}`)
  }

  function nameOf(of: CopySource): string {
    if (of.kind === 'stage') return stageNames.get(of.stage)!
    if (of.kind === 'image') return names.image(of.image)
    return of.kind === 'directory' ? names.directory(of.path) : 'scratch'
  }
}

function mountSource(flag: Flag): string | undefined {
  return flag.name === 'mount' && flag.value !== undefined
    ? mountFrom(flag.value, message => new ArchimageError('DOCKERFILE_INVALID', message))
    : undefined
}

/** A name for each stage that is needed: its own where that is unique. */
function uniqueNames(stages: readonly Stage[], needed: ReadonlyMap<number, LoweredStage>): Map<number, string> {
  const taken = new Set<string>()
  const out = new Map<number, string>()
  for (const { index, name } of stages) {
    if (!needed.has(index)) continue
    let unique = name ?? `stage-${index}`
    while (taken.has(unique)) unique += `-${index}`
    taken.add(unique)
    out.set(index, unique)
  }
  return out
}

function sameRange(a: Range, b: Range): boolean {
  return (
    a.start.line === b.start.line &&
    a.start.column === b.start.column &&
    a.end.line === b.end.line &&
    a.end.column === b.end.column
  )
}

/** Lines of a Dockerfile that are changed in place. */
class Text {
  readonly #lines: string[]
  readonly #continuation: string

  constructor(lines: string[], continuation: string) {
    this.#lines = lines
    this.#continuation = continuation
  }

  toString(): string {
    return this.#lines.join('\n')
  }

  get({ start, end }: Range): string {
    if (start.line === end.line) return this.#lines[start.line - 1]!.slice(start.column - 1, end.column)
    const [first, ...rest] = this.#lines.slice(start.line - 1, end.line)
    return [first!.slice(start.column - 1), ...rest.slice(0, -1), rest.at(-1)!.slice(0, end.column)].join('\n')
  }

  /** What begins on one line and ends on another gets the first one; what stood behind it stays where it is. */
  replace({ start, end }: Range, by: string): void {
    const before = this.#lines[start.line - 1]!.slice(0, start.column - 1)
    const after = this.#lines[end.line - 1]!.slice(end.column)
    if (start.line === end.line) {
      this.#lines[start.line - 1] = before + by + after
      return
    }
    const more = after.trim() !== ''
    this.#lines[start.line - 1] = before + by + (more ? ` ${this.#continuation}` : '')
    this.clear(start.line + 1, end.line)
    if (more) this.#lines[end.line - 1] = after
  }

  clear(from: number, to: number): void {
    for (let line = from; line <= to; line++) this.#lines[line - 1] = ''
  }

  /** The directives that stay move up: only lines before any other are directives. */
  directives(all: Readonly<Record<string, { readonly line: number }>>, keep: readonly string[]): void {
    const places = Object.values(all)
      .map(({ line }) => line)
      .sort((a, b) => a - b)
    const kept = keep.flatMap(name => (Object.hasOwn(all, name) ? this.#lines[all[name]!.line - 1]! : []))
    for (const [i, line] of places.entries()) this.#lines[line - 1] = kept[i] ?? '#'
  }
}
