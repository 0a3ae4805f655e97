import { describe, expect, test } from 'bun:test'
import { applyChmod, parseChmod } from './chmod.ts'

const apply = (text: string, mode: number, directory = false): number | undefined => {
  const parsed = parseChmod(text)
  return parsed && applyChmod(mode, directory, parsed)
}

describe('chmod', () => {
  // Expected values are those of chmod(1) of GNU coreutils with umask 0 on files and directories of these modes.
  test.each([
    ['755', 0o644, false, 0o755],
    ['0', 0o777, false, 0],
    ['4755', 0o600, false, 0o4755],
    ['07777', 0, false, 0o7777],
    ['u=rwX,go=rX', 0o644, false, 0o644],
    ['u=rwX,go=rX', 0o700, true, 0o755],
    ['u=rwX,go=rX', 0o754, false, 0o755],
    ['+x', 0o644, false, 0o755],
    ['a+X', 0o644, false, 0o644],
    ['a+X', 0o644, true, 0o755],
    ['go-rwx', 0o755, false, 0o700],
    ['g=u', 0o750, false, 0o770],
    ['o+u', 0o640, false, 0o646],
    ['u+s,g+s', 0o755, false, 0o6755],
    ['+t', 0o777, true, 0o1777],
    ['u=rw,g=r,o=', 0o777, false, 0o640],
    ['u+r-w', 0o222, false, 0o422],
    ['=', 0o777, false, 0],
    ['u+', 0o644, false, 0o644],
  ])('%p on %o', (text, mode, directory, expected) => {
    expect(apply(text, mode, directory)).toBe(expected)
  })

  test.each(['', '10000', '8', '0755x', 'u', 'z+r', 'u+r,', 'rwx', 'u=rwx go=rx', '-1', '0x1ff'])(
    'refuses %p',
    text => {
      expect(parseChmod(text)).toBeUndefined()
    },
  )
})
