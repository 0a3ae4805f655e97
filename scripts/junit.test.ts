import { expect, test } from 'bun:test'
import { totals } from './junit.ts'

test('totals of a report as bun writes it', () => {
  const xml =
    '<?xml version="1.0"?>\n<testsuites name="bun test" tests="12" assertions="30" failures="2" skipped="3" time="1.2">'
  expect(totals(xml)).toEqual({ passed: 7, failed: 2, skipped: 3 })
})

test('something else is not a report', () => {
  expect(() => totals('')).toThrow('not a JUnit report')
})
