import { expect, test } from 'bun:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Slots } from './slots.ts'

test('never more at a time than there are slots, in the order of asking; a failure gives its slot back', async () => {
  const slots = new Slots(2)
  let [now, most] = [0, 0]
  const begun: number[] = []
  const work = (i: number) =>
    slots.run(async () => {
      begun.push(i)
      most = Math.max(most, ++now)
      await sleep(3)
      now--
      if (i % 3 === 0) throw new Error(`no ${i}`)
      return i
    })
  const ended = await Promise.allSettled([0, 1, 2, 3, 4, 5, 6].map(work))
  expect(most).toBe(2)
  expect(begun).toEqual([0, 1, 2, 3, 4, 5, 6])
  expect(ended.map(one => one.status === 'fulfilled')).toEqual([false, true, true, false, true, true, false])
})

test('weight counts; what is heavier than everything runs alone, and is not overtaken', async () => {
  const slots = new Slots(3)
  const begun: string[] = []
  const gates = new Map<string, () => void>()
  const work = (name: string, weight: number): Promise<void> =>
    slots.run(
      () =>
        new Promise<void>(resolve => {
          begun.push(name)
          gates.set(name, resolve)
        }),
      weight,
    )
  const end = async (name: string): Promise<void> => {
    gates.get(name)!()
    await sleep(1)
  }
  const all = [work('a', 2), work('heavy', 9), work('b', 1), work('c', 1)]
  await sleep(1)
  expect(begun).toEqual(['a'])
  await end('a')
  expect(begun).toEqual(['a', 'heavy'])
  await end('heavy')
  expect(begun).toEqual(['a', 'heavy', 'b', 'c'])
  await end('b')
  await end('c')
  await Promise.all(all)
})
