import { expect, test } from 'bun:test'
import { parseDuration } from './duration.ts'

// From the documentation of Go's time.ParseDuration.
test.each([
  ['0', 0],
  ['5s', 5e9],
  ['1.5h', 5400e9],
  ['1h15m30.918273645s', 4530918273645],
  ['-1.5h', -5400e9],
  ['+5s', 5e9],
  ['.5s', 5e8],
  ['1.s', 1e9],
  ['300ms', 3e8],
  ['1us', 1e3],
  ['1µs', 1e3],
  ['1μs', 1e3],
  ['1ns', 1],
  ['0.3333333333333333333h', 1200e9],
])('%p', (text, expected) => {
  expect(parseDuration(text)).toBeCloseTo(expected, -1)
})

test.each(['', '3', '-', 's', '.', '-.', '.s', '+.s', '1d', '1 s', '3000000h', '0x1s', '1m3'])('%p is none', text => {
  expect(parseDuration(text)).toBeUndefined()
})
