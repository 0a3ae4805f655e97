import { afterAll, expect } from 'bun:test'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { sha256 } from '../../src/oci/digest.ts'
import { encodeIndex } from '../../src/oci/manifest.ts'
import { parseRegistryConfig } from '../../src/registry/config.ts'
import { openRegistry } from '../../src/registry/registry.ts'
import { readAll, testCertificate } from '../../src/registry/test-server.ts'
import { must, peerOrThrow, run, startRegistry } from '../peers/index.ts'
import { requirePeers } from '../peers/require.ts'
import { Sandbox, simpleServices } from '../run/command.ts'

const sandbox = new Sandbox('distribution')
afterAll(() => sandbox.dispose())
const home = join(sandbox.folder, 'home')
const config = join(home, '.docker/config.json')

requirePeers('docker-registry', 'openssl')(
  'client certificates, from flags and from certs.d, and a password',
  async () => {
    const [server, client] = [testCertificate()!, testCertificate()!]
    await using registry = await startRegistry({ auth: true, tls: { ...server, clientCa: client.cert } })
    const { host } = registry
    const folder = sandbox.project('certs', {
      'ca.crt': server.cert,
      'client.cert': client.cert,
      'client.key': client.key,
    })
    const flags = ['--ca-file', 'ca.crt', '--cert-file', 'client.cert', '--key-file', 'client.key']
    const project = sandbox.project('app', simpleServices('a'))

    const refused = await sandbox.run(['login', '-u', 'tester', '--password-stdin', host], { input: 'secret' })
    expect(refused.code).not.toBe(0)
    await sandbox.must(['login', '-u', 'tester', '--password-stdin', ...flags, host], { input: 'secret', cwd: folder })

    const place = join(home, '.config/containers/certs.d', host)
    mkdirSync(place, { recursive: true })
    for (const name of ['ca.crt', 'client.cert', 'client.key'])
      writeFileSync(join(place, name), readFileSync(join(folder, name)))
    await sandbox.must(['build', '--push', '--registry', `${host}/team`, '-t', '1.0'], { cwd: project })
    await sandbox.must(['verify', `${host}/team/a:1.0`])
    rmSync(place, { recursive: true })
    const anew = [
      'build',
      '--push',
      '--registry',
      `${host}/again`,
      '-t',
      '1.0',
      '--cert-dir',
      folder,
      '--authfile',
      config,
    ]
    await sandbox.must(anew, { cwd: project, env: { DOCKER_CONFIG: folder } })
    expect((await sandbox.run(['verify', `${host}/team/a:1.0`])).code).not.toBe(0)

    await sandbox.must(['verify', ...flags, `${host}/team/a:1.0`], { cwd: folder })
    await sandbox.must(['verify', '--cert-dir', folder, `${host}/team/a:1.0`])
    await sandbox.must(['verify', '--cert-dir', folder, '--creds', 'tester:secret', `${host}/team/a:1.0`])
    const wrong = await sandbox.run(['verify', '--cert-dir', folder, '--creds', 'tester:wrong', `${host}/team/a:1.0`])
    expect([wrong.code, wrong.stderr]).toEqual([3, expect.stringContaining('401')])
    await sandbox.must([
      'copy',
      `docker://${host}/team/a:1.0`,
      `docker://${host}/other/a:1.0`,
      '--src-cert-dir',
      folder,
      '--dest-cert-dir',
      folder,
    ])
    await sandbox.must(['logout', host])
    expect((await sandbox.run(['verify', '--cert-dir', folder, `${host}/team/a:1.0`])).code).toBe(3)
  },
)

