import { ArchimageError } from '../errors/error.ts'
import { redact, secret } from '../errors/redact.ts'
import { isRecord } from '../oci/json.ts'
import { runProgram } from '../sys/spawn.ts'
import type { Credential } from './auth-file.ts'
import type { Environment } from './config.ts'

interface HelperOptions {
  readonly env: Environment
  readonly signal?: AbortSignal
}

/** Asks `docker-credential-NAME get`. Undefined when the helper knows nothing for the server. Throws CREDENTIALS. */
export async function helperGet(name: string, server: string, options: HelperOptions): Promise<Credential | undefined> {
  const { code, stdout } = await runHelper(name, 'get', server, options)
  const text = stdout.toString('utf8')
  if (code !== 0) {
    // The protocol has no code for this; every helper uses the sentence of docker's library.
    if (/credentials not found|no credentials (server|username)/i.test(text)) return undefined
    throw failed(name, `it failed for ${server}: ${redact(text.trim()).slice(0, 300) || `exit code ${code}`}`)
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw failed(name, 'its answer is not JSON', error)
  }
  if (!isRecord(json) || typeof json['Username'] !== 'string' || typeof json['Secret'] !== 'string')
    throw failed(name, 'its answer has no Username and Secret')
  const { Username: username, Secret: password } = json as { Username: string; Secret: string }
  if (password === '') return undefined
  secret(password)
  const source = `docker-credential-${name}`
  return username === '<token>' ? { identityToken: password, source } : { username, password, source }
}

/** `docker-credential-NAME store`. */
export async function helperStore(
  name: string,
  login: { readonly server: string; readonly username: string; readonly password: string },
  options: HelperOptions,
): Promise<void> {
  const input = JSON.stringify({ ServerURL: login.server, Username: login.username, Secret: login.password })
  const { code, stdout } = await runHelper(name, 'store', input, options)
  if (code !== 0)
    throw failed(name, `storing failed: ${redact(stdout.toString('utf8').trim()).slice(0, 300) || `exit code ${code}`}`)
}

/** `docker-credential-NAME erase`; what is not there is fine. */
export async function helperErase(name: string, server: string, options: HelperOptions): Promise<void> {
  await runHelper(name, 'erase', server, options)
}

async function runHelper(name: string, verb: string, input: string, { env, signal }: HelperOptions) {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) throw failed(name, 'that is not the name of a helper')
  try {
    return await runProgram(`docker-credential-${name}`, [verb], {
      input,
      timeout: 60_000,
      env: env as NodeJS.ProcessEnv,
      ...(signal === undefined ? {} : { signal }),
    })
  } catch (error) {
    if (signal?.aborted) throw error
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    throw failed(name, missing ? 'it is not installed (not in PATH)' : String((error as Error).message), error)
  }
}

function failed(name: string, why: string, cause?: unknown): ArchimageError {
  return new ArchimageError('CREDENTIALS', `credential helper docker-credential-${name}: ${why}`, {
    hint: 'install or mend the helper, or remove it from "credsStore" and "credHelpers" in docker\'s config.json',
    ...(cause === undefined ? {} : { cause }),
  })
}
