import { ArchimageError } from '../errors/error.ts'
import { formatPlatform, type Platform, parsePlatform, selectPlatform } from '../oci/platform.ts'
import type { RunOp } from '../plan/lowered.ts'
import type { Abilities, Cell, Engine, Problem } from './engine.ts'
import type { EngineName } from './names.ts'
import { runOps, runPlatforms } from './runs.ts'

/** Which engine builds a cell. */
export interface Choice {
  readonly engine: Engine
  /** Whether a RUN step of it runs under emulation. */
  readonly emulated: boolean
  /** Why it is not the native engine, or why it is though another could do it. */
  readonly why?: string
}

/** Makes the engines of a run; each is loaded when a cell needs it. `noSteps`: why the native one runs no RUN steps. */
export function engineLoader(noSteps?: Problem): (name: EngineName) => Promise<Engine> {
  return async name => {
    switch (name) {
      case 'native':
        return (await import('./native/engine.ts')).nativeEngine(noSteps)
      case 'docker':
        return (await import('./docker/engine.ts')).dockerEngine()
      case 'podman':
        return (await import('./podman/engine.ts')).podmanEngine()
    }
  }
}

/** The engines of a run: each is asked once what it can, and only when a cell needs it. */
export class Engines {
  readonly #forced: EngineName | undefined
  readonly #signal: AbortSignal
  readonly #load: (name: EngineName) => Promise<Engine>
  readonly #engines = new Map<EngineName, Promise<Engine>>()
  readonly #asked = new Map<EngineName, Promise<{ readonly engine: Engine; readonly abilities: Abilities }>>()

  /** `forced`: the one of `--engine`. `loader` is for tests. */
  constructor(forced: EngineName | undefined, signal: AbortSignal, loader = engineLoader()) {
    this.#forced = forced
    this.#signal = signal
    this.#load = loader
  }

  /**
   * The engines that come into question for a cell, the preferred one first. Where the native engine can build it that is
   * the only one: what another has built before is not taken in its place.
   */
  async candidates(cell: Cell): Promise<readonly EngineName[]> {
    if (this.#forced !== undefined) return [this.#forced]
    if (runOps(cell).length === 0) return ['native']
    const { engine, abilities } = await this.#probed('native')
    return problemOf(engine, abilities, cell) === undefined ? ['native'] : ['docker', 'podman']
  }

  /** The first of `names` (of `candidates`) that can build the cell. Throws ENGINE_MISSING with what each of them lacks. */
  async choose(cell: Cell, names: readonly EngineName[]): Promise<Choice> {
    const [run] = runOps(cell)
    if (run === undefined && names[0] === 'native') return { engine: await this.#engine('native'), emulated: false }
    const problems: (readonly [EngineName, Problem])[] = []
    const others = this.#forced === undefined && names[0] !== 'native' ? (['native', ...names] as const) : names
    for (const name of others) {
      const { engine, abilities } = await this.#probed(name)
      const problem = problemOf(engine, abilities, cell)
      if (problem === undefined) {
        const emulated = runPlatforms(cell).some(platform => ability(abilities, platform) === 'emulated')
        const [first] = problems
        const why = this.#forced ? `--engine ${name}` : first && `${first[0]}: ${first[1].message}`
        return { engine, emulated, ...(why === undefined ? {} : { why }) }
      }
      problems.push([name, problem])
    }
    throw missing(cell, run, problems)
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

  #probed(name: EngineName): Promise<{ readonly engine: Engine; readonly abilities: Abilities }> {
    let known = this.#asked.get(name)
    if (!known) {
      known = this.#engine(name).then(async engine => ({ engine, abilities: await engine.probe(this.#signal) }))
      this.#asked.set(name, known)
    }
    return known
  }
}

/** What runs a variant runs the lower ones as well. */
function ability({ platforms }: Abilities, platform: Platform): 'native' | 'emulated' | 'no' {
  if (platforms === undefined) return 'native'
  const exact = platforms[formatPlatform(platform)]
  if (exact !== undefined) return exact
  const higher = Object.keys(platforms).find(name => selectPlatform(parsePlatform(name), [platform]))
  return higher === undefined ? 'no' : platforms[higher]!
}

function problemOf(engine: Engine, abilities: Abilities, cell: Cell): Problem | undefined {
  const [problem] = abilities.problems
  if (problem) return problem
  const runs = runPlatforms(cell)
  if (runs.length > 0 && !abilities.features.includes('run')) return { message: 'it does not execute RUN steps' }
  const foreign = runs.find(platform => ability(abilities, platform) === 'no')
  if (foreign)
    return {
      message: `it cannot run programs of ${formatPlatform(foreign)} here`,
      hint: `install emulators for ${formatPlatform(foreign)}: apt-get install qemu-user-static binfmt-support, or docker run --privileged --rm tonistiigi/binfmt --install all`,
    }
  return engine.lacks?.(cell)
}

function missing(
  { lowered }: Cell,
  run: RunOp | undefined,
  problems: readonly (readonly [EngineName, Problem])[],
): ArchimageError {
  const place = run && {
    place: { file: lowered.file, line: run.line, column: run.range.start.column, endLine: run.range.end.line },
  }
  const [only, ...more] = problems
  if (only && more.length === 0)
    return new ArchimageError('ENGINE_MISSING', `${only[0]} cannot build this: ${only[1].message}`, {
      ...place,
      hint: only[1].hint ?? 'build it with another engine, or leave --engine out',
    })
  const lines = problems.map(([name, { message }]) => `\n- ${name}: ${message}`)
  const hints = new Set(problems.flatMap(([, { hint }]) => hint ?? []))
  const prebuild = 'let prebuild in archimage.yaml run the command on this machine, and COPY its result'
  return new ArchimageError(
    'ENGINE_MISSING',
    `no engine here can execute ${run?.label ?? 'this build'}${lines.join('')}`,
    {
      ...place,
      hint: [...hints, prebuild].join('\nor '),
    },
  )
}
