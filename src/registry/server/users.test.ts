import { afterEach, beforeEach, expect, test } from 'bun:test'
import { chmodSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseHtpasswd, Users } from './users.ts'

/** "secret", by htpasswd -B. */
const SECRET = '$2b$04$pDbMRgiKl5sg/7r64cuHk.W1w9qsyIm.hd8FK718scOoGw8V3CtOS'

let dir: string
let file: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'archimage-test-'))
  file = join(dir, 'users')
})
afterEach(() => rmSync(dir, { recursive: true }))

test('lines of htpasswd -B', () => {
  const text = `# people\n\nann:${SECRET}\r\nbob:${SECRET.replace('$2b$', '$2y$')}\n`
  expect([...parseHtpasswd(text, 'f').keys()]).toEqual(['ann', 'bob'])
})

test.each([
  ['ann', 'f:1: this is not USER:HASH'],
  [':x', 'f:1: this is not USER:HASH'],
  ['\nann:$apr1$abc$def', 'f:2: the hash of user "ann" is MD5; only bcrypt is taken'],
  ['ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=', 'f:1: the hash of user "ann" is SHA-1; only bcrypt is taken'],
  [
    'ann:secret',
    'f:1: the hash of user "ann" is neither bcrypt nor known (crypt, or no hash at all); only bcrypt is taken',
  ],
  [`ann:${SECRET.slice(0, -1)}`, 'f:1: the hash of user "ann" is bcrypt, but damaged; only bcrypt is taken'],
  [
    `ann:${SECRET.replace('$04$', '$31$')}`,
    'f:1: the hash of user "ann" is bcrypt with too many rounds (most: 17); only bcrypt is taken',
  ],
  [`ann:${SECRET}\nann:${SECRET}`, 'f:2: user "ann" is there twice'],
])('refused: %j', (text, message) => {
  expect(() => parseHtpasswd(text, 'f')).toThrow(message)
})

test('right and wrong passwords; the file is read again when it changes, and a bad one changes nothing', async () => {
  writeFileSync(file, `ann:${SECRET}\n`, { mode: 0o600 })
  const lines: string[] = []
  const users = new Users(file, line => lines.push(line))
  expect(users.exposed).toBe(false)
  chmodSync(file, 0o644)
  expect(users.exposed).toBe(process.platform !== 'win32')
  const verify = (user: string, password: string) => users.verify(user, password)
  expect(await verify('ann', 'secret')).toBe('right')
  expect(await verify('ann', 'secret')).toBe('right')
  expect(await verify('ann', 'secrets')).toBe('wrong')
  expect(await verify('ann', '')).toBe('wrong')
  expect(await verify('bob', 'secret')).toBe('wrong')
  expect(await verify('__proto__', 'secret')).toBe('wrong')
  writeFileSync(file, `bob:${SECRET}\n`)
  expect([await verify('ann', 'secret'), await verify('bob', 'secret')]).toEqual(['wrong', 'right'])
  writeFileSync(file, 'eve:secret\n')
  utimesSync(file, 1, 1)
  expect(await verify('bob', 'secret')).toBe('right')
  rmSync(file)
  expect(await verify('bob', 'secret')).toBe('right')
  expect(lines.join('\n')).toContain('the users stay as they were')
  expect(lines.join('\n')).not.toContain('secret')
})

test('a flood of guesses is cut off', async () => {
  writeFileSync(file, `ann:${SECRET}\n`)
  const users = new Users(file)
  const guesses = Array.from({ length: 200 }, (_, i) => users.verify('ann', `guess ${i}`))
  const verdicts = await Promise.all(guesses)
  expect(verdicts.filter(verdict => verdict === 'busy').length).toBe(136)
  expect(await users.verify('ann', 'secret')).toBe('right')
})

test('a file that is not there', () => {
  expect(() => new Users(file)).toThrow(`there is no ${file} with the users`)
})
