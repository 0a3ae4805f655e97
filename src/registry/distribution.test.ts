import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Digest } from '../oci/digest.ts'
import { describe as descriptorOf, encodeImageManifest, encodeIndex } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { saveLogin, verifyLogin } from './login.ts'
import { failure, quickRegistry, readAll, testCertificate } from './test-server.ts'

/** bcrypt of "sesame-open". */
const HTPASSWD = 'robot:$2b$04$peOi8kiyxxo58tTUZvTyxussSXraE/b1FZ.ZRXvprBSJ0g0MS4Hda\n'

function installed(): boolean {
  try {
    execFileSync('docker-registry', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const there = installed()
if (!there && process.env['CI'])
  throw new Error('docker-registry is not installed: CI needs it (apt-get install docker-registry)')
if (!there) console.error('docker-registry is not installed: the tests against distribution are skipped')

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

const certificate = there ? testCertificate() : undefined
const kinds = [{}, { withAuth: true }, { withTls: 'trusted' }, { withTls: 'insecure' }, { withTls: 'neither' }]

describe.skipIf(!there).each(kinds as { withAuth?: true; withTls?: string }[])(
  "distribution's registry on loopback: %j",
  ({ withAuth, withTls }) => {
    if (withTls !== undefined && certificate === undefined) return
    const folder = there ? mkdtempSync(join(tmpdir(), 'archimage-distribution-')) : ''
    let child: ChildProcess | undefined
    let host = ''
    beforeAll(async () => {
      const port = await freePort()
      host = `127.0.0.1:${port}`
      writeFileSync(join(folder, 'htpasswd'), HTPASSWD)
      for (const name of ['key', 'cert'] as const) if (withTls) writeFileSync(join(folder, name), certificate![name])
      if (withTls === 'trusted') {
        mkdirSync(join(folder, '.config/containers/certs.d', host), { recursive: true })
        writeFileSync(join(folder, '.config/containers/certs.d', host, 'ca.crt'), certificate!.cert)
      }
      writeFileSync(
        join(folder, 'config.yml'),
        [
          'version: 0.1',
          'log: {level: error, accesslog: {disabled: true}}',
          `storage: {filesystem: {rootdirectory: ${folder}/data}, delete: {enabled: true}}`,
          `http: {addr: "${host}"${withTls ? `, tls: {certificate: ${folder}/cert, key: ${folder}/key}` : ''}}`,
          ...(withAuth ? [`auth: {htpasswd: {realm: test, path: ${folder}/htpasswd}}`] : []),
        ].join('\n'),
      )
      child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: 'ignore' })
      for (let i = 0; i < 200; i++) {
        const answer = await fetch(`http://${host}/v2/`).catch(() => undefined)
        if (answer !== undefined) break
        await new Promise(resolve => setTimeout(resolve, 25))
      }
      if (withAuth) await saveLogin(host, 'robot', 'sesame-open', { env: { HOME: folder } })
    })
    afterAll(() => {
      child?.kill('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    })

    const env = { HOME: folder, CONTAINERS_REGISTRIES_CONF: '' }
    const blob = (bytes: Uint8Array, mediaType: string = OCI.layerGzip) => ({
      mediaType,
      digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest,
      size: bytes.byteLength,
    })
    const body = (bytes: Uint8Array) => () =>
      new Blob([bytes as Uint8Array<ArrayBuffer>]).stream() as ReadableStream<Uint8Array>

    test('push, mount, pull, tags, delete', async () => {
      const registry = quickRegistry({ env, insecure: withTls === 'insecure' })
      const repository = registry.repository(`${host}/team/app`)
      const layer = randomBytes(2_000_000)
      const config = Buffer.from('{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}')
      const parts = { config: blob(config, OCI.config), layers: [blob(layer)] }
      expect(await repository.hasBlob(parts.layers[0]!)).toBe(false)
      const bodies = [
        [parts.config, config],
        [parts.layers[0]!, layer],
        [blob(Buffer.alloc(0)), Buffer.alloc(0)],
      ] as const
      expect(await Promise.all(bodies.map(([d, bytes]) => repository.putBlob(d, body(bytes))))).toEqual([
        'uploaded',
        'uploaded',
        'uploaded',
      ])
      expect(await repository.hasBlob(parts.layers[0]!)).toBe(true)
      const manifest = encodeImageManifest({ docker: false, ...parts })
      const index = encodeIndex({
        docker: false,
        manifests: [descriptorOf(manifest, { os: 'linux', architecture: 'amd64' })],
      })
      expect((await failure(repository.putManifest(index, 'early'))).message).toContain('MANIFEST_BLOB_UNKNOWN')
      await repository.putManifest(manifest)
      for (const tag of ['1.0', '1.1']) expect(await repository.putManifest(index, tag)).toBe(index.digest)

      const fresh = quickRegistry({ env })
      const reader = fresh.repository(`${host}/team/app`)
      expect(await reader.head('1.0')).toEqual(descriptorOf(index))
      expect((await reader.manifest('1.0'))?.raw).toEqual(new Uint8Array(index.raw))
      expect(await reader.manifest('2.0')).toBeUndefined()
      expect((await readAll(await reader.blob(parts.layers[0]!))).equals(layer)).toBe(true)
      expect(
        (await readAll(await reader.blob(parts.layers[0]!, { start: 1_999_000 }))).equals(layer.subarray(1_999_000)),
      ).toBe(true)
      expect((await Array.fromAsync(reader.tags())).sort()).toEqual(['1.0', '1.1'])
      expect(await Array.fromAsync(fresh.repository(`${host}/no/such`).tags())).toEqual([])

      const other = fresh.repository(`${host}/team/other`)
      expect(await other.putBlob(parts.layers[0]!, body(layer), { from: ['no/such', 'team/app'] })).toBe('mounted')
      expect((await failure(other.putBlob({ ...blob(randomBytes(2_000_000)) }, body(layer)))).code).toBe(
        'DIGEST_MISMATCH',
      )
      expect(await reader.deleteManifest(index.digest)).toBe(true)
      expect(await reader.deleteManifest(index.digest)).toBe(false)
      expect(await reader.manifest('1.0')).toBeUndefined()
    })

    test.if(withAuth === true)('without, with wrong and with right credentials', async () => {
      const stranger = quickRegistry({ env: { HOME: '/nonexistent', CONTAINERS_REGISTRIES_CONF: '' } })
      const error = await failure(stranger.repository(`${host}/team/app`).manifest('1.0'))
      expect(error.code).toBe('UNAUTHORIZED')
      expect(error.hint).toContain(`archimage login ${host}`)
      expect((await failure(verifyLogin(host, 'robot', 'wrong-one', { env }))).code).toBe('UNAUTHORIZED')
      await verifyLogin(host, 'robot', 'sesame-open', { env })
    })
  },
)
