import { describe, expect, test } from 'bun:test'
import { isArchimageError } from '../errors/error.ts'
import { formatGitSource, type GitSource, isCommit, parseGitSource } from './git-source.ts'

const context = (text: string): GitSource | undefined => parseGitSource(text, { legacy: true })
const remote = 'https://example.com/team/app.git'

describe('git references', () => {
  test.each<[string, GitSource]>([
    [remote, { remote }],
    [`${remote}#main`, { remote, ref: 'main' }],
    [`${remote}#feature/x:src/app`, { remote, ref: 'feature/x', subdir: 'src/app' }],
    [`${remote}#:/src//app/`, { remote, subdir: 'src/app' }],
    [`${remote}#:../../etc`, { remote, subdir: 'etc' }],
    [`${remote}#v1:.`, { remote, ref: 'v1' }],
    [`${remote}#`, { remote }],
    [`${remote}#a%20b:c:d`, { remote, ref: 'a b', subdir: 'c:d' }],
    ['HTTPS://example.com/team/app.git', { remote }],
    [
      'https://user:pass@example.com:8443/app.git#x',
      { remote: 'https://user:pass@example.com:8443/app.git', ref: 'x' },
    ],
    ['http://example.com/app.git', { remote: 'http://example.com/app.git' }],
    ['git://example.com/app', { remote: 'git://example.com/app' }],
    ['ssh://git@example.com:2222/app', { remote: 'ssh://git@example.com:2222/app' }],
    ['git@example.com:team/app.git#v1:docs', { remote: 'git@example.com:team/app.git', ref: 'v1', subdir: 'docs' }],
    ['who_ever-1@10.0.0.1:/srv/a:b.git', { remote: 'who_ever-1@10.0.0.1:/srv/a:b.git' }],
    ['git@example.com:app?tag=v1', { remote: 'git@example.com:app', ref: 'refs/tags/v1' }],
    ['github.com/team/app', { remote: 'https://github.com/team/app' }],
    ['github.com/team/app.git#main:a', { remote: 'https://github.com/team/app.git', ref: 'main', subdir: 'a' }],
    [`${remote}?ref=main`, { remote, ref: 'main' }],
    [`${remote}?ref=main#main`, { remote, ref: 'main' }],
    [`${remote}?tag=v1.2`, { remote, ref: 'refs/tags/v1.2' }],
    [`${remote}?tag=refs/tags/v1.2`, { remote, ref: 'refs/tags/v1.2' }],
    [`${remote}?branch=main&subdir=a/./b`, { remote, ref: 'refs/heads/main', subdir: 'a/b' }],
    [`${remote}?checksum=abc123`, { remote, checksum: 'abc123' }],
    [`${remote}?commit=abc123#main`, { remote, ref: 'main', checksum: 'abc123' }],
    [
      `${remote}?keep-git-dir&submodules=0&mtime=commit&fetch-by-commit=true`,
      { remote, keepGitDir: true, submodules: false, mtime: 'commit', fetchByCommit: true },
    ],
    [`${remote}?submodules&keep-git-dir=F`, { remote, submodules: true, keepGitDir: false }],
  ])('%s', (text, wanted) => expect(context(text)).toEqual(wanted))

  test.each([
    '.',
    './x.git',
    '../git@host:x',
    '/srv/app.git',
    'app.git',
    'https://example.com/app',
    'https://example.com/app.git/info',
    'https://example.com/?x=.git',
    'ftp://example.com/app.git',
    'file:///srv/app.git',
    'ext::sh -c x',
    'github.com',
    'gitlab.com/team/app',
    'git@example.com',
    'bad:user@example.com:x',
    'docker-image://alpine',
    '',
  ])('%s is none', text => expect(context(text)).toBeUndefined())

  test('the short form for github.com counts for contexts only', () =>
    expect(parseGitSource('github.com/team/app')).toBeUndefined())

  test.each([
    [`${remote}#--upload-pack=x`, 'no branch'],
    [`${remote}?ref=-x`, 'no branch'],
    ['ssh://-oProxyCommand=x/app', 'like an option'],
    ['ssh://-x@host/app', 'like an option'],
    ['-x@host:app', 'like an option'],
    ['git@-host:app', 'like an option'],
    [`${remote}#a\nb`, 'control characters'],
    [`${remote}?checksum=xyz`, 'no commit'],
    [`${remote}?reff=x`, 'did you mean "ref"?'],
    [`${remote}?ref=`, 'no value'],
    [`${remote}?ref=a&ref=b`, 'twice'],
    [`${remote}?ref=a#b`, 'two different refs'],
    [`${remote}?tag=a#a`, 'two different refs'],
    [`${remote}?tag=a&branch=a`, 'a tag and a branch'],
    [`${remote}?subdir=a#:b`, 'two different folders'],
    [`${remote}?mtime=now`, '"checkout" or "commit"'],
    [`${remote}?keep-git-dir=maybe`, 'true or false'],
    [`${remote}?checksum=a&commit=a`, 'one is enough'],
  ])('%s is refused', (text, why) => {
    try {
      context(text)
    } catch (error) {
      if (!isArchimageError(error)) throw error
      return expect(`${error.code} ${error.message} ${error.hint}`).toContain(why)
    }
    throw new Error('it was taken')
  })

  test('are shown without their query', () =>
    expect(formatGitSource(context(`${remote}?tag=v1&subdir=a&keep-git-dir`)!)).toBe(`${remote}#refs/tags/v1:a`))

  test('commits are whole and in lower case', () => {
    expect(isCommit('a'.repeat(40))).toBe(true)
    expect(isCommit('a'.repeat(64))).toBe(true)
    for (const text of ['a'.repeat(39), 'A'.repeat(40), 'g'.repeat(40), 'main', '']) expect(isCommit(text)).toBe(false)
  })
})
