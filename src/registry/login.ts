import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { ArchimageError, systemError } from '../errors/error.ts'
import { secret } from '../errors/redact.ts'
import { isRecord } from '../oci/json.ts'
import { type AuthFile, authFilePaths, bareHost, dockerConfigPath, readAuthFile, registryKeys } from './auth-file.ts'
import type { Environment } from './config.ts'
import { helperErase, helperStore } from './credential-helper.ts'
import { fixedCredentials, helperFor } from './credentials.ts'
import { openRegistry, type RegistryOptions } from './registry.ts'

export interface LoginOptions {
  /** Default: docker's config.json. */
  readonly file?: string
  readonly env?: Environment
}

/** Asks the registry whether it knows the user: a request to `/v2/` with the credentials. Throws UNAUTHORIZED. */
export async function verifyLogin(
  registry: string,
  username: string,
  password: string,
  options: Omit<RegistryOptions, 'credentials'> = {},
): Promise<void> {
  const { client } = openRegistry({ ...options, credentials: fixedCredentials(username, password) })
  const request = {
    host: client.host(registry),
    method: 'GET',
    url: '/v2/',
    scopes: [],
    doing: { registry, what: 'logging in' },
  }
  const answer = await client.request(request)
  if (answer.status === 404)
    throw new ArchimageError('REGISTRY_ANSWER', `registry ${registry}: there is no registry at /v2/ (404)`, {
      hint: 'check the name and the port',
    })
  if (answer.status !== 200) throw await client.refusal(request, answer)
  await answer.drain()
}

/**
 * Keeps credentials where docker keeps them: with the helper that its config.json names, else in that file (mode 0600,
 * replaced by rename; everything else in it stays); in `REGISTRY_AUTH_FILE` where that is set. A file that is read before
 * and knows the registry learns them too. Says where they went.
 */
export async function saveLogin(
  registry: string,
  username: string,
  password: string,
  options: LoginOptions = {},
): Promise<{ readonly file: string; readonly helper?: string }> {
  secret(password)
  const env = options.env ?? process.env
  const main = options.file ?? (env['REGISTRY_AUTH_FILE'] || dockerConfigPath(env))
  const keys = registryKeys(registry)
  const auth = Buffer.from(`${username}:${password}`).toString('base64')
  secret(auth)
  const others = options.file === undefined ? before(authFilePaths(env), main) : []
  let helper: string | undefined
  for (const path of [...others, main]) {
    const file = readAuthFile(path) ?? { path, json: {} }
    const auths = authsOf(file)
    const known = Object.keys(auths).some(key => keys.includes(bareHost(key)))
    if (path !== main && !known) continue
    helper = helperFor(file, registry)
    if (helper !== undefined) await helperStore(helper, { server: keys[0]!, username, password }, { env })
    writeAuthFile(path, { ...file.json, auths: { ...auths, [keys[0]!]: helper === undefined ? { auth } : {} } })
  }
  return helper === undefined ? { file: main } : { file: main, helper }
}

function before<T>(list: readonly T[], item: T): readonly T[] {
  const at = list.indexOf(item)
  return at < 0 ? list : list.slice(0, at)
}

/** Removes what `saveLogin`, docker or podman kept, from `file` or from every file that is looked at. True if there was any. */
export async function removeLogin(registry: string, options: LoginOptions = {}): Promise<boolean> {
  const env = options.env ?? process.env
  let removed = false
  for (const path of options.file === undefined ? authFilePaths(env) : [options.file]) {
    const file = readAuthFile(path)
    if (file === undefined) continue
    const keys = registryKeys(registry)
    const helper = helperFor(file, registry)
    if (helper !== undefined) await helperErase(helper, keys[0]!, { env })
    const auths = authsOf(file)
    const left = Object.fromEntries(Object.entries(auths).filter(([key]) => !keys.includes(bareHost(key))))
    if (Object.keys(left).length === Object.keys(auths).length) continue
    writeAuthFile(path, { ...file.json, auths: left })
    removed = true
  }
  return removed
}

/** Removes the credentials of every registry; how many there were. */
export async function removeAllLogins(options: LoginOptions = {}): Promise<number> {
  const env = options.env ?? process.env
  const gone = new Set<string>()
  for (const path of options.file === undefined ? authFilePaths(env) : [options.file]) {
    const file = readAuthFile(path)
    if (file === undefined) continue
    const names = Object.keys(authsOf(file))
    for (const name of names) {
      const helper = helperFor(file, name)
      if (helper !== undefined) await helperErase(helper, name, { env })
      gone.add(name)
    }
    if (names.length > 0) writeAuthFile(path, { ...file.json, auths: {} })
  }
  return gone.size
}

function authsOf(file: AuthFile): Readonly<Record<string, unknown>> {
  const auths = file.json['auths']
  return isRecord(auths) ? auths : {}
}

function writeAuthFile(path: string, json: object): void {
  let target = path
  try {
    // A link (dotfiles, WSL) stays one: the file behind it is replaced.
    target = realpathSync(path)
  } catch {
    // Not there yet.
  }
  const folder = dirname(target)
  const temporary = join(folder, `.config.json.${process.pid}.${Math.random().toString(36).slice(2)}`)
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const fd = openSync(temporary, 'wx', 0o600)
    try {
      writeSync(fd, `${JSON.stringify(json, undefined, '\t')}\n`)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    chmodSync(temporary, 0o600)
    renameSync(temporary, target)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw systemError(error, `writing ${path}`)
  }
}
