import { test } from 'bun:test'
import fc from 'fast-check'
import { PROPERTIES } from './properties.ts'

/** `npm run fuzz` tries as many as there is time for. */
const RUNS = 3_000

for (const [name, { about, check }] of Object.entries(PROPERTIES))
  test(`${name}: ${about}`, async () => {
    await fc.assert(check, { numRuns: RUNS })
  })
