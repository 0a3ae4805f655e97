// npm run fuzz -- SUBJECT [--runs N] [--seed N]: properties of the Dockerfile language, and comparisons with BuildKit's own packages.
import { parseArgs } from 'node:util'
import fc from 'fast-check'
import { compareConversion, compareExpansion, compareGlobs, compareIgnoring, compareParsing } from './differential.ts'
import { PROPERTIES } from './properties.ts'

const COMPARISONS = {
  'buildkit-parser': compareParsing,
  'buildkit-expansion': compareExpansion,
  'buildkit-lowering': compareConversion,
  'buildkit-ignore': compareIgnoring,
  'buildkit-glob': compareGlobs,
}
/** Inputs that are made, asked about and forgotten at a time. */
const BATCH = 20_000
/** A single input that takes longer is a find, too. */
const SLOW = 2_000

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: 'string', default: '100000' }, seed: { type: 'string' }, list: { type: 'boolean' } },
})
const subjects = { ...PROPERTIES, ...COMPARISONS }
const runs = Number(values.runs)
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed)

if (values.list || positionals.length === 0) {
  for (const [name, { about }] of Object.entries(PROPERTIES)) console.log(`${name.padEnd(20)} ${about}`)
  for (const name of Object.keys(COMPARISONS))
    console.log(`${name.padEnd(20)} the same as BuildKit; needs dockerfile-oracle, which .ci/run compiles`)
}
for (const name of positionals) {
  if (!Object.hasOwn(subjects, name)) throw new Error(`no subject "${name}"; npm run fuzz -- --list names them`)
  const started = performance.now()
  console.log(`${name}: ${runs} runs, seed ${seed}`)
  const compare = (COMPARISONS as Readonly<Record<string, typeof compareParsing>>)[name]
  if (compare !== undefined) {
    for (let done = 0; done < runs; done += BATCH) {
      const found = await compare({ runs: Math.min(BATCH, runs - done), seed: seed + done })
      if (found.length > 0)
        throw new Error(`${found.join('\n\n')}\n\n${found.length} or more differ; seed ${seed + done}`)
    }
  } else {
    let last = performance.now()
    const { check } = PROPERTIES[name]!
    check.beforeEach(() => {
      last = performance.now()
    })
    check.afterEach(() => {
      const spent = performance.now() - last
      if (spent > SLOW) throw new Error(`one input took ${spent.toFixed(0)} ms`)
    })
    await fc.assert(check, { numRuns: runs, seed })
  }
  console.log(`${name}: nothing found in ${((performance.now() - started) / 1000).toFixed(0)} s`)
}
