import { describe, expect, test } from 'bun:test'
import { isArchimageError } from '../errors/error.ts'
import { familiarReference, formatReference, parseReference, withDefaultTag } from './reference.ts'

const DIGEST = `sha256:${'a'.repeat(64)}`

describe('parseReference', () => {
  test.each([
    ['nginx', 'docker.io/library/nginx', 'nginx'],
    ['nginx:1.27', 'docker.io/library/nginx:1.27', 'nginx:1.27'],
    ['team/app', 'docker.io/team/app', 'team/app'],
    ['docker.io/nginx', 'docker.io/library/nginx', 'nginx'],
    ['index.docker.io/library/nginx', 'docker.io/library/nginx', 'nginx'],
    ['localhost/app', 'localhost/app', 'localhost/app'],
    ['localhost:5000/a/b/c:x', 'localhost:5000/a/b/c:x', 'localhost:5000/a/b/c:x'],
    ['127.0.0.1:5000/app', '127.0.0.1:5000/app', '127.0.0.1:5000/app'],
    ['[::1]:5000/app:1', '[::1]:5000/app:1', '[::1]:5000/app:1'],
    ['registry.example.com/team/app', 'registry.example.com/team/app', 'registry.example.com/team/app'],
    [`app@${DIGEST}`, `docker.io/library/app@${DIGEST}`, `app@${DIGEST}`],
    [`r.example.com/app:1@${DIGEST}`, `r.example.com/app:1@${DIGEST}`, `r.example.com/app:1@${DIGEST}`],
    ['docker://r.example.com/app', 'r.example.com/app', 'r.example.com/app'],
    ['a__b/c.d/e-f', 'docker.io/a__b/c.d/e-f', 'a__b/c.d/e-f'],
    ['Registry/app', 'Registry/app', 'Registry/app'],
  ])('%s', (given, full, familiar) => {
    const reference = parseReference(given)
    expect(formatReference(reference)).toBe(full)
    expect(familiarReference(reference)).toBe(familiar)
    expect(parseReference(full)).toEqual(reference)
  })

  test.each([
    '',
    ':1',
    'app:',
    'App',
    'a/../b',
    'app:ta g',
    'app@sha256:12',
    'a//b',
    '-a',
    'r.example.com/',
    'r.example.com:x/app',
    `app:${'t'.repeat(129)}`,
    'x'.repeat(300),
  ])('%p is refused', given => {
    let code = ''
    try {
      parseReference(given)
    } catch (error) {
      if (!isArchimageError(error)) throw error
      code = error.code
    }
    expect(code).toBe('REFERENCE_INVALID')
  })
})

test('latest is filled in where neither tag nor digest stands', () => {
  expect(withDefaultTag(parseReference('app')).tag).toBe('latest')
  expect(withDefaultTag(parseReference('app:1')).tag).toBe('1')
  expect(withDefaultTag(parseReference(`app@${DIGEST}`)).tag).toBeUndefined()
})
