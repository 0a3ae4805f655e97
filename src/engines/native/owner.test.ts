import { describe, expect, test } from 'bun:test'
import type { Entry } from '../../layer/entry.ts'
import { Tree } from '../../layer/tree.ts'
import { resolveOwner } from './owner.ts'

const bytes = (text: string): Entry => ({
  ...{ type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0 },
  ...{ size: text.length, content: { kind: 'bytes', bytes: Buffer.from(text) } },
})

const tree = new Tree()
tree.put('etc', { ...bytes(''), type: 'dir' })
tree.put('etc/passwd', { ...bytes(''), type: 'symlink', link: '../usr/passwd' })
tree.put('usr/passwd', bytes('root:x:0:0\napp:x:1000:1001:x:/:/x\n\n  web:x:33:34\napp:x:1:1\n5000:x:77:78\nhalf\n'))
tree.put('etc/group', bytes('staff:x:50:app\n# comment\nwww:x:34'))

/** uid:gid, and the names that nobody knows. */
async function owner(text: string, of = tree): Promise<string> {
  const unknown: string[] = []
  const { uid, gid } = await resolveOwner(text, {
    lookup: path => of.lookup(path),
    read: async entry => Buffer.from(entry.content?.kind === 'bytes' ? entry.content.bytes : ''),
    unknown: name => unknown.push(name),
  })
  return [`${uid}:${gid}`, ...unknown].join(' ')
}

describe('owners', () => {
  test.each([
    ['7', '7:7'],
    ['7:8', '7:8'],
    ['root', '0:0'],
    ['app', '1000:1001'],
    ['web', '33:34'],
    ['app:staff', '1000:50'],
    ['7:www', '7:34'],
    ['app:9', '1000:9'],
    // A number is a number, also where /etc/passwd has a name of digits.
    ['5000', '5000:5000'],
    ['app:', '1000:0'],
    [':staff', '0:50'],
    [':', '0:0'],
    ['+5', '5:5'],
    ['-2', '4294967294:4294967294'],
  ])('%s is %s', async (text, wanted) => expect(await owner(text)).toBe(wanted))

  test('names that nobody knows are root, and told', async () => {
    expect(await owner('ghost')).toBe('0:0 ghost')
    expect(await owner('app:ghosts')).toBe('1000:1001 ghosts')
    expect(await owner('ghost:5')).toBe('0:5 ghost')
    expect(await owner('half')).toBe('0:0 half')
    expect(await owner('2147483648')).toBe('0:0 2147483648')
    expect(await owner('app', new Tree())).toBe('0:0 app')
  })
})
