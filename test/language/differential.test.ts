import { expect } from 'bun:test'
import { requirePeers } from '../peers/require.ts'
import { compareConversion, compareExpansion, compareGlobs, compareIgnoring, compareParsing } from './differential.ts'

// Seeds are fixed, so that a commit fails for what it changes. `npm run fuzz -- --list` has the same with any seed and amount.
const compared = requirePeers('dockerfile-oracle')

compared('words mean what BuildKit makes of them', async () => {
  expect(await compareExpansion({ runs: 20_000, seed: 1 })).toEqual([])
})

compared('Dockerfiles are split, understood and refused as by BuildKit', async () => {
  expect(await compareParsing({ runs: 20_000, seed: 1 })).toEqual([])
})

compared('config, history and operations are those of BuildKit, for six platforms', async () => {
  expect(await compareConversion({ runs: 10_000, seed: 1 })).toEqual([])
})

compared('ignore files leave out what moby leaves out', async () => {
  expect(await compareIgnoring({ runs: 20_000, seed: 1 })).toEqual([])
})

compared('patterns of names are those of Go', async () => {
  expect(await compareGlobs({ runs: 20_000, seed: 1 })).toEqual([])
})
