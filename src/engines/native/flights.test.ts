import { expect, test } from 'bun:test'
import { isArchimageError } from '../../errors/error.ts'
import { Flights } from './flights.ts'

const never = new AbortController().signal

test('what several want is done once, and its result is kept', async () => {
  const flights = new Flights<number>()
  let done = 0
  const work = async (): Promise<number> => ++done
  const all = await Promise.all([1, 2, 3].map(() => flights.run('a', never, work)))
  expect(all.map(({ value, first }) => [value, first])).toEqual([
    [1, true],
    [1, false],
    [1, false],
  ])
  expect((await flights.run('a', never, work)).value).toBe(1)
  expect((await flights.run('b', never, work)).value).toBe(2)
})

test('a failure is everybody’s', async () => {
  const flights = new Flights<number>()
  let done = 0
  const work = async (): Promise<number> => {
    done++
    throw new Error('no')
  }
  for (const result of await Promise.allSettled([flights.run('a', never, work), flights.run('a', never, work)]))
    expect(result.status).toBe('rejected')
  expect(await flights.run('a', never, work).catch(error => error.message)).toBe('no')
  expect(done).toBe(1)
})

test('it goes on while somebody waits, and is stopped with the last one', async () => {
  const flights = new Flights<string>()
  const begun: AbortSignal[] = []
  let finish = (_: string): void => {}
  const work = (signal: AbortSignal): Promise<string> => {
    begun.push(signal)
    return new Promise(resolve => {
      finish = resolve
    })
  }
  const [one, two] = [new AbortController(), new AbortController()]
  const first = flights.run('a', one.signal, work)
  const second = flights.run('a', two.signal, work)
  one.abort()
  expect(isArchimageError(await first.catch(error => error))).toBe(true)
  expect(begun[0]!.aborted).toBe(false)
  two.abort()
  expect(await second.catch(error => error.code)).toBe('CANCELLED')
  expect(begun[0]!.aborted).toBe(true)
  const third = flights.run('a', never, work)
  expect(begun.length).toBe(2)
  finish('made')
  expect((await third).value).toBe('made')
  expect(await flights.run('a', one.signal, work).catch(error => error.code)).toBe('CANCELLED')
})
