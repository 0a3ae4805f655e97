import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileCredentials } from './credentials.ts'
import { removeAllLogins, removeLogin, saveLogin } from './login.ts'
import { failure } from './test-server.ts'

let home = ''
let env: Record<string, string> = {}
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'archimage-cred-'))
  env = { HOME: home, XDG_RUNTIME_DIR: join(home, 'run'), PATH: `${join(home, 'bin')}:${process.env['PATH']}` }
})
afterEach(() => rmSync(home, { recursive: true }))

const auth = (user: string, password = 'geheim') => ({ auth: Buffer.from(`${user}:${password}`).toString('base64') })
function write(name: string, json: unknown): string {
  const path = join(home, name)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, typeof json === 'string' ? json : JSON.stringify(json))
  return path
}
const user = async (registry: string, repository?: string) =>
  (await fileCredentials(env).find(registry, repository))?.username

/** A helper that keeps its entries in a file and notes how it was called. */
function writeHelper(name: string, script: string): void {
  const path = write(`bin/docker-credential-${name}`, `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
}

describe('credentials', () => {
  test('files in order: of equal entries the first wins', async () => {
    const files = [
      ['.docker/config.json', 'docker-home'],
      ['.config/containers/auth.json', 'podman-config'],
      ['run/containers/auth.json', 'podman-run'],
    ] as const
    expect(await user('r.test')).toBeUndefined()
    for (const [name, who] of files) {
      write(name, { auths: { 'r.test': auth(who) } })
      expect(await user('r.test')).toBe(who)
    }
    env['DOCKER_CONFIG'] = join(home, 'dc')
    write('dc/config.json', { auths: { 'r.test': auth('docker-config') } })
    expect(await user('r.test')).toBe('docker-config')
    env['REGISTRY_AUTH_FILE'] = write('explicit.json', { auths: { 'r.test': auth('explicit') } })
    expect(await user('r.test')).toBe('explicit')
  })

  test('the most specific path wins, whole components only', async () => {
    write('.docker/config.json', {
      auths: { 'r.test': auth('host'), 'r.test/team': auth('team'), 'r.test/team/app': auth('app') },
    })
    expect(await user('r.test', 'team/app')).toBe('app')
    expect(await user('r.test', 'team/apple')).toBe('team')
    expect(await user('r.test', 'other')).toBe('host')
    expect(await user('r.test:5000', 'team/app')).toBeUndefined()
  })

  test('docker.io goes by its old name, others by URLs of old clients', async () => {
    write('.docker/config.json', {
      auths: { 'https://index.docker.io/v1/': auth('hub'), 'https://q.test/v1/': auth('old') },
    })
    expect(await user('docker.io', 'library/nginx')).toBe('hub')
    expect(await user('q.test')).toBe('old')
  })

  test('passwords hold colons; tokens are read; empty entries are none', async () => {
    write('.docker/config.json', {
      auths: {
        'a.test': auth('me', 'p:w:d'),
        'b.test': { identitytoken: 'refresh-me' },
        'c.test': {},
        'd.test': { username: 'plain', password: 'pw-of-d' },
      },
    })
    const credentials = fileCredentials(env)
    expect(await credentials.find('a.test')).toMatchObject({ username: 'me', password: 'p:w:d' })
    expect(await credentials.find('b.test')).toMatchObject({ identityToken: 'refresh-me' })
    expect(await credentials.find('c.test')).toBeUndefined()
    expect(await credentials.find('d.test')).toMatchObject({ username: 'plain', password: 'pw-of-d' })
  })

  test.each(['{', '[]', '{"auths": []}', '{"auths": {"r.test": {"auth": "bm9jb2xvbg=="}}}'])(
    'a broken file %j is an error that names it',
    async text => {
      const path = write('.docker/config.json', text)
      const error = await failure(fileCredentials(env).find('r.test'))
      expect(error.code).toBe('CREDENTIALS')
      expect(error.message).toContain(path)
      expect(error.hint).toContain('archimage login')
    },
  )

  test('helpers: the host on stdin, an argument list, asked once', async () => {
    writeHelper(
      'mine',
      `read server; echo "$1 $server" >> "$HOME/calls"; [ "$server" = "r.test" ] || [ "$server" = "https://index.docker.io/v1/" ] || { echo "credentials not found in native keychain"; exit 1; }
printf '{"ServerURL":"%s","Username":"helped","Secret":"from-helper"}' "$server"`,
    )
    write('.docker/config.json', { credsStore: 'mine', auths: { 'r.test': {}, 'x.test': auth('infile') } })
    const credentials = fileCredentials(env)
    const found = await Promise.all([credentials.find('r.test', 'a'), credentials.find('r.test', 'b')])
    expect(found.map(f => f?.password)).toEqual(['from-helper', 'from-helper'])
    expect(readFileSync(join(home, 'calls'), 'utf8')).toBe('get r.test\n')
    expect((await credentials.find('docker.io'))?.username).toBe('helped')
    // What the helper does not know may stand in the file.
    expect((await credentials.find('x.test'))?.username).toBe('infile')
    expect(await credentials.find('y.test')).toBeUndefined()
  })

  test('credHelpers go before credsStore, for their host', async () => {
    writeHelper('ecr', `read s; printf '{"Username":"<token>","Secret":"identity-of-ecr"}'`)
    write('.docker/config.json', { credsStore: 'nothere', credHelpers: { 'e.test': 'ecr' } })
    expect(await fileCredentials(env).find('e.test')).toMatchObject({ identityToken: 'identity-of-ecr' })
    const error = await failure(fileCredentials(env).find('f.test'))
    expect(error).toMatchObject({ code: 'CREDENTIALS' })
    expect(error.message).toContain('docker-credential-nothere: it is not installed')
  })

  test.each(['../../bin/sh', 'a/b', ''])('helper name %j does not run', async name => {
    write('.docker/config.json', { credHelpers: { 'e.test': name } })
    const found = fileCredentials(env).find('e.test')
    if (name === '') expect(await found).toBeUndefined()
    else expect((await failure(found)).message).toContain('not the name of a helper')
  })

  test('a helper that answers nonsense or fails is an error', async () => {
    writeHelper('odd', 'echo hello')
    write('.docker/config.json', { credHelpers: { 'e.test': 'odd', 'f.test': 'sad' } })
    writeHelper('sad', 'echo "keychain is locked"; exit 1')
    expect((await failure(fileCredentials(env).find('e.test'))).message).toContain('not JSON')
    expect((await failure(fileCredentials(env).find('f.test'))).message).toContain('keychain is locked')
  })
})

describe('login', () => {
  test('writes a file of mode 0600, keeps what is there, and is read back', async () => {
    const path = write('.docker/config.json', { HttpHeaders: { x: 'y' }, auths: { 'o.test': auth('other') } })
    expect(await saveLogin('r.test', 'me', 'my:secret', { env })).toEqual({ file: path })
    await saveLogin('docker.io', 'hubber', 'pw-of-hub', { env })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const json = JSON.parse(readFileSync(path, 'utf8'))
    expect(json.HttpHeaders).toEqual({ x: 'y' })
    expect(json.auths).toEqual({
      'o.test': auth('other'),
      'r.test': auth('me', 'my:secret'),
      'https://index.docker.io/v1/': auth('hubber', 'pw-of-hub'),
    })
    expect(await user('r.test')).toBe('me')
    expect(await removeLogin('r.test', { env })).toBe(true)
    expect(await removeLogin('r.test', { env })).toBe(false)
    expect(await user('r.test')).toBeUndefined()
    expect(await user('docker.io')).toBe('hubber')
  })

  test('a new folder is private; a link stays a link', async () => {
    const { file } = await saveLogin('r.test', 'me', 'pw-of-me', { env })
    expect(statSync(dirname(file)).mode & 0o777).toBe(0o700)
    const real = write('dotfiles/config.json', {})
    mkdirSync(join(home, 'dc'))
    symlinkSync(real, join(home, 'dc/config.json'))
    env['DOCKER_CONFIG'] = join(home, 'dc')
    await saveLogin('r.test', 'linked', 'pw-of-linked', { env })
    expect(Object.keys(JSON.parse(readFileSync(real, 'utf8')).auths)).toEqual(['r.test'])
  })

  test('with a helper the secret does not touch the file', async () => {
    writeHelper('keep', 'cat > "$HOME/kept.$1"')
    const path = write('.docker/config.json', { credsStore: 'keep' })
    expect(await saveLogin('r.test', 'me', 'very-secret', { env })).toEqual({ file: path, helper: 'keep' })
    expect(JSON.parse(readFileSync(join(home, 'kept.store'), 'utf8'))).toEqual({
      ServerURL: 'r.test',
      Username: 'me',
      Secret: 'very-secret',
    })
    expect(readFileSync(path, 'utf8')).not.toContain(auth('me', 'very-secret').auth)
    expect(await removeLogin('r.test', { env })).toBe(true)
    expect(readFileSync(join(home, 'kept.erase'), 'utf8')).toBe('r.test')
  })

  test('a file that is read before, and knows the registry, learns it too', async () => {
    const podman = write('.config/containers/auth.json', { auths: { 'r.test': auth('old'), 'o.test': auth('other') } })
    const { file } = await saveLogin('r.test', 'me', 'new-pw', { env })
    await saveLogin('p.test', 'me', 'new-pw', { env })
    expect(file).toBe(join(home, '.docker/config.json'))
    expect(JSON.parse(readFileSync(podman, 'utf8')).auths).toEqual({
      'r.test': auth('me', 'new-pw'),
      'o.test': auth('other'),
    })
    expect(await user('r.test')).toBe('me')
  })

  test('REGISTRY_AUTH_FILE is where it goes when it is set, a named file before that', async () => {
    env['REGISTRY_AUTH_FILE'] = join(home, 'ci/auth.json')
    expect((await saveLogin('r.test', 'ci', 'pw-of-ci', { env })).file).toBe(join(home, 'ci/auth.json'))
    expect(await user('r.test')).toBe('ci')
    const file = join(home, 'own.json')
    expect((await saveLogin('r.test', 'own', 'pw-of-own', { env, file })).file).toBe(file)
    expect((await fileCredentials(env, file).find('r.test'))?.username).toBe('own')
    expect(await user('r.test')).toBe('ci')
    expect(await removeLogin('r.test', { env, file })).toBe(true)
    expect(await user('r.test')).toBe('ci')
    await expect(fileCredentials(env, join(home, 'none.json')).find('r.test')).rejects.toThrow('there is no file')
  })

  test('all at once, and what old clients called the host', async () => {
    write('.docker/config.json', { auths: { 'https://r.test/v1/': auth('old'), 'o.test': auth('other') } })
    expect(await removeLogin('r.test', { env })).toBe(true)
    expect(await user('r.test')).toBeUndefined()
    expect(await removeAllLogins({ env })).toBe(1)
    expect(await user('o.test')).toBeUndefined()
  })
})
