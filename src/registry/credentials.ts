import { ArchimageError } from '../errors/error.ts'
import { secret } from '../errors/redact.ts'
import { isRecord } from '../oci/json.ts'
import { type AuthFile, authFilePaths, type Credential, credentialIn, readAuthFile, registryKeys } from './auth-file.ts'
import type { Environment } from './config.ts'
import { helperGet } from './credential-helper.ts'

export type { Credential } from './auth-file.ts'

export interface Credentials {
  /** Undefined when nothing is known: the registry is then asked anonymously. Throws CREDENTIALS. */
  find(registry: string, repository?: string, signal?: AbortSignal): Promise<Credential | undefined>
}

/**
 * Credentials of docker and podman (files of `authFilePaths`, or `only` this one, read at the first question). Of all
 * entries the most specific path wins (`host/ns/repo`, `host/ns`, `host`), of equal ones the first file's; helpers speak for
 * whole hosts.
 */
export function fileCredentials(env: Environment = process.env, only?: string): Credentials {
  let files: readonly AuthFile[] | undefined
  const asked = new Map<string, Promise<Credential | undefined>>()
  return {
    async find(registry, repository, signal) {
      files ??= only === undefined ? authFilePaths(env).flatMap(path => readAuthFile(path) ?? []) : [readNamed(only)]
      if (files.length === 0) return undefined
      const components = repository?.split('/') ?? []
      for (let count = components.length; count > 0; count--)
        for (const key of registryKeys(registry).filter(k => !k.includes('/')))
          for (const file of files) {
            const found = credentialIn(file, `${key}/${components.slice(0, count).join('/')}`)
            if (found !== undefined) return found
          }
      const known = asked.get(registry)
      if (known !== undefined) return known
      const answer = forHost(files, registry, { env, ...(signal === undefined ? {} : { signal }) })
      asked.set(registry, answer)
      answer.catch(() => asked.delete(registry))
      return answer
    },
  }
}

async function forHost(
  files: readonly AuthFile[],
  registry: string,
  options: { readonly env: Environment; readonly signal?: AbortSignal },
): Promise<Credential | undefined> {
  const keys = registryKeys(registry)
  for (const file of files) {
    const helper = helperFor(file, registry)
    const kept = helper === undefined ? undefined : await helperGet(helper, keys[0]!, options)
    if (kept !== undefined) return kept
    for (const key of keys) {
      const found = credentialIn(file, key)
      if (found !== undefined) return found
    }
  }
  return undefined
}

/** The helper that keeps a registry's credentials by this file, if any. */
export function helperFor(file: AuthFile, registry: string): string | undefined {
  const helpers = file.json['credHelpers']
  const name = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined)
  const own = isRecord(helpers)
    ? registryKeys(registry)
        .map(key => name(helpers[key]))
        .find(Boolean)
    : undefined
  return own ?? name(file.json['credsStore'])
}

function readNamed(path: string): AuthFile {
  const file = readAuthFile(path)
  if (file !== undefined) return file
  throw new ArchimageError('CREDENTIALS', `there is no file ${path} with credentials`, {
    hint: `archimage login --authfile ${path} REGISTRY writes one`,
  })
}

/** A credential of the command line (`--creds USER:PASSWORD`). From here on no output shows it. */
export function userCredential(username: string, password: string): Credential {
  secret(password)
  secret(`${username}:${password}`)
  return { username, password, source: 'the command line' }
}

/** A token of the command line (`--registry-token`): sent as it is, no token server is asked. */
export function tokenCredential(registryToken: string): Credential {
  secret(registryToken)
  return { registryToken, source: 'the command line' }
}

/** The same credential for every registry. */
export function fixedCredentials(username: string, password: string): Credentials {
  const credential = userCredential(username, password)
  return { find: async () => credential }
}

export const noCredentials: Credentials = { find: async () => undefined }
