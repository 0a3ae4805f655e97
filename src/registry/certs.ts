import { readdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { ArchimageError, systemError } from '../errors/error.ts'
import type { Environment } from './config.ts'

/** PEM texts for one host. */
export interface HostCertificates {
  readonly ca: readonly string[]
  readonly cert?: string
  readonly key?: string
}

/** What flags say about TLS with one registry, or with all. */
export interface TlsOptions {
  /** `--tls-verify`: false takes any certificate, and plain HTTP; true insists on both, also where a file or loopback says otherwise. */
  readonly tlsVerify?: boolean
  /** `--cert-dir`: a folder like those in certs.d, in place of them. */
  readonly certDir?: string
  /** A PEM file with authorities, beside those of the system. */
  readonly caFile?: string
  /** The client's certificate and its key, as PEM files. */
  readonly certFile?: string
  readonly keyFile?: string
}

/** The certificates for a registry: those of flags, else those of certs.d. Throws CREDENTIALS for what cannot be read. */
export function findCertificates(
  registry: string,
  env: Environment,
  { certDir, caFile, certFile, keyFile }: TlsOptions = {},
): HostCertificates | undefined {
  const found = certDir === undefined ? readCertificates(registry, env) : readNamedFolder(certDir)
  if ((certFile === undefined) !== (keyFile === undefined))
    throw new ArchimageError('CREDENTIALS', `${certFile ?? keyFile}: a client certificate is a pair`, {
      hint: 'name both the certificate and its key',
    })
  if (caFile === undefined && certFile === undefined) return found
  return {
    ...found,
    ca: [...(found?.ca ?? []), ...(caFile === undefined ? [] : [readPem(caFile)])],
    ...(certFile === undefined ? {} : { cert: readPem(certFile), key: readPem(keyFile!) }),
  }
}

function readPem(file: string): string {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw systemError(error, `reading ${file}`)
  }
  if (text.includes('-----BEGIN ')) return text
  throw new ArchimageError('CREDENTIALS', `${file} is no PEM file`, {
    hint: 'it has to hold "-----BEGIN …-----"; openssl x509 -inform der -in FILE converts a certificate',
  })
}

function readNamedFolder(folder: string): HostCertificates {
  try {
    readdirSync(folder)
  } catch (error) {
    throw systemError(error, `reading the certificates in ${folder}`)
  }
  return readFolder(folder) ?? { ca: [] }
}

/**
 * What `certs.d/HOST[:PORT]` holds for a registry: `*.crt` are authorities, `NAME.cert` with `NAME.key` is the client's
 * certificate (docker's and podman's convention). The user's folder comes first. Throws CREDENTIALS for half a pair.
 */
function readCertificates(registry: string, env: Environment): HostCertificates | undefined {
  if (!/^[A-Za-z0-9.:[\]-]+$/.test(registry) || registry.startsWith('.')) return undefined
  const user = join(env['XDG_CONFIG_HOME'] || join(env['HOME'] || homedir(), '.config'), 'containers/certs.d')
  for (const folder of [user, '/etc/containers/certs.d', '/etc/docker/certs.d']) {
    const found = readFolder(join(folder, registry))
    if (found !== undefined) return found
  }
  return undefined
}

function readFolder(folder: string): HostCertificates | undefined {
  let names: string[]
  try {
    names = readdirSync(folder).sort()
  } catch {
    return undefined
  }
  const read = (name: string): string => {
    try {
      return readFileSync(join(folder, name), 'utf8')
    } catch (error) {
      throw systemError(error, `reading ${join(folder, name)}`)
    }
  }
  const ca = names.filter(name => name.endsWith('.crt')).map(read)
  const cert = names.find(name => name.endsWith('.cert'))
  const key = names.find(name => name.endsWith('.key'))
  if (cert === undefined && key === undefined) return ca.length === 0 ? undefined : { ca }
  const base = cert?.slice(0, -'.cert'.length)
  if (cert === undefined || !names.includes(`${base}.key`))
    throw new ArchimageError('CREDENTIALS', `${folder}: ${cert ?? key} has no counterpart`, {
      hint: 'a client certificate is a pair: NAME.cert and NAME.key',
    })
  return { ca, cert: read(cert), key: read(`${base}.key`) }
}
