import { describe, expect, test } from 'bun:test'
import { ArchimageError, gravest, isArchimageError, systemError } from './error.ts'
import { redact, secret } from './redact.ts'
import { didYouMean, suggest } from './suggest.ts'

test('the gravest exit code: 130, then 2, 3, 1', () => {
  expect(gravest([])).toBe(0)
  expect(gravest([1, 3])).toBe(3)
  expect(gravest([3, 2, 1])).toBe(2)
  expect(gravest([2, 130, 3])).toBe(130)
})

describe('secrets do not leave', () => {
  test.each([
    ['see https://user:pass@r.example.com/x', 'see https://***@r.example.com/x'],
    ['Authorization: Basic dXNlcjpwYXNzd29yZA==', 'Authorization: Basic ***'],
    ['Bearer eyJhbGciOi.J9.x-y_z', 'Bearer ***'],
    ['no secret here: a@b.example.com', 'no secret here: a@b.example.com'],
  ])('%s', (given, expected) => expect(redact(given)).toBe(expected))

  test('a known secret is redacted in messages and hints', () => {
    secret('hunter2-hunter2')
    const error = new ArchimageError('USAGE', 'x hunter2-hunter2 y', { hint: 'hunter2-hunter2' })
    expect([error.message, error.hint]).toEqual(['x *** y', '***'])
  })

  test('a secret that is an everyday word is not shown by stars in our own sentences, and hidden in what others say', () => {
    secret('wrong')
    const said = 'either the credentials are wrong or expired'
    const error = new ArchimageError('UNAUTHORIZED', said, { hint: said })
    expect([error.message, error.hint]).toEqual([said, said])
    expect(redact('no user with password wrong')).toBe('no user with password ***')
    expect(new ArchimageError('USAGE', 'password=wrong').message).toBe('password=***')
  })
})

test('errors of the operating system become ours, bugs stay bugs', () => {
  const full = systemError(Object.assign(new Error('x'), { code: 'ENOSPC' }), 'writing a blob')
  expect([full.code, full.exit, isArchimageError(full)]).toEqual(['NO_SPACE', 3, true])
  expect(systemError(Object.assign(new Error('x'), { code: 'EACCES' }), 'reading').code).toBe('PERMISSION')
  expect(() => systemError(new TypeError('a bug'), 'reading')).toThrow(TypeError)
})

describe('suggestions', () => {
  test.each([
    ['biuld', ['build', 'verify'], 'build'],
    ['amd46', ['amd64', 'arm64'], 'amd64'],
    ['backend', ['backend-api', 'frontend'], undefined],
    ['zzz', ['build'], undefined],
    ['BUILD', ['build'], 'build'],
  ])('%s', (word, candidates, expected) => expect(suggest(word, candidates)).toBe(expected as string))
  test('as a question', () => expect(didYouMean('biuld', ['build'])).toBe('did you mean "build"?'))
})
