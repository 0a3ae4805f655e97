import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { AMD64, ARM64, cell, digestOf, failedRun } from './sample-run.ts'
import { foldState, initialState, interimResult } from './state.ts'

// biome-ignore lint/suspicious/noExplicitAny: a JSON schema and what it describes can be anything
type Json = any
const schema: Json = JSON.parse(readFileSync(new URL('../../schema/result.schema.json', import.meta.url), 'utf8'))

const typeOf = (value: Json): string => (Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value)

/** The part of JSON Schema 2020-12 that our schema uses; a keyword that it does not know is an error, never ignored. */
function problems(value: Json, rule: Json, at = '$'): string[] {
  const found: string[] = []
  const check = (ok: boolean, what: string): void => void (ok || found.push(`${at}: ${what}`))
  for (const [keyword, argument] of Object.entries<Json>(rule)) {
    if (keyword === '$ref') found.push(...problems(value, schema.$defs[argument.replace('#/$defs/', '')], at))
    else if (keyword === 'type')
      check(argument === 'integer' ? Number.isInteger(value) : typeOf(value) === argument, `is no ${argument}`)
    else if (keyword === 'const') check(value === argument, `is not ${argument}`)
    else if (keyword === 'enum') check(argument.includes(value), `is none of ${argument}`)
    else if (keyword === 'pattern') check(new RegExp(argument, 'u').test(value), 'has another form')
    else if (keyword === 'minimum') check(value >= argument, 'is too small')
    else if (keyword === 'required') for (const key of argument) check(Object.hasOwn(value, key), `lacks ${key}`)
    else if (keyword === 'properties') {
      for (const key of Object.keys(argument))
        if (Object.hasOwn(value, key)) found.push(...problems(value[key], argument[key], `${at}.${key}`))
    } else if (keyword === 'additionalProperties') {
      for (const key of Object.keys(value)) check(Object.hasOwn(rule.properties, key), `has ${key}`)
    } else if (keyword === 'items') {
      for (const [i, item] of value.entries()) found.push(...problems(item, argument, `${at}[${i}]`))
    } else if (!['$schema', '$defs', 'title', 'description'].includes(keyword)) throw new Error(`unknown: ${keyword}`)
  }
  return found
}

/** Every place of an object inside the value. */
function* objects(value: Json): Generator<Json> {
  if (typeof value !== 'object' || value === null) return
  if (!Array.isArray(value)) yield value
  for (const child of Object.values(value)) yield* objects(child)
}

describe('schema of the result file', () => {
  test('accepts a result that has every optional field', () => expect(problems(failedRun, schema)).toEqual([]))

  test('accepts the interim result of a run', () => {
    const state = initialState()
    foldState(state, { type: 'run-started', cells: [cell('a', AMD64), cell('a', ARM64)], jobs: 1, project: 'x' }, 0)
    const outcome = { state: 'built', reason: '', seconds: 0, digest: digestOf('1') } as const
    foldState(state, { type: 'cell-ended', cell: cell('a', AMD64), ...outcome }, 5)
    expect(problems(JSON.parse(JSON.stringify(interimResult(state, 77))), schema)).toEqual([])
  })

  test('refuses a field that it does not describe, at every place', () => {
    const result = structuredClone(failedRun)
    for (const object of [...objects(result)]) {
      object.unexpected = 1
      expect(problems(result, schema)).not.toEqual([])
      delete object.unexpected
    }
  })

  test('refuses a result that lacks what must be there, at every place', () => {
    const optional = ['digest', 'configDigest', 'size', 'fallback', 'failure', 'hint', 'file', 'line', 'column']
    optional.push('endLine', 'excerpt', 'excerptLine', 'log', 'logFile', 'steps', 'sandbox')
    const result = structuredClone(failedRun)
    for (const object of [...objects(result)])
      for (const key of Object.keys(object)) {
        // A tag's digest must be there, and a step's line.
        const needed = ['reference', 'shared'].some(other => Object.hasOwn(object, other))
        const must = key !== 'native' && (!optional.includes(key) || needed)
        const { [key]: value } = object
        delete object[key]
        expect([key, problems(result, schema).length > 0]).toEqual([key, must])
        object[key] = value
      }
  })

  test('refuses wrong values', () => {
    const wrong: Json[] = [
      { version: 2 },
      { exitCode: 4 },
      { seconds: -1 },
      { started: 'yesterday' },
      { warnings: [1] },
      { cells: [{ ...failedRun.cells[0], state: 'running' }] },
      { cells: [{ ...failedRun.cells[0], digest: 'latest' }] },
    ]
    for (const change of wrong)
      expect([change, problems({ ...failedRun, ...change }, schema).length]).toEqual([change, 1])
  })
})
