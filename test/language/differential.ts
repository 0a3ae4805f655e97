import fc from 'fast-check'
import { compileGlob } from '../../src/context/glob.ts'
import { type IgnoreState, parseIgnoreFile } from '../../src/context/ignore.ts'
import { expandHeredoc, expandWord, expandWords } from '../../src/dockerfile/expand.ts'
import { parseDockerfile } from '../../src/dockerfile/parse.ts'
import { isArchimageError } from '../../src/errors/error.ts'
import { dockerfile, globbing, ignoring, VARIABLES, word } from './arbitraries.ts'
import { conversionOfAnswer, convert } from './conversion.ts'
import { askBuildKit } from './oracle.ts'
import { outline, outlineOfAnswer } from './outline.ts'
import { type ProjectCase, project, questionOf } from './projects.ts'

/** How much is compared: so many inputs that this seed makes. */
export interface Amount {
  readonly runs: number
  readonly seed: number
}

/** Inputs that BuildKit and archimage understand differently, each with what they say; no more than twenty. */
export type Differences = readonly string[]

const wellFormed = <T>(text: (one: T) => string, amount: Amount, arbitrary: fc.Arbitrary<T>): T[] =>
  fc.sample(arbitrary, { numRuns: amount.runs, seed: amount.seed }).filter(one => text(one).isWellFormed())

interface GoExpansion {
  readonly error?: string
  readonly value: string
  readonly words: readonly string[] | null
  readonly matched: readonly string[]
  readonly unmatched: readonly string[]
}

