import { ArchimageError } from '../errors/error.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import type { RunOp } from '../plan/lowered.ts'
import type { StepUse } from '../plan/references.ts'
import type { Abilities, Cell, Engine, Problem } from './engine.ts'
import { ENGINES, type EngineName } from './names.ts'
import type { NativeOptions } from './native/engine.ts'
import { runOps, runPlatforms } from './runs.ts'

/** Which engine builds a cell. */
export interface Choice {
  readonly engine: Engine
  /** Whether a RUN step of it runs under emulation. */
  readonly emulated: boolean
  /** Why it is not the native engine, or why it is though another could do it. */
  readonly why?: string
}

/** Makes the engines of a run; each is loaded when a cell needs it. */
export function engineLoader(options: NativeOptions = {}): (name: EngineName) => Promise<Engine> {
  return async name => {
    switch (name) {
      case 'native':
        return (await import('./native/engine.ts')).nativeEngine(options)
      case 'docker':
        return (await import('./docker/engine.ts')).dockerEngine()
      case 'podman':
        return (await import('./podman/engine.ts')).podmanEngine(options.ability)
    }
  }
}

/** The engines of a run: each is asked once what it can, and only when a cell needs it. */
export class Engines {
  readonly #forced: EngineName | undefined
  readonly #signal: AbortSignal
  readonly #load: (name: EngineName) => Promise<Engine>
  readonly #engines = new Map<EngineName, Promise<Engine>>()
  readonly #abilities = new Map<EngineName, Promise<Abilities>>()

  /** `forced`: the one of `--engine`. `loader` is for tests. */
  constructor(forced: EngineName | undefined, signal: AbortSignal, loader = engineLoader()) {
    this.#forced = forced
    this.#signal = signal
    this.#load = loader
  }

  /**
   * The engines whose image of a cell counts, the preferred one first. Where the native engine can build it that is the only
   * one: what another has built before is not taken in its place.
   */
  async candidates(cell: Cell): Promise<readonly EngineName[]> {
    if (this.#forced !== undefined) return [this.#forced]
    if (runOps(cell).length === 0) return ['native']
    return 'emulated' in (await this.#judged('native', cell)) ? ['native'] : ENGINES
  }

  /** The first of `names` (of `candidates`) that can build the cell. Throws ENGINE_MISSING with what each of them lacks. */
  async choose(cell: Cell, names: readonly EngineName[]): Promise<Choice> {
    const [run] = runOps(cell)
    if (run === undefined && names[0] === 'native') return { engine: await this.#engine('native'), emulated: false }
    const problems: (readonly [EngineName, Problem])[] = []
    for (const name of names) {
      const judged = await this.#judged(name, cell)
      if ('emulated' in judged) {
        const why = this.#forced ? `--engine ${name}` : problems[0]?.[1].message
        return { engine: await this.#engine(name), ...judged, ...(why === undefined ? {} : { why }) }
      }
      problems.push([name, judged])
    }
    throw missing(run && { file: cell.lowered.file, ...run }, problems)
  }

  /** Why no engine here runs the programs that some steps need, as far as that is known before anything else is; else undefined. */
  async refusal(steps: readonly StepUse[], file: string): Promise<ArchimageError | undefined> {
    const [first] = steps
    if (first === undefined) return undefined
    const platforms = [...new Map(steps.map(({ platform }) => [formatPlatform(platform), platform])).values()]
    const problems: (readonly [EngineName, Problem])[] = []
    for (const name of this.#forced === undefined ? ENGINES : [this.#forced]) {
      const abilities = await this.#probed(name)
      const judged = abilities.problems[0] ?? (await judgePlatforms(abilities, platforms))
      if ('emulated' in judged) return undefined
      problems.push([name, judged])
    }
    const { range, original } = first.instruction
    return missing({ file, range, label: original }, problems)
  }

  /** Ends what the engines left open. */
  async close(): Promise<void> {
    const made = await Promise.allSettled(this.#engines.values())
    await Promise.allSettled(made.map(one => (one.status === 'fulfilled' ? one.value.close?.() : undefined)))
  }

  #engine(name: EngineName): Promise<Engine> {
    const known = this.#engines.get(name) ?? this.#load(name)
    this.#engines.set(name, known)
    return known
  }

  async #judged(name: EngineName, cell: Cell): Promise<Problem | { readonly emulated: boolean }> {
    const abilities = await this.#probed(name)
    const engine = await this.#engine(name)
    return abilities.problems[0] ?? engine.lacks?.(cell) ?? judgePlatforms(abilities, runPlatforms(cell))
  }

  async #probed(name: EngineName): Promise<Abilities> {
    const engine = await this.#engine(name)
    const abilities = this.#abilities.get(name) ?? engine.probe(this.#signal)
    this.#abilities.set(name, abilities)
    return abilities
  }
}

/** Why an engine cannot run programs of some platforms; else whether some are emulated. */
async function judgePlatforms(
  { runs }: Abilities,
  platforms: readonly Platform[],
): Promise<Problem | { readonly emulated: boolean }> {
  let emulated = false
  for (const platform of platforms) {
    const { how, problem } = (await runs?.(platform)) ?? { how: 'native' }
    if (how === 'no') return problem ?? noPrograms(formatPlatform(platform))
    if (how === 'emulated') emulated = true
  }
  return { emulated }
}

function noPrograms(platform: string): Problem {
  return {
    message: `it cannot run programs of ${platform} here`,
    hint: `give the machine that it runs on an emulator: archimage emulators install ${platform}`,
  }
}

function missing(
  run: (Pick<RunOp, 'range' | 'label'> & { readonly file: string }) | undefined,
  problems: readonly (readonly [EngineName, Problem])[],
): ArchimageError {
  const place = run && {
    place: { file: run.file, line: run.range.start.line, column: run.range.start.column, endLine: run.range.end.line },
  }
  const [only, ...more] = problems
  const code = only?.[1].code ?? 'ENGINE_MISSING'
  if (only && more.length === 0)
    return new ArchimageError(code, `${only[0]} cannot build this: ${only[1].message}`, {
      ...place,
      hint: only[1].hint ?? 'build it with another engine, or leave --engine out',
    })
  const lines = problems.map(([name, { message }]) => `\n- ${name}: ${message}`)
  const hints = new Set(problems.flatMap(([, { hint }]) => hint ?? []))
  const prebuild = 'let prebuild in archimage.yaml run the command on this machine, and COPY its result'
  return new ArchimageError(code, `no engine here can execute ${run?.label ?? 'this build'}${lines.join('')}`, {
    ...place,
    hint: [...hints, prebuild].join('\nor '),
  })
}
