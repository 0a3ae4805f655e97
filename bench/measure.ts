import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Contender {
  readonly name: string
  /** Fewer rounds than the others, for one that takes very long. */
  readonly rounds?: number
  /** Brings about the state from which `run` starts; not measured. `round` counts from 0. */
  readonly prepare?: (round: number) => void | Promise<void>
  /** What is measured. */
  readonly run: (round: number) => Promise<void>
  /** Looks at what `run` made and throws when it is not what was asked for; not measured. */
  readonly check?: (round: number) => void | Promise<void>
}

export interface Bench {
  readonly name: string
  readonly title: string
  readonly rounds: number
  readonly contenders: readonly Contender[]
  /** archimage's time must be at most `ratio` times that of the peer named, or of the best one. */
  readonly target?: { readonly ratio: number; readonly of: string }
  /** Or at most so many milliseconds. */
  readonly limit?: number
  /** Lines printed after the table: sizes, memory. */
  readonly remarks?: () => string[] | Promise<string[]>
}

export interface Result {
  readonly name: string
  readonly title: string
  readonly rounds: number
  /** Milliseconds of every round, by contender. */
  readonly times: Readonly<Record<string, readonly number[]>>
  readonly medians: Readonly<Record<string, number>>
  readonly target?: string
  readonly ratio?: number
  readonly met?: boolean
  readonly remarks: readonly string[]
}

export const ARCHIMAGE = 'archimage'

/** All contenders in turn, round by round, so that what else the machine does meets all of them. */
export async function measure(bench: Bench): Promise<Result> {
  const times: Record<string, number[]> = {}
  for (let round = 0; round < bench.rounds; round++) {
    for (const { name, prepare, run, check, rounds = bench.rounds } of bench.contenders) {
      if (round >= rounds) continue
      await prepare?.(round)
      const started = performance.now()
      await run(round)
      const list = times[name] ?? []
      times[name] = [...list, performance.now() - started]
      await check?.(round)
    }
    process.stderr.write('.')
  }
  process.stderr.write('\n')
  const medians = Object.fromEntries(Object.entries(times).map(([name, list]) => [name, median(list)]))
  const remarks = (await bench.remarks?.()) ?? []
  return {
    name: bench.name,
    title: bench.title,
    rounds: bench.rounds,
    times,
    medians,
    ...verdict(bench, medians),
    remarks,
  }
}

function verdict(bench: Bench, medians: Readonly<Record<string, number>>): Pick<Result, 'target' | 'ratio' | 'met'> {
  const ours = medians[ARCHIMAGE]
  if (ours === undefined) return {}
  if (bench.limit !== undefined) return { target: `≤ ${bench.limit} ms`, met: ours <= bench.limit }
  if (bench.target === undefined) return {}
  const { ratio, of } = bench.target
  const peers = Object.entries(medians).filter(([name]) => name !== ARCHIMAGE && (of === 'the best' || name === of))
  const target = `≤ ${ratio} × ${of}`
  if (peers.length === 0) return { target }
  const measured = ours / Math.min(...peers.map(([, time]) => time))
  return { target, ratio: measured, met: measured <= ratio }
}

export function report(result: Result): string {
  const ours = result.medians[ARCHIMAGE]
  const rows = Object.entries(result.medians).map(([name, time]) => {
    const list = result.times[name]!
    const range = `${milliseconds(Math.min(...list))} … ${milliseconds(Math.max(...list))}`
    const ratio = ours === undefined || name === ARCHIMAGE ? '' : `archimage ${(ours / time).toFixed(2)} ×`
    return `  ${name.padEnd(12)}${milliseconds(time).padStart(11)}   ${range.padEnd(26)}${ratio}`
  })
  const verdict =
    result.target === undefined
      ? []
      : [
          `  target ${result.target}: ${result.met === undefined ? 'no peer to compare with' : result.met ? 'met' : 'MISSED'}`,
        ]
  const head = `${result.name}: ${result.title} (median of ${result.rounds})`
  return [head, ...rows, ...verdict, ...result.remarks.map(line => `  ${line}`), ''].join('\n')
}

/** Writes the result as dist/bench/NAME.json below `root`. */
export function save(root: string, result: Result): void {
  const folder = join(root, 'dist/bench')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${result.name}.json`), `${JSON.stringify(result, null, 2)}\n`)
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

function milliseconds(value: number): string {
  return value < 1000 ? `${value.toFixed(1)} ms` : `${(value / 1000).toFixed(2)} s`
}
