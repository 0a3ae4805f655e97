import { afterAll, expect, test } from 'bun:test'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { commitTime, parseSourceDateEpoch } from './epoch.ts'

const root = mkdtempSync(join(tmpdir(), 'archimage-git-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

test('SOURCE_DATE_EPOCH', () => {
  expect([undefined, '', '0', ' 1700000000\n'].map(parseSourceDateEpoch)).toEqual([undefined, undefined, 0, 1700000000])
  for (const text of ['-1', '1.5', 'now', '0x10', '999999999999', '1e3'])
    expect(() => parseSourceDateEpoch(text)).toThrow('SOURCE_DATE_EPOCH')
})

test.skipIf(spawnSync('git', ['--version']).status !== 0)("a commit's time, and nothing of the repository runs", () => {
  expect(commitTime(root)).toBeUndefined()
  const env = {
    PATH: process.env['PATH'],
    HOME: root,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_COMMITTER_DATE: '1700000001 +0200',
    GIT_AUTHOR_DATE: '1600000000 +0000',
  }
  const git = (...args: string[]): void => {
    execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', ...args], { cwd: root, env, stdio: 'ignore' })
  }
  git('init', '-q')
  expect(commitTime(root)).toBeUndefined()
  git('commit', '-q', '--allow-empty', '-m', 'x')
  const trap = join(root, 'trapped')
  writeFileSync(join(root, 'trap.sh'), `#!/bin/sh\ntouch ${trap}\n`, { mode: 0o755 })
  for (const key of ['core.fsmonitor', 'core.pager', 'gpg.program', 'core.sshCommand'])
    git('config', key, join(root, 'trap.sh'))
  git('config', 'log.showSignature', 'true')
  expect(commitTime(root)).toBe(1700000001)
  expect(commitTime(root, { ...env, GIT_DIR: '/nowhere' })).toBe(1700000001)
  expect(existsSync(trap)).toBe(false)
})
