import { generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { isIPv4, isIPv6 } from 'node:net'
import { join } from 'node:path'
import { systemError } from '../../errors/error.ts'
import { writeFileAtomic } from '../../sys/files.ts'
import { bits, boolean, integer, objectId, octets, sequence, set, tagged, utcTime, utf8 } from './der.ts'

/** PEM. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

const DAY = 24 * 3600 * 1000
/** Clients of Apple take nothing that is valid for longer than 825 days. */
const VALID = 820 * DAY
/** One that ends sooner is replaced. */
const RENEW = 30 * DAY

const ECDSA_SHA256 = sequence(objectId('1.2.840.10045.4.3.2'))

/**
 * A certificate (RFC 5280) that signs itself, for host names and addresses, with a key on P-256. It is no authority: whoever
 * trusts it trusts this server and nobody else.
 */
export function makeCertificate(names: readonly string[], now = new Date()): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const serial = Buffer.concat([Buffer.from([1]), randomBytes(15)])
  // A name of its own: of two that signed themselves, some programs would take the other one for the issuer.
  const named = `archimage serve ${serial.toString('hex', 1, 5)}`
  const name = sequence(set(sequence(objectId('2.5.4.3'), utf8(named))))
  const validity = sequence(utcTime(new Date(now.getTime() - DAY)), utcTime(new Date(now.getTime() + VALID)))
  const extension = (id: string, critical: boolean, value: Buffer) =>
    sequence(objectId(id), ...(critical ? [boolean(true)] : []), octets(value))
  const extensions = sequence(
    extension('2.5.29.19', true, sequence()),
    // digitalSignature, and nothing else.
    extension('2.5.29.15', true, bits(Buffer.from([0x80]), 7)),
    extension('2.5.29.37', false, sequence(objectId('1.3.6.1.5.5.7.3.1'))),
    extension('2.5.29.17', false, sequence(...names.map(generalName))),
  )
  const body = sequence(
    tagged(0, integer(Buffer.from([2])), true),
    integer(serial),
    ECDSA_SHA256,
    name,
    validity,
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(3, extensions, true),
  )
  const certificate = sequence(body, ECDSA_SHA256, bits(sign('sha256', body, privateKey)))
  return { cert: pem('CERTIFICATE', certificate), key: exportKey(privateKey) }
}

/**
 * The certificate that `folder` keeps (`ca.crt`, `key.pem`), a new one when there is none, it does not cover `needed`, or it ends
 * within a month. `made` says which; a new one is also for the names of `more`. Throws PERMISSION, NO_SPACE.
 */
export function ownCertificate(
  folder: string,
  needed: readonly string[],
  more: readonly string[] = [],
): Certificate & { readonly file: string; readonly made: boolean } {
  const [file, keyFile] = [join(folder, 'ca.crt'), join(folder, 'key.pem')]
  const kept = readKept(file, keyFile)
  if (kept !== undefined && covers(kept.cert, needed)) return { ...kept, file, made: false }
  const fresh = makeCertificate([...new Set([...needed, ...more])])
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw systemError(error, `making ${folder}`)
  }
  writeFileAtomic(keyFile, fresh.key, 0o600)
  writeFileAtomic(file, fresh.cert, 0o644)
  return { ...fresh, file, made: true }
}

function readKept(file: string, keyFile: string): Certificate | undefined {
  try {
    return { cert: readFileSync(file, 'utf8'), key: readFileSync(keyFile, 'utf8') }
  } catch {
    return undefined
  }
}

function covers(cert: string, names: readonly string[]): boolean {
  try {
    const certificate = new X509Certificate(cert)
    if (Date.parse(certificate.validTo) - Date.now() < RENEW) return false
    return names.every(name =>
      isIPv4(name) || isIPv6(name)
        ? certificate.checkIP(name) !== undefined
        : certificate.checkHost(name) !== undefined,
    )
  } catch {
    return false
  }
}

/** RFC 5280 section 4.2.1.6. */
function generalName(name: string): Buffer {
  if (isIPv4(name)) return tagged(7, Buffer.from(name.split('.').map(Number)))
  if (isIPv6(name)) return tagged(7, ipv6Bytes(name))
  return tagged(2, Buffer.from(name, 'latin1'))
}

function ipv6Bytes(address: string): Buffer {
  const plain = address.replace(/%.*$/, '').replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...parts: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = parts.slice(0, 4).map(Number)
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
  })
  const [head = '', tail] = plain.split('::')
  const [first, last] = [head.split(':').filter(Boolean), (tail ?? '').split(':').filter(Boolean)]
  const zeros = tail === undefined ? [] : Array<string>(8 - first.length - last.length).fill('0')
  const groups = [...first, ...zeros, ...last].map(group => Number.parseInt(group, 16))
  return Buffer.from(groups.flatMap(group => [group >> 8, group & 255]))
}

function exportKey(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString()
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
