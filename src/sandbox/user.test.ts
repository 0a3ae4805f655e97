import { afterAll, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findUser, lookUpUser } from './user.ts'

const PASSWD = `root:x:0:0:root:/root:/bin/sh
# a comment
app:x:1000:1000:App:/home/app:/bin/sh
app:x:2000:2000:second:/second:/bin/sh
5000:x:77:78:a name of digits:/digits:/
broken:x:abc:def
homeless:x:1500:1500
mac:x:-2:-2:::
`
const GROUP = `root:x:0:
#wheel:x:9:app
staff:x:50:app,root
www:x:34:app
app:x:1000:
60:x:61:
`
const find = (user: string) => findUser(user, PASSWD, GROUP)

// Expected values: what github.com/moby/sys/user and BuildKit's executor/oci/user.go give.
const cases: readonly [user: string, uid: number, gid: number, groups: readonly number[], home: string][] = [
  ['', 0, 0, [0, 50], '/root'],
  ['root', 0, 0, [0, 50], '/root'],
  ['0', 0, 0, [0, 50], '/root'],
  ['app', 1000, 1000, [1000, 50, 34], '/home/app'],
  ['1000', 1000, 1000, [1000, 50, 34], '/home/app'],
  ['app:www', 1000, 34, [34], '/home/app'],
  ['app:34', 1000, 34, [34], '/home/app'],
  ['app:9999', 1000, 9999, [9999], '/home/app'],
  ['1000:1000', 1000, 1000, [1000], '/home/app'],
  ['root:root', 0, 0, [0], '/root'],
  ['4294967294:1', 4294967294, 1, [1], '/'],
  ['4321', 4321, 0, [0], '/'],
  ['4321:www', 4321, 34, [34], '/'],
  ['5000', 5000, 0, [0], '/'],
  ['app:60', 1000, 60, [60], '/home/app'],
  [':www', 0, 34, [34], '/root'],
  ['broken', 0, 0, [0], '/root'],
  ['homeless', 1500, 1500, [1500], '/'],
]

for (const [user, uid, gid, groups, home] of cases)
  test(`USER ${user}`, () => expect(find(user)).toEqual({ uid, gid, groups, home }))

test('names that are not there, with the nearest one', () => {
  expect(() => find('appp')).toThrow(/user "appp" is not in the image's \/etc\/passwd/)
  expect(() => find('app:wwww')).toThrow(/group "wwww" is not in the image's \/etc\/group/)
  expect(() => find('wheel')).toThrow('is not in')
  expect(() => find('app:wheel')).toThrow('is not in')
  expect(() => find('2147483648')).toThrow('ids are from 0 to 2147483647')
  // -1 would leave the ids of the process as they are: root's.
  expect(() => find('4294967295:4294967295')).toThrow('ids are from 0')
  expect(() => findUser('big', 'big:x:4294967296:0:::', '')).toThrow('ids are from 0')
  expect(() => find('mac')).toThrow('ids are from 0')
  let hint: unknown
  try {
    find('appp')
  } catch (error) {
    hint = (error as { hint?: string }).hint
  }
  expect(hint).toContain('app')
})

test('without files numbers work, and root', () => {
  expect(findUser('', '', '')).toEqual({ uid: 0, gid: 0, groups: [0], home: '/' })
  expect(findUser('7:8', '', '')).toEqual({ uid: 7, gid: 8, groups: [8], home: '/' })
  expect(() => findUser('app', '', '')).toThrow('is not in')
})

const dir = mkdtempSync(join(tmpdir(), 'archimage-user-'))
afterAll(() => rmSync(dir, { recursive: true }))

test('the files are those of the root, whatever links say', () => {
  mkdirSync(join(dir, 'root/usr/etc'), { recursive: true })
  mkdirSync(join(dir, 'outside'))
  for (const folder of ['root/usr/etc', 'outside'])
    writeFileSync(join(dir, folder, 'passwd'), `who:x:${folder.length}:0::/:\n`)
  symlinkSync('/usr/etc', join(dir, 'root/etc'))
  expect(lookUpUser(join(dir, 'root'), 'who').uid).toBe('root/usr/etc'.length)
  rmSync(join(dir, 'root/etc'))
  // Seen from the machine it leads to `outside`, seen from the root to nothing.
  symlinkSync('../outside', join(dir, 'root/etc'))
  expect(() => lookUpUser(join(dir, 'root'), 'who')).toThrow('is not in')
  rmSync(join(dir, 'root/etc'))
  mkdirSync(join(dir, 'root/etc/passwd'), { recursive: true })
  expect(() => lookUpUser(join(dir, 'root'), 'who')).toThrow('is a folder')
})