requirePeers(
  'docker-registry',
  'podman',
  'skopeo',
  'docker',
)('podman, skopeo and docker read what login wrote, and we what they wrote', async () => {
  await using registry = await startRegistry({ auth: true })
  const { host } = registry
  const project = sandbox.project('logins', simpleServices('a'))
  const image = `${host}/team/a:1.0`
  const env = { HOME: home, XDG_RUNTIME_DIR: join(sandbox.folder, 'none'), DOCKER_CLI_EXPERIMENTAL: 'enabled' }
  const podman = peerOrThrow('podman')
  const login = [podman, 'login', '--get-login', host]
  const skopeo = [peerOrThrow('skopeo'), 'inspect', '--raw', '--tls-verify=false', `docker://${image}`]
  const docker = [peerOrThrow('docker'), 'manifest', 'inspect', '--insecure', image]

  await sandbox.must(['login', '-u', 'tester', '--password-stdin', host], { input: 'secret' })
  await sandbox.must(['build', '--push', '--registry', `${host}/team`, '-t', '1.0'], { cwd: project })
  expect((await must(login, { env })).trim()).toBe('tester')
  const index = await must(skopeo, { env })
  expect(JSON.parse(await must(docker, { env })).manifests).toEqual(JSON.parse(index).manifests)
  await sandbox.must(['logout', host])
  expect(JSON.parse(readFileSync(config, 'utf8')).auths).toEqual({})
  for (const command of [login, skopeo]) expect((await run(command, { env })).code).not.toBe(0)

  const authFile = join(sandbox.folder, 'podman.json')
  await must([podman, 'login', '--tls-verify=false', '--authfile', authFile, '-u', 'tester', '-p', 'secret', host], {
    env,
  })
  await sandbox.must(['verify', '--authfile', authFile, image])
  expect((await sandbox.must(['login', '--get-login', '--authfile', authFile, host])).stdout.trim()).toBe('tester')
  await sandbox.must(['login', '--authfile', authFile, '-u', 'tester', '--password-stdin', host], { input: 'secret' })
  expect((await must([podman, 'login', '--get-login', '--authfile', authFile, host], { env })).trim()).toBe('tester')
  await sandbox.must(['logout', '--all', '--authfile', authFile])
  expect((await run([podman, 'login', '--get-login', '--authfile', authFile, host], { env })).code).not.toBe(0)
})

/** An HTTP proxy that takes every host for 127.0.0.1, and wants a password. */
async function startProxy() {
  const seen: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer(client => {
    sockets.add(client)
    client.on('error', () => {})
    client.once('data', (first: Buffer) => {
      client.pause()
      const text = first.toString('latin1')
      const [, method = '', target = ''] = /^(\S+) (\S+)/.exec(text) ?? []
      seen.push(`${method} ${target}`)
      const allowed = text.includes(`Proxy-Authorization: Basic ${Buffer.from('me:pass-of-proxy').toString('base64')}`)
      if (!allowed) return client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
      const tunnel = method === 'CONNECT'
      const { port } = new URL(tunnel ? `http://${target}` : target)
      const upstream = connect(Number(port), '127.0.0.1', () => {
        if (tunnel) client.write('HTTP/1.1 200 OK\r\n\r\n')
        // One request per connection: the registry is told to close it.
        else
          upstream.write(
            Buffer.from(
              text
                .replace(target, new URL(target).pathname + new URL(target).search)
                .replace(/^Connection: .*$/im, 'Connection: close'),
              'latin1',
            ),
          )
        client.pipe(upstream).pipe(client)
      })
      sockets.add(upstream)
      upstream.on('error', () => client.destroy())
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    seen,
    url: `http://me:pass-of-proxy@127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

requirePeers('docker-registry', 'openssl')(
  'behind an HTTP proxy with a password, in the clear and through a tunnel',
  async () => {
    await using proxy = await startProxy()
    const bytes = Buffer.alloc(300_000, 'through the proxy')
    const blob = { mediaType: 'application/octet-stream', digest: sha256(bytes), size: bytes.byteLength }
    const index = encodeIndex({ docker: false, manifests: [] })
    for (const tls of [undefined, testCertificate('registry.test')!]) {
      await using registry = await startRegistry(tls === undefined ? {} : { tls })
      const host = registry.host.replace('127.0.0.1', 'registry.test')
      const caFile = join(sandbox.folder, 'proxied.crt')
      writeFileSync(caFile, tls?.cert ?? '')
      const env = { HOME: home, HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url }
      const text = tls === undefined ? `[[registry]]\nlocation = "${host}"\ninsecure = true\n` : ''
      const client = openRegistry({ env, config: parseRegistryConfig(text), ...(tls === undefined ? {} : { caFile }) })
      const repository = client.repository(`${host}/team/app`)
      proxy.seen.length = 0
      await repository.putBlob(blob, () => new Blob([bytes]).stream())
      await repository.putManifest(index, '1.0')
      expect((await repository.manifest('1.0'))?.digest).toBe(index.digest)
      expect((await readAll(await repository.blob(blob))).equals(bytes)).toBe(true)
      expect(proxy.seen.length).toBeGreaterThan(0)
      expect(proxy.seen.every(line => line.includes(host))).toBe(true)
      if (tls !== undefined) expect(new Set(proxy.seen)).toEqual(new Set([`CONNECT ${host}`]))
    }
  },
)
