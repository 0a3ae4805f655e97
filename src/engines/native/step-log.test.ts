import { expect, test } from 'bun:test'
import { StepLog } from './step-log.ts'

function heard(): { readonly log: StepLog; readonly said: string[] } {
  const said: string[] = []
  return {
    log: new StepLog(
      text => void said.push(text),
      () => {},
    ),
    said,
  }
}

const bytes = (text: string): Uint8Array => Buffer.from(text)

test('whole lines of each stream, whatever pieces they come in', () => {
  const { log, said } = heard()
  const letter = bytes('é\n')
  log.output('stdout', bytes('one\ntw'))
  log.output('stderr', bytes('error\n'))
  log.output('stdout', bytes('o\n'))
  log.output('stdout', letter.subarray(0, 1))
  log.output('stdout', letter.subarray(1))
  log.output('stderr', bytes('no end'))
  log.end()
  expect(said).toEqual(['one\n', 'error\n', 'two\n', 'é\n', 'no end\n'])
  expect(log.last).toEqual(['one', 'error', 'two', 'é', 'no end'])
})

test('a line without an end goes out in pieces; a step that never stops is heard no longer', () => {
  const { log, said } = heard()
  log.output('stdout', bytes('x'.repeat(10_000)))
  expect(said).toEqual(['x'.repeat(10_000)])
  const line = `${'y'.repeat(1 << 20)}\n`
  for (let i = 0; i < 40; i++) log.output('stdout', bytes(line))
  log.output('stderr', bytes('why it failed\n'))
  log.end()
  expect(said.join('').length).toBeLessThan(18 << 20)
  expect(said.filter(text => text.includes('left out'))).toEqual([said.at(-1)!])
  expect(log.last.at(-1)).toBe('why it failed')
})
