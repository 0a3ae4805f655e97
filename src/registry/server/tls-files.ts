import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { ArchimageError, systemError } from '../../errors/error.ts'
import type { ServerTls } from '../../sys/http-server.ts'

export interface TlsFiles {
  /** The certificate, with those of intermediate authorities behind it. */
  readonly cert: string
  readonly key: string
  readonly clientCa?: string | undefined
}

/** Reads what TLS needs and checks that it fits together. Throws NOT_FOUND, PERMISSION, CONFIG_INVALID. */
export function readTls(files: TlsFiles): ServerTls {
  const cert = read(files.cert, 'the certificate')
  const key = read(files.key, 'the key')
  const certificate = parse(files.cert, 'certificate', () => new X509Certificate(cert))
  const parsed = parse(files.key, 'private key without a password', () => createPrivateKey(key))
  if (!certificate.checkPrivateKey(parsed))
    throw wrong(`${files.key} is not the key of the certificate in ${files.cert}`)
  if (Date.parse(certificate.validTo) < Date.now())
    throw wrong(`the certificate in ${files.cert} was valid until ${certificate.validTo}`)
  return { cert, key, ...(files.clientCa === undefined ? {} : { clientCa: readAuthority(files.clientCa) }) }
}

export function readAuthority(file: string): string {
  const ca = read(file, 'the authority of the clients')
  parse(file, 'certificate', () => new X509Certificate(ca))
  return ca
}

function read(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT')
      throw new ArchimageError('NOT_FOUND', `there is no ${file} with ${what}`)
    throw systemError(error, `reading ${what} in ${file}`)
  }
}

function parse<T>(file: string, what: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw wrong(`${file} holds no ${what} (PEM)`, error)
  }
}

function wrong(message: string, cause?: unknown): ArchimageError {
  return new ArchimageError('CONFIG_INVALID', message, {
    hint: '--tls makes a certificate by itself',
    ...(cause === undefined ? {} : { cause }),
  })
}