/** Variable expansion: words and heredocs, both escape characters, all settings. */
export async function compareExpansion(amount: Amount): Promise<Differences> {
  const arbitrary = fc.record({
    word,
    escape: fc.constantFrom('\\' as const, '\\' as const, '`' as const),
    rawQuotes: fc.boolean(),
    skipUnset: fc.boolean(),
    skipQuotes: fc.constantFrom(false, false, false, true),
  })
  const cases = wellFormed(one => one.word, amount, arbitrary)
  const env = { get: (name: string) => (Object.hasOwn(VARIABLES, name) ? VARIABLES[name] : undefined) }
  const answers = await askBuildKit(
    cases.map(one => ({ ask: 'expand', env: VARIABLES, ...one, escape: one.skipQuotes ? '\\' : one.escape })),
  )
  const sorted = (list: readonly string[]): string => [...list].sort().join()
  return differences(cases, (one, i) => {
    const theirs = answers[i]! as unknown as GoExpansion
    const options = { escape: one.escape, keepQuotes: one.rawQuotes, keepUnset: one.skipUnset }
    const ours = refusalOr(() => (one.skipQuotes ? expandHeredoc : expandWord)(one.word, env, options))
    if (typeof ours === 'string' || theirs.error !== undefined)
      return typeof ours === 'string' && theirs.error !== undefined ? undefined : [theirs.error ?? theirs, ours]
    const agree =
      ours.value === theirs.value &&
      sorted(ours.matched) === sorted(theirs.matched) &&
      sorted(ours.unmatched) === sorted(theirs.unmatched)
    // BuildKit loses what stands before `${x:-y}` in a word when it splits (docs/differences.md).
    const split = one.skipQuotes || /\$\{[^}]*[^}\w]/.test(one.word) || /\$[^{]*\{/.test(one.word)
    const words = split ? undefined : expandWords(one.word, env, options).words
    return agree && (words === undefined || sorted(words) === sorted(theirs.words ?? []))
      ? undefined
      : [theirs, { ...ours, words }]
  })
}

/** Whole Dockerfiles: the instructions, their lines and fields, or the line at which they are refused. */
export async function compareParsing(amount: Amount): Promise<Differences> {
  const cases = wellFormed(text => text, amount, dockerfile)
  const answers = await askBuildKit(cases.map(text => ({ ask: 'parse', dockerfile: text })))
  return differences(cases, (text, i) => {
    const theirs = answers[i]!
    const ours = refusalOr(() => parseDockerfile(text, 'Dockerfile'))
    if (typeof ours !== 'string') {
      if (theirs.error !== undefined) return [theirs.error, 'no error']
      const [a, b] = [outlineOfAnswer(theirs, true).join('\n'), outline(ours, true).join('\n')]
      return a === b || isBeyondAscii(text) ? undefined : [a, b]
    }
    if (isApart(text, ours, theirs.error)) return undefined
    const line = Number(/^\d+/.exec(ours)?.[0])
    return theirs.error !== undefined && (theirs.lines === undefined || theirs.lines.includes(line))
      ? undefined
      : [`${theirs.lines}: ${theirs.error ?? 'no error'}`, ours]
  })
}

/** Lowered for a platform: config, history and operations, or the line of the refusal. */
export async function compareConversion(amount: Amount): Promise<Differences> {
  const cases = fc.sample(project, { numRuns: amount.runs, seed: amount.seed })
  const answers = await askBuildKit(cases.map(questionOf))
  const results = await Promise.all(cases.map(async one => convert(one).catch(refusal)))
  return differences(cases, (one, i) => {
    const [theirs, ours] = [answers[i]!, results[i]!]
    if (typeof ours !== 'string') {
      if (theirs.error !== undefined) return [theirs.error, 'no error']
      const [a, b] = [conversionOfAnswer(theirs), ours].map(one => JSON.stringify(one, null, 1))
      return a === b ? undefined : where(a!, b!)
    }
    if (isLater(one, ours)) return undefined
    const line = Number(/^\d+/.exec(ours)?.[0])
    // Of several bases that cannot be had any may be the first: they are asked for at once.
    // Of several circles too: BuildKit takes what a stage needs in any order.
    const anyOf = /failed to parse stage name|not found|circular dependency/.test(theirs.error ?? '')
    return theirs.error !== undefined && (!theirs.lines?.length || anyOf || theirs.lines.includes(line))
      ? undefined
      : [`${theirs.lines}: ${theirs.error ?? 'no error'}`, ours]
  })
}

/** Ignore files: which of the paths of a context are left out. */
export async function compareIgnoring(amount: Amount): Promise<Differences> {
  const cases = fc.sample(ignoring, { numRuns: amount.runs, seed: amount.seed })
  const answers = await askBuildKit(cases.map(({ file, paths }) => ({ ask: 'match', patterns: file, paths })))
  return differences(cases, ({ file, paths }, i) => {
    const ours = refusalOr(() => ignoredPaths(file, paths))
    // moby reads a pattern when it is first asked, and a path may have been decided before.
    if (typeof ours === 'string') return undefined
    const { error, matched } = answers[i]!
    return error === undefined && String(matched) === String(ours) ? undefined : [error ?? matched, ours]
  })
}

/** Whether each of the paths, parents first, is ignored. */
export function ignoredPaths(file: string, paths: readonly string[]): boolean[] {
  const rules = parseIgnoreFile(Buffer.from(file), '.dockerignore')
  const states = new Map<string, IgnoreState>()
  return paths.map(path => {
    if (rules === undefined) return false
    const slash = path.lastIndexOf('/')
    const parent = slash < 0 ? rules.root : states.get(path.slice(0, slash))!
    states.set(path, rules.descend(path, parent))
    return rules.ignores(path, parent)
  })
}

/** Patterns of COPY for one name: Go's filepath.Match. */
export async function compareGlobs(amount: Amount): Promise<Differences> {
  const cases = fc.sample(globbing, { numRuns: amount.runs, seed: amount.seed })
  const answers = await askBuildKit(
    cases.map(({ pattern, names }) => ({ ask: 'glob', patterns: pattern, paths: names })),
  )
  return differences(cases, ({ pattern, names }, i) => {
    const glob = compileGlob(pattern)
    const { error, matched } = answers[i]!
    // Go reads a pattern only as far as the name leads.
    if (glob === undefined) return undefined
    // Its star may end within a character, and the rest of that is none of a class.
    if (/\*.*\[\^/.test(pattern) && /[^\0-\x7f]/.test(names.join(''))) return undefined
    const ours = names.map(glob)
    return error === undefined && String(matched) === String(ours) ? undefined : [error ?? matched, ours]
  })
}

/** What BuildKit finds out only when it builds, and what docs/differences.md says of stages. */
function isLater({ dockerfile }: ProjectCase, ours: string): boolean {
  return (
    /no \/etc\/passwd to look|does not exist|no stage with the index|the root itself|env has no name/.test(ours) ||
    // A trigger that takes from its own stage gets what that stage has so far.
    (dockerfile.includes('FROM onb AS dep') && ours.includes('"dep"'))
  )
}

/** What docs/differences.md says of refusals. */
function isApart(text: string, ours: string, theirs: string | undefined): boolean {
  return (
    // BuildKit sees these later than its parser.
    (theirs === undefined && ours.includes('has no FROM')) ||
    // BuildKit would hand the file to that frontend.
    ours.includes('asks for another frontend') ||
    // Counted from zero there.
    /is empty|parser directive|escape directive/.test(ours) ||
    // What ONBUILD holds back is read when it is defined, not when it is used.
    /onbuild/i.test(text) ||
    // A word that is split loses what stands before `${x:-y}`, also a heredoc's delimiter.
    /<<.*\$\{/s.test(text) ||
    isBeyondAscii(text)
  )
}

/** BuildKit reads flags byte by byte, and cuts one byte off a comment behind blanks. */
function isBeyondAscii(text: string): boolean {
  return /--|#/.test(text) && /[^\0-\x7f]/.test(text)
}

/** The parts of two long texts where they differ. */
function where(a: string, b: string): readonly string[] {
  let at = 0
  while (a[at] === b[at]) at++
  return [a, b].map(text => text.slice(Math.max(0, at - 100), at + 200))
}

/** The result, or the line and the words of the refusal. Anything else that is thrown is a bug. */
function refusalOr<T>(work: () => T): T | string {
  try {
    return work()
  } catch (error) {
    return refusal(error)
  }
}

function refusal(error: unknown): string {
  if (!isArchimageError(error)) throw error
  return `${error.place?.line ?? ''}: ${error.message}`
}

function differences<T>(
  cases: readonly T[],
  compare: (one: T, index: number) => readonly unknown[] | undefined,
): Differences {
  const found: string[] = []
  for (const [i, one] of cases.entries()) {
    const pair = compare(one, i)
    if (pair === undefined) continue
    const text = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))
    found.push(`${JSON.stringify(one)}\nBuildKit:  ${text(pair[0])}\narchimage: ${text(pair[1])}`)
    if (found.length === 20) break
  }
  return found
}
