import { expect, test } from 'bun:test'
import { idMap, idRanges, userName } from './sub-ids.ts'

const SUBUID = `root:1:10
app:100000:65536
1000:200000:10
app:x:5
other:300000:65536
app:400000:0
`

test('ranges of a user, by name and by number', () => {
  expect(idRanges(SUBUID, 1000, 'app')).toEqual([
    { start: 100000, count: 65536 },
    { start: 200000, count: 10 },
  ])
  expect(idRanges(SUBUID, 1000, undefined)).toEqual([{ start: 200000, count: 10 }])
  expect(idRanges('', 1000, 'app')).toEqual([])
})

test('the user is root, ranges follow', () => {
  const ranges = [
    { start: 100000, count: 65536 },
    { start: 200000, count: 10 },
  ]
  expect(idMap(1000, ranges)).toEqual([
    [0, 1000, 1],
    [1, 100000, 65536],
    [65537, 200000, 10],
  ])
})

test('names of users', () => {
  expect(userName('root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n', 1000)).toBe('app')
  expect(userName('root:x:0:0::/root:/bin/sh\n', 1000)).toBeUndefined()
})
