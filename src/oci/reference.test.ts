import { describe, expect, test } from 'bun:test'
import { isArchimageError } from '../errors/error.ts'
import { familiarReference, formatReference, parseReference, parseRegistryPrefix, withDefaultTag } from './reference.ts'

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

describe('parseRegistryPrefix', () => {
  test.each([
    ['registry.example.com', 'registry.example.com'],
    ['registry.example.com/team/', 'registry.example.com/team'],
    ['localhost:5000/a/b-c', 'localhost:5000/a/b-c'],
    ['[::1]:5000', '[::1]:5000'],
    ['localhost', 'localhost'],
  ])('%s', (given, expected) => expect(parseRegistryPrefix(given)).toBe(expected))

  test.each([
    ['https://r.test/team', '"https://r.test/team" is a URL, not a registry | remove "https://": r.test/team'],
    [
      'r.test/Team',
      '"r.test/Team" is not a registry with a path: "Team" is not in lower case | did you mean "r.test/team"?',
    ],
    ['team', '"team" does not begin with a registry | for Docker Hub: docker.io/team'],
    [
      'r.test/team:1',
      '"r.test/team:1" is not a registry with a path: "team:1" cannot be a part of an image\'s name | the tag is given on its own',
    ],
    [
      'r_.test',
      '"r_.test" does not begin with a registry: "r_.test" is no host name | it looks like registry.example.com/team',
    ],
    ['/', '"/" does not begin with a registry | it looks like registry.example.com/team'],
  ])('%s is refused in the words of who wrote it', (given, expected) => {
    let said = ''
    try {
      parseRegistryPrefix(given)
    } catch (error) {
      if (!isArchimageError(error)) throw error
      said = `${error.message} | ${error.hint}`
    }
    expect(said).toBe(expected)
  })
})
