import { afterEach, beforeEach, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requirePeers } from '../../../test/peers/require.ts'
import { makeCertificate, ownCertificate } from './certificate.ts'
import { type Registry, startRegistry } from './start.ts'
import { readTls } from './tls-files.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'archimage-test-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

test('a certificate is for the names that it was made for, and for servers alone', () => {
  const names = [
    'localhost',
    'registry.example.com',
    '127.0.0.1',
    '::1',
    'fe80::1:2',
    '::ffff:1.2.3.4',
    '2001:db8:1:2:3:4:5:6',
  ]
  const made = makeCertificate(names)
  const certificate = new X509Certificate(made.cert)
  expect(certificate.checkPrivateKey(createPrivateKey(made.key))).toBe(true)
  expect(certificate.verify(certificate.publicKey)).toBe(true)
  expect(certificate.ca).toBe(false)
  for (const name of names)
    expect([name, /[:]|^[\d.]+$/.test(name) ? certificate.checkIP(name) : certificate.checkHost(name)]).not.toContain(
      undefined,
    )
  expect([certificate.checkHost('example.com'), certificate.checkIP('127.0.0.2')]).toEqual([undefined, undefined])
  const days = (Date.parse(certificate.validTo) - Date.now()) / 86_400_000
  expect(days).toBeGreaterThan(800)
  expect(days).toBeLessThan(825)
})

test('it is kept, and made anew when it does not cover a name, ends, or is damaged', () => {
  const folder = join(dir, 'tls')
  const first = ownCertificate(folder, ['localhost'], ['10.0.0.1'])
  expect([first.made, statSync(join(folder, 'key.pem')).mode & 0o777]).toEqual([true, 0o600])
  expect(ownCertificate(folder, ['localhost', '10.0.0.1'])).toEqual({ ...first, made: false })
  const second = ownCertificate(folder, ['localhost', '10.0.0.2'])
  expect([second.made, second.cert === first.cert]).toEqual([true, false])
  writeFileSync(join(folder, 'ca.crt'), makeCertificate(['localhost'], new Date(Date.now() - 800 * 86_400_000)).cert)
  expect(ownCertificate(folder, ['localhost']).made).toBe(true)
  writeFileSync(join(folder, 'ca.crt'), 'no certificate')
  expect(ownCertificate(folder, ['localhost']).made).toBe(true)
})

async function serving(
  tls: { cert: string; key: string; clientCa?: string },
  work: (registry: Registry) => Promise<void>,
) {
  const registry = await startRegistry({ port: 0, tls })
  try {
    await work(registry)
  } finally {
    await registry.close()
  }
}

const ask = (registry: Registry, tls: object) => fetch(`${registry.url}/v2/`, { tls } as RequestInit)

test('HTTPS with it; who does not know it does not get in', async () => {
  const made = makeCertificate(['localhost', '127.0.0.1'])
  await serving(made, async registry => {
    expect(registry.url).toStartWith('https://127.0.0.1:')
    expect((await ask(registry, { ca: made.cert })).status).toBe(200)
    await expect(ask(registry, {})).rejects.toThrow()
  })
})

test('files that do not belong together are refused by name', () => {
  const [one, two] = [makeCertificate(['a']), makeCertificate(['a'])]
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text)
    return join(dir, name)
  }
  const [cert, key] = [file('cert.pem', one.cert), file('key.pem', one.key)]
  expect(readTls({ cert, key })).toEqual(one)
  expect(readTls({ cert, key, clientCa: cert })).toEqual({ ...one, clientCa: one.cert })
  const other = file('other.pem', two.key)
  const junk = file('junk.pem', 'junk')
  const old = makeCertificate(['a'], new Date(Date.now() - 900 * 86_400_000))
  for (const [files, message] of [
    [{ cert, key: other }, `${other} is not the key of the certificate in ${cert}`],
    [{ cert: junk, key }, `${junk} holds no certificate (PEM)`],
    [{ cert, key: junk }, `${junk} holds no private key without a password (PEM)`],
    [{ cert, key, clientCa: junk }, `${junk} holds no certificate (PEM)`],
    [{ cert: join(dir, 'x'), key }, `there is no ${join(dir, 'x')} with the certificate`],
    [{ cert: file('old.pem', old.cert), key: file('oldkey.pem', old.key) }, 'was valid until'],
  ] as const)
    expect(() => readTls(files)).toThrow(message)
})

requirePeers('openssl')('clients without a certificate of the right authority do not get in', async () => {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'ignore' })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  for (const ca of ['ca', 'other']) {
    openssl('req', '-x509', ...key, '-days', '2', '-subj', `/CN=${ca}`, '-keyout', `${ca}.key`, '-out', `${ca}.pem`)
    openssl('req', ...key, '-subj', '/CN=client', '-keyout', `${ca}-client.key`, '-out', 'client.csr')
    openssl(
      'x509',
      '-req',
      '-in',
      'client.csr',
      '-CA',
      `${ca}.pem`,
      '-CAkey',
      `${ca}.key`,
      '-CAcreateserial',
      '-days',
      '2',
      '-out',
      `${ca}-client.pem`,
    )
  }
  expect(existsSync(join(dir, 'ca-client.pem'))).toBe(true)
  const read = (name: string) => readFileSync(join(dir, name), 'utf8')
  const made = makeCertificate(['127.0.0.1'])
  await serving({ ...made, clientCa: read('ca.pem') }, async registry => {
    const client = (ca: string) => ({ ca: made.cert, cert: read(`${ca}-client.pem`), key: read(`${ca}-client.key`) })
    expect((await ask(registry, client('ca'))).status).toBe(200)
    await expect(ask(registry, client('other'))).rejects.toThrow()
    await expect(ask(registry, { ca: made.cert })).rejects.toThrow()
  })
})
