import { afterAll, describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeIndex } from '../oci/manifest.ts'
import { parseRegistryConfig } from './config.ts'
import { tokenCredential, userCredential } from './credentials.ts'
import type { RegistryOptions } from './registry.ts'
import { failure, quickRegistry, type Seen, startServer, testCertificate } from './test-server.ts'

const INDEX = encodeIndex({ docker: false, manifests: [] })
const folder = mkdtempSync(join(tmpdir(), 'archimage-options-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

type Response = Parameters<Parameters<typeof startServer>[0]>[1]
const serve = (_request: Seen, response: Response) =>
  void response.writeHead(200, { 'content-type': INDEX.mediaType }).end(INDEX.raw)
const basic = (pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`
const challenging = (request: Seen, response: Response) =>
  request.headers.authorization === undefined
    ? void response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
    : serve(request, response)
const digestAt = async (host: string, options: RegistryOptions) =>
  (await quickRegistry(options).repository(`${host}/team/app`).manifest('1'))?.digest

describe('credentials of the command line', () => {
  test('go to their registry, never to its mirror', async () => {
    await using upstream = await startServer(challenging)
    await using mirror = await startServer(
      (_r, response) => void response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end(),
    )
    const config = parseRegistryConfig(
      `[[registry]]\nlocation = "${upstream.host}"\n[[registry.mirror]]\nlocation = "${mirror.host}"\n`,
    )
    const hosts = { [upstream.host]: { credential: userCredential('me', 'pw-of-me') } }
    expect(await digestAt(upstream.host, { config, hosts })).toBe(INDEX.digest)
    expect(upstream.seen.at(-1)!.headers.authorization).toBe(basic('me:pw-of-me'))
    expect(mirror.seen.length).toBeGreaterThan(0)
    expect(mirror.seen.filter(request => request.headers.authorization !== undefined)).toEqual([])
  })

  test('a file in place of those of docker and podman; none at all; a token as it is', async () => {
    await using server = await startServer(challenging)
    const authFile = join(folder, 'auth.json')
    const auths = { [server.host]: { auth: Buffer.from('filed:pw-of-filed').toString('base64') } }
    writeFileSync(authFile, JSON.stringify({ auths }))
    expect(await digestAt(server.host, { authFile })).toBe(INDEX.digest)
    expect(server.seen.at(-1)!.headers.authorization).toBe(basic('filed:pw-of-filed'))
    const nobody = { [server.host]: { credential: null } }
    expect((await failure(digestAt(server.host, { authFile, hosts: nobody }))).code).toBe('UNAUTHORIZED')
    const token = { [server.host]: { credential: tokenCredential('token-4711') } }
    await digestAt(server.host, { authFile, hosts: token })
    expect(server.seen.at(-1)!.headers.authorization).toBe('Bearer token-4711')
    expect((await failure(digestAt(server.host, { authFile: join(folder, 'none') }))).code).toBe('CREDENTIALS')
  })
})

const pair = testCertificate()
describe.skipIf(pair === undefined)('TLS', () => {
  const { key, cert } = pair ?? { key: '', cert: '' }
  const [caFile, certFile, keyFile] = ['ca.crt', 'client.cert', 'client.key'].map(name => join(folder, 'certs', name))
  mkdirSync(join(folder, 'certs'))
  writeFileSync(caFile!, cert)
  writeFileSync(certFile!, cert)
  writeFileSync(keyFile!, key)
  const client: RegistryOptions = { caFile: caFile!, certFile: certFile!, keyFile: keyFile! }
  const tls = (mutual: boolean) =>
    startServer(serve, listener => {
      const options = { key, cert, ...(mutual ? { ca: cert, requestCert: true, rejectUnauthorized: true } : {}) }
      return createServer(options, listener as never) as never
    })

  test('loopback takes any certificate, unless one insists', async () => {
    await using server = await tls(false)
    expect(await digestAt(server.host, {})).toBe(INDEX.digest)
    expect((await failure(digestAt(server.host, { tlsVerify: true }))).code).toBe('REGISTRY_UNREACHABLE')
    expect(await digestAt(server.host, { tlsVerify: true, caFile: caFile! })).toBe(INDEX.digest)
    const hosts = { [server.host]: { tlsVerify: false } }
    expect(await digestAt(server.host, { tlsVerify: true, hosts })).toBe(INDEX.digest)
  })

  test('plain HTTP is not taken by who insists on TLS or names certificates', async () => {
    await using server = await startServer(serve)
    expect(await digestAt(server.host, {})).toBe(INDEX.digest)
    for (const options of [{ tlsVerify: true }, { caFile: caFile! }, { certDir: join(folder, 'certs') }])
      expect((await failure(digestAt(server.host, options))).code).toBe('REGISTRY_UNREACHABLE')
    expect(await digestAt(server.host, { caFile: caFile!, tlsVerify: false })).toBe(INDEX.digest)
  })

  test('client certificates, from files and from a folder', async () => {
    await using server = await tls(true)
    expect((await failure(digestAt(server.host, {}))).code).toBe('REGISTRY_UNREACHABLE')
    expect(await digestAt(server.host, client)).toBe(INDEX.digest)
    expect(await digestAt(server.host, { certDir: join(folder, 'certs') })).toBe(INDEX.digest)
  })

  test('files that are not there or no PEM, half a pair', async () => {
    const der = join(folder, 'der.crt')
    writeFileSync(der, Buffer.from([0x30, 0x82, 1, 2]))
    const errors = await Promise.all(
      [
        { caFile: der },
        { caFile: join(folder, 'none') },
        { certDir: join(folder, 'none') },
        { certFile: certFile! },
      ].map(options => failure(digestAt('127.0.0.1:1', options))),
    )
    expect(errors.map(error => error.message)).toEqual([
      `${der} is no PEM file`,
      expect.stringContaining(join(folder, 'none')),
      expect.stringContaining(join(folder, 'none')),
      `${certFile}: a client certificate is a pair`,
    ])
  })
})
