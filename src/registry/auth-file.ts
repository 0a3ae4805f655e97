import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { ArchimageError, systemError } from '../errors/error.ts'
import { secret } from '../errors/redact.ts'
import { isRecord } from '../oci/json.ts'
import type { Environment } from './config.ts'

export interface Credential {
  readonly username?: string
  readonly password?: string
  /** OAuth2 refresh token (docker's `identitytoken`). */
  readonly identityToken?: string
  /** A bearer token to be used as it is (docker's `registrytoken`). */
  readonly registryToken?: string
  /** For messages: the file or the helper. */
  readonly source: string
}

/** docker's config.json or podman's auth.json, as read; unknown fields are kept for writing. */
export interface AuthFile {
  readonly path: string
  readonly json: Readonly<Record<string, unknown>>
}

/** The files that may hold credentials, the most trusted first (DESIGN §5, references). */
export function authFilePaths(env: Environment): readonly string[] {
  const home = env['HOME'] || homedir()
  const uid = process.getuid?.()
  const runtime = env['XDG_RUNTIME_DIR'] || (uid === undefined ? undefined : `/run/containers/${uid}`)
  const paths = [
    env['REGISTRY_AUTH_FILE'],
    env['DOCKER_CONFIG'] && join(env['DOCKER_CONFIG'], 'config.json'),
    runtime && (env['XDG_RUNTIME_DIR'] ? join(runtime, 'containers/auth.json') : join(runtime, 'auth.json')),
    join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'containers/auth.json'),
    env['DOCKER_CONFIG'] ? undefined : join(home, '.docker/config.json'),
  ]
  return [...new Set(paths.filter(path => path !== undefined && path !== ''))] as string[]
}

/** docker's configuration file: where `login` writes. */
export function dockerConfigPath(env: Environment): string {
  return join(env['DOCKER_CONFIG'] || join(env['HOME'] || homedir(), '.docker'), 'config.json')
}

/** Undefined when there is no such file. Throws CREDENTIALS when it cannot be read or understood. */
export function readAuthFile(path: string): AuthFile | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    if (code === 'EISDIR') throw broken(path, 'it is a folder', error)
    throw systemError(error, `reading ${path}`)
  }
  if (text.trim() === '') return { path, json: {} }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw broken(path, 'it is not valid JSON', error)
  }
  if (!isRecord(json)) throw broken(path, 'it is not a JSON object')
  for (const key of ['auths', 'credHelpers'])
    if (json[key] != null && !isRecord(json[key])) throw broken(path, `"${key}" is not a map`)
  return { path, json }
}

function broken(path: string, why: string, cause?: unknown): ArchimageError {
  return new ArchimageError('CREDENTIALS', `${path} cannot be used: ${why}`, {
    hint: `mend the file, or move it away and log in again: archimage login REGISTRY`,
    ...(cause === undefined ? {} : { cause }),
  })
}

/** Names under which a registry's credentials are kept, the usual one first. */
export function registryKeys(registry: string): readonly string[] {
  return registry === 'docker.io'
    ? ['https://index.docker.io/v1/', 'index.docker.io', 'docker.io', 'registry-1.docker.io']
    : [registry]
}

/** What the file itself says for a key that is no URL: `host`, `host/ns`, `host/ns/repo`. Undefined for an empty entry. */
export function credentialIn(file: AuthFile, key: string): Credential | undefined {
  const auths = file.json['auths']
  if (!isRecord(auths)) return undefined
  const exact = auths[key]
  const entry =
    exact ?? (key.includes('/') ? undefined : Object.entries(auths).find(([name]) => bareHost(name) === key)?.[1])
  if (!isRecord(entry)) return undefined
  const text = (name: string) =>
    typeof entry[name] === 'string' && entry[name] !== '' ? (entry[name] as string) : undefined
  let [username, password] = [text('username'), text('password')]
  const auth = text('auth')
  if (auth !== undefined) {
    const plain = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '')
    const colon = plain.indexOf(':')
    if (colon < 0 || !/^[A-Za-z0-9+/_=\s-]+$/.test(auth))
      throw broken(file.path, `"auth" of ${key} is not the base64 form of user:password`)
    username = plain.slice(0, colon)
    password = plain.slice(colon + 1)
  }
  const [identityToken, registryToken] = [text('identitytoken'), text('registrytoken')]
  for (const value of [password, auth, identityToken, registryToken]) if (value !== undefined) secret(value)
  if (identityToken === undefined && registryToken === undefined && (username === undefined || password === undefined))
    return undefined
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(identityToken === undefined ? {} : { identityToken }),
    ...(registryToken === undefined ? {} : { registryToken }),
    source: file.path,
  }
}

/** Older clients wrote `https://host/v1/`: the host counts. A name without a scheme that has a path is a namespace. */
export function bareHost(name: string): string {
  const found = /^https?:\/\/([^/]+)/.exec(name)
  return found === null ? name.replace(/\/+$/, '') : found[1]!
}
