import { afterAll, describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryFolder } from '../peers/index.ts'
import { dir, file, hard, link } from './bases.ts'
import type { Result } from './builders.ts'
import { differences } from './compare.ts'
import { Context } from './context.ts'
import type { Image } from './image.ts'
import { type Entry, readTar, writeTar } from './tar.ts'
import { flatten } from './tree.ts'

const folder = temporaryFolder('fit')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** One line an entry, as Python's tarfile sees it; undefined without Python. */
function pythonListing(archive: string): string[] | undefined {
  const script =
    'import sys,tarfile\nfor m in tarfile.open(sys.argv[1]):\n  print(m.name, m.type.decode().replace(chr(0), "0"), oct(m.mode), m.uid, m.gid, m.size if m.isreg() else 0, m.linkname, sep="|")'
  const { status, stdout } = spawnSync('python3', ['-c', script, archive], { encoding: 'utf8' })
  return status === 0 ? stdout.split('\n').filter(Boolean) : undefined
}

const FLAGS = { file: 0, hardlink: 1, symlink: 2, char: 3, block: 4, dir: 5, fifo: 6 } as const
const listing = (entries: readonly Entry[]): string[] =>
  entries.map(({ path, type, mode, uid, gid, data, link = '' }) =>
    [path, FLAGS[type], `0o${mode!.toString(8)}`, uid, gid, data?.length ?? 0, link].join('|'),
  )

describe('reading and writing tar', () => {
  test.each(['ustar', 'gnu', 'posix', 'v7'])("GNU tar's %s is read as Python reads it", format => {
    const context = new Context(join(folder, format))
    context.file('t/a', 'abc', 0o4751).hardlink('t/b', 't/a').symlink('t/l', 'ä').dir('t/d', 0o1777)
    if (format !== 'v7') context.fifo('t/p').file(`t/${'long/'.repeat(18)}${'n'.repeat(90)}`)
    context.sh(`tar --format=${format} --owner=123 --group=45 -cf x.tar t`)
    const archive = join(context.folder, 'x.tar')
    const python = pythonListing(archive)
    if (python) expect(listing(readTar(readFileSync(archive)))).toEqual(python)
  })

  test('what is written is read, by tar and by us', () => {
    const entries = [
      dir('d', 0o700),
      file(`d/${'n'.repeat(150)}`, 'x', 0o600),
      link('l', 't'.repeat(150)),
      hard('h', 'l'),
    ]
    const context = new Context(join(folder, 'own'))
      .file('x.tar', writeTar(entries))
      .sh('mkdir out; tar -xf x.tar -C out')
    expect(readTar(writeTar(entries)).map(({ path, type, link }) => ({ path, type, link }))).toEqual(
      entries.map(({ path, type, link }) => ({ path, type, link })),
    )
    expect(readFileSync(join(context.folder, 'out', 'd', 'n'.repeat(150)), 'utf8')).toBe('x')
  })
})

describe('flattening', () => {
  const flat = (...layers: Entry[][]): Record<string, string> => Object.fromEntries(flatten(layers))

  test('whiteouts, opaque folders and replacements', () => {
    const lower = [dir('d'), file('d/a', 'a'), dir('o'), file('o/a', 'a'), dir('r'), file('r/x', 'x')]
    const upper = [file('d/.wh.a', ''), file('o/b', 'b'), file('o/.wh..wh..opq', ''), link('r', 'd')]
    expect(Object.keys(flat(lower, upper))).toEqual(['d', 'o', 'o/b', 'r'])
  })

  test('hard links, also when one name goes', () => {
    const lower = [file('a', 'x', 0o600), hard('b', 'a', 0o640), hard('c', 'a', 0o640)]
    expect(flat(lower)['a']).toContain('file 0640 0:0 1 bytes')
    expect(flat(lower)['a']).toEndWith('= a = b = c')
    expect(flat(lower, [file('b', 'y')])['a']).toEndWith('= a = c')
  })

  test('entries below links', () => {
    expect(Object.keys(flat([dir('usr'), link('bin', 'usr')], [file('bin/x')]))).toEqual(['bin', 'usr', 'usr/x'])
  })
})

describe('comparing', () => {
  const image = (entries: Entry[], config: object = {}, history: object[] = []): Result => {
    const one: Image = {
      platform: 'linux/amd64',
      config: config as Record<string, unknown>,
      history: history as Record<string, unknown>[],
      layers: [entries],
      tree: flatten([entries]),
    }
    return { images: new Map([[one.platform, one]]) }
  }
  const one = image([file('a')], { config: { Env: ['A=1'] } }, [{ created_by: 'x' }])

  test('equal images do not differ', () => {
    expect(
      differences(one, image([file('a')], { config: { Env: ['A=1'], Cmd: null } }, [{ created_by: 'x' }])),
    ).toEqual([])
  })

  test.each<[string, Result]>([
    ['a mode', image([file('a', 'a\n', 0o600)], { config: { Env: ['A=1'] } }, [{ created_by: 'x' }])],
    ['a byte', image([file('a', 'b\n')], { config: { Env: ['A=1'] } }, [{ created_by: 'x' }])],
    ['a variable', image([file('a')], { config: { Env: ['A=2'] } }, [{ created_by: 'x' }])],
    ['an unknown field', image([file('a')], { config: { Env: ['A=1'], X: '' } }, [{ created_by: 'x' }])],
    ['a line of history', image([file('a')], { config: { Env: ['A=1'] } }, [{ created_by: 'x', empty_layer: true }])],
  ])('%s is one difference', (_, other) => {
    expect(differences(one, other)).toHaveLength(1)
  })

  test('refusals agree when they name the same line', () => {
    const refusal = (...lines: number[]): Result => ({ refusal: 'no', lines })
    expect(differences(refusal(3), refusal(3))).toEqual([])
    expect(differences(refusal(3), refusal(2))).toHaveLength(1)
    expect(differences(refusal(3), refusal())).toHaveLength(1)
    expect(differences(refusal(), refusal(2))).toEqual([])
    expect(differences(refusal(3), one)).toHaveLength(1)
    expect(differences(one, refusal(3))).toHaveLength(1)
  })
})
