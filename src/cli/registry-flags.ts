import { type Command, Option } from 'commander'
import { ArchimageError } from '../errors/error.ts'
import { secret } from '../errors/redact.ts'
import type { TlsOptions } from '../registry/certs.ts'
import { type Credential, tokenCredential, userCredential } from '../registry/credentials.ts'
import type { RegistryOptions } from '../registry/registry.ts'
import { ask } from './ask.ts'
import { switchOrValue } from './command.ts'

/** Of `copy` and its kin, whose two sides may be different registries. */
export type Side = 'src' | 'dest'

/** `--tls-verify`, `--cert-dir` and the like, under the names that podman, skopeo and oras give them. */
export function addTlsFlags(program: Command, side?: Side): Command {
  const [prefix, of] = side === undefined ? ['', ''] : [`${side}-`, `, for ${SIDES[side]}`]
  return program
    .addOption(
      switchOrValue(
        `--${prefix}tls-verify [bool]`,
        `insist on HTTPS with a right certificate, or (=false) on neither${of}`,
      ),
    )
    .option(`--${prefix}cert-dir <dir>`, `*.crt, NAME.cert and NAME.key, in place of those in certs.d${of}`)
    .option(`--${prefix}ca-file <pem>`, `an authority to trust beside those of the system${of}`)
    .option(`--${prefix}cert-file <pem>`, `the certificate to show to the registry${of}`)
    .option(`--${prefix}key-file <pem>`, `its key${of}`)
}

/** `--creds`, `--authfile` and the like. */
export function addCredentialFlags(program: Command, side?: Side): Command {
  const [prefix, of] = side === undefined ? ['', ''] : [`${side}-`, `, for ${SIDES[side]}`]
  return program
    .option(
      `--${prefix}creds <user:password>`,
      `credentials for the registry named; without a password it is asked for${of}`,
    )
    .option(`--${prefix}username <name>`, `the same in two options${of}`)
    .option(`--${prefix}password <password>`, `see --${prefix}username${of}`)
    .option(`--${prefix}registry-token <token>`, `a token to send as it is${of}`)
    .addOption(new Option(`--${side === undefined ? 'no-creds' : `${side}-no-creds`}`, `no credentials at all${of}`))
    .option(`--${prefix}authfile <file>`, `a file of docker's or podman's form, in place of theirs${of}`)
}

const SIDES: Readonly<Record<Side, string>> = { src: 'the source', dest: 'the destination' }

type Value = (name: string) => unknown

/** Flags of a side go before the plain ones. */
function flagValue(options: Readonly<Record<string, unknown>>, side: Side | undefined): Value {
  return name => {
    const own = side === undefined ? undefined : options[side + name[0]!.toUpperCase() + name.slice(1)]
    return own ?? options[name]
  }
}

/** What `addTlsFlags` and `--insecure` say, for `openRegistry`. */
export function tlsOptions(
  options: Readonly<Record<string, unknown>>,
  side?: Side,
): TlsOptions & Pick<RegistryOptions, 'insecure'> {
  const value = flagValue(options, side)
  const tlsVerify = boolean(value('tlsVerify'))
  const insecure = options['insecure']
  return {
    ...(insecure === true ? { insecure: true } : Array.isArray(insecure) ? { insecure: insecure as string[] } : {}),
    ...(tlsVerify === undefined ? {} : { tlsVerify }),
    ...Object.fromEntries(
      ['certDir', 'caFile', 'certFile', 'keyFile'].flatMap(name =>
        typeof value(name) === 'string' ? [[name, value(name)]] : [],
      ),
    ),
  }
}

/** The same, with `--authfile`: all that is not for one registry alone. */
export function fileOptions(options: Readonly<Record<string, unknown>>, side?: Side): RegistryOptions {
  const authFile = flagValue(options, side)('authfile')
  return { ...tlsOptions(options, side), ...(typeof authFile === 'string' ? { authFile } : {}) }
}

/**
 * What all these flags say, for `openRegistry`. Credentials go to `registries` alone: those that the command line names, never
 * their mirrors.
 */
export async function registryOptions(
  options: Readonly<Record<string, unknown>>,
  registries: readonly string[],
  side?: Side,
): Promise<RegistryOptions> {
  const credential = await credentialOf(flagValue(options, side))
  return {
    ...fileOptions(options, side),
    ...(credential === undefined
      ? {}
      : { hosts: Object.fromEntries(registries.map(registry => [registry, { credential }])) }),
  }
}

function boolean(value: unknown): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value as boolean | undefined
  if (/^(?:1|t|true)$/i.test(String(value))) return true
  if (/^(?:0|f|false)$/i.test(String(value))) return false
  throw new ArchimageError('USAGE', `--tls-verify=${String(value)}: that is neither true nor false`)
}

/** Null: none shall be used. */
async function credentialOf(value: Value): Promise<Credential | null | undefined> {
  const [creds, username, token] = [value('creds'), value('username'), value('registryToken')]
  for (const known of [creds, value('password'), token]) if (typeof known === 'string') secret(known)
  if (creds === false || value('noCreds') === true) return null
  if (typeof token === 'string') return tokenCredential(token)
  const [user, password] =
    typeof creds === 'string' ? split(creds) : [username as string | undefined, value('password') as string | undefined]
  if (user === undefined) {
    if (password === undefined) return undefined
    throw new ArchimageError('USAGE', '--password needs --username')
  }
  if (user === '') throw new ArchimageError('USAGE', 'the credentials have no user', { hint: '--creds USER:PASSWORD' })
  return userCredential(user, password ?? (await ask(`Password for ${user}: `, 'give --creds USER:PASSWORD')))
}

function split(creds: string): [string, string | undefined] {
  const colon = creds.indexOf(':')
  return colon < 0 ? [creds, undefined] : [creds.slice(0, colon), creds.slice(colon + 1)]
}
