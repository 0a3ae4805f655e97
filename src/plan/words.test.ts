import { describe, expect, test } from 'bun:test'
import { contextNames } from './context-names.ts'
import { exposedPorts } from './expose.ts'
import { goDuration, goQuote, goQuoteList } from './go-format.ts'
import { healthText } from './health.ts'
import { needsNames, ownerNumber } from './owner-number.ts'
import { isSignal } from './signals.ts'

describe('signals', () => {
  test.each(['9', 'TERM', 'sigterm', 'SIGRTMIN+3', 'RTMAX-14', '-3', '65'])('%s is one', text => {
    expect(isSignal(text)).toBe(true)
  })
  test.each(['0', 'NOPE', 'SIG', '', 'RTMIN+16', 'RTMAX-15', '9.5', 'SIGSIGTERM'])('"%s" is none', text => {
    expect(isSignal(text)).toBe(false)
  })
})

describe('ports', () => {
  test('ranges, protocols, and host parts that are dropped', () => {
    expect(exposedPorts(['80', '53/UDP', '7-9/sctp', '127.0.0.1:1:2', '[::1]:1:3', '10-12:4', '5-5'])).toEqual([
      ...['80/tcp', '53/udp', '7/sctp', '8/sctp', '9/sctp', '2/tcp', '3/tcp', '4/tcp', '5/tcp'],
    ])
  })
  test.each(['', 'http', '65536', '80/quic', '9-8', '/tcp', '1.2.3:1:2', '1-3:4-5'])('"%s" is refused', word => {
    expect(() => exposedPorts([word])).toThrow('EXPOSE')
  })
})

describe('as Go prints', () => {
  test('%q', () => {
    expect(goQuoteList(['a', 'b c'])).toBe('["a" "b c"]')
    // strconv.Quote of the same text.
    expect(goQuote('"\\\t\n\u0001\u007fé\u200b\u{1f600}\u00a0\ue000')).toBe(
      '"\\"\\\\\\t\\n\\x01\\x7fé\\u200b😀\\u00a0\\ue000"',
    )
  })
  test('durations', () => {
    const ns = [0, 1, 1500, 1_500_000, 1e9, 90e9, 5400e9, 3_600_000_000_000 + 1e6]
    expect(ns.map(goDuration)).toEqual(['0s', '1ns', '1.5µs', '1.5ms', '1s', '1m30s', '1h30m0s', '1h0m0.001s'])
  })
  test('a health check', () => {
    expect(healthText({ Test: ['CMD', 'a', 'b'], Interval: 5e9, Retries: 3 })).toBe(
      '{Test:[CMD a b] Interval:5s Timeout:0s StartPeriod:0s StartInterval:0s Retries:3}',
    )
  })
})

describe('owners', () => {
  test('numbers are 32 bits with a sign, root is 0', () => {
    expect(['root', '0', '+5', '-1', '2147483647'].map(ownerNumber)).toEqual([0, 0, 5, -1, 2147483647])
    expect(['2147483648', '', 'app', '1.5', '0x1', ' 1'].map(ownerNumber)).toEqual(Array(6).fill(undefined))
  })
  test('who needs /etc/passwd', () => {
    expect(['1', '1:2', 'root:root', ':', '5:', ':6'].some(needsNames)).toBe(false)
    expect(['app', '1:staff', 'app:1', ':staff', '99999999999'].every(needsNames)).toBe(true)
  })
})

test('named contexts go by short names too; scratch and context are nobody', () => {
  expect(contextNames('docker.io/library/alpine:latest')).toEqual(['docker.io/library/alpine:latest', 'alpine'])
  expect(contextNames('alpine')).toEqual(['alpine'])
  expect(contextNames('reg.example.com/a:1')).toEqual(['reg.example.com/a:1'])
  expect(contextNames('Not A Reference')).toEqual(['Not A Reference'])
  expect(['scratch', 'Context'].flatMap(contextNames)).toEqual([])
})
