import { describe, expect, test } from 'bun:test'
import { joinPath, joinWorkdir, withoutDrive } from './paths.ts'

describe('joinPath', () => {
  test('destinations keep what says that they are folders', () => {
    const dest = (path: string): string => joinPath('/work', path, 'linux', true)
    expect(['x', 'x/', '/x/', './', '/x/.', '/', '/x/../y', 'a//b/', '/.'].map(dest)).toEqual([
      ...['/work/x', '/work/x/', '/x/', '/work/', '/x/.', '/', '/y', '/work/a/b/', '/.'],
    ])
  })

  test('on windows slashes of both kinds, the drive C: and nothing else', () => {
    const dest = (path: string): string => joinPath('C:\\work', path, 'windows', true)
    expect(['x\\y\\', 'C:\\x', 'c:x', '\\x'].map(dest)).toEqual(['/work/x/y/', '/x', '/work/x', '/x'])
    for (const path of ['D:\\x', 'C:', '\\\\server\\share']) expect(() => withoutDrive(path)).toThrow()
  })
})

describe('joinWorkdir', () => {
  test('linux: absolute paths stay as written, others are joined and cleaned', () => {
    let at = '/'
    const chain = ['/a//b/./', '', 'c/../d', '', '..', '/x/..'].map(path => (at = joinWorkdir(at, path, 'linux')))
    expect(chain).toEqual(['/a//b/./', '/a//b/./', '/a/b/d', '/a/b/d', '/a/b', '/x/..'])
  })

  test('windows: backslashes, no drive', () => {
    expect(joinWorkdir('', 'C:\\a/b', 'windows')).toBe('\\a\\b')
    expect(joinWorkdir('\\a\\b', 'c', 'windows')).toBe('\\a\\b\\c')
    expect(joinWorkdir('/', '/', 'windows')).toBe('\\')
  })
})
