import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeCertificate } from '../../src/registry/server/certificate.ts'
import { type Registry, startRegistry } from '../../src/registry/server/start.ts'
import { layoutTransport } from '../../src/transports/layout.ts'
import { serveLayout } from '../../src/transports/served.ts'
import { indexOf, putAll } from '../../src/transports/testing/images.ts'
import { type BuildKit, startBuildKit } from '../peers/buildkit.ts'
import { type Docker, startDocker } from '../peers/docker.ts'
import { peerOrThrow } from '../peers/locate.ts'
import { type Podman, startPodman } from '../peers/podman.ts'
import { must, removeFolder, run, temporaryFolder } from '../peers/process.ts'
import { canRun, requirePeers } from '../peers/require.ts'

/** "secret", by htpasswd -B. */
const HTPASSWD = 'tester:$2b$04$pDbMRgiKl5sg/7r64cuHk.W1w9qsyIm.hd8FK718scOoGw8V3CtOS\n'
const COPY = ['copy', '--all', '--preserve-digests']
const LOGIN = ['-u', 'tester', '-p', 'secret']
const CREDENTIALS = 'tester:secret'

const folder = temporaryFolder('serve')
const layout = join(folder, 'layout')
const certs = join(folder, 'certs')
const ca = join(certs, 'ca.crt')
/** docker's configuration for those that have no command to log in with. */
const config = join(folder, 'config')
const image = indexOf('served', [
  { os: 'linux', architecture: 'amd64' },
  { os: 'linux', architecture: 'arm64' },
])
const TOP = image.manifests[0]!.digest

/** HTTPS and users: everybody may read, or nobody without a password. */
let open: Registry
let closed: Registry
/** A layout, read-only, plain HTTP. */
let bundle: Registry
let docker: Docker | undefined
let podman: Podman | undefined
let buildkit: BuildKit | undefined

beforeAll(async () => {
  for (const path of [certs, config]) mkdirSync(path)
  const tls = makeCertificate(['127.0.0.1'])
  const htpasswd = join(folder, 'users')
  writeFileSync(ca, tls.cert)
  writeFileSync(htpasswd, HTPASSWD, { mode: 0o600 })
  open = await startRegistry({ port: 0, tls, htpasswd, anonymousPull: true })
  closed = await startRegistry({ port: 0, tls, htpasswd })
  await putAll(layoutTransport(layout), image, 'registry.example.com/team/app:v1')
  bundle = await startRegistry({ port: 0, storage: serveLayout(layout) })
  const auth = Buffer.from(CREDENTIALS).toString('base64')
  const auths = Object.fromEntries([open, closed].map(({ address }) => [address, { auth }]))
  writeFileSync(join(config, 'config.json'), JSON.stringify({ auths }))
  const hosts = [open.address, closed.address]
  if (canRun('dockerd', 'docker', 'root')) docker = await startDocker()
  if (canRun('podman', 'root')) podman = await startPodman()
  if (canRun('buildkitd', 'buildctl', 'root'))
    buildkit = await startBuildKit({ secure: { hosts, ca }, registries: [bundle.address] })
}, 120_000)

afterAll(async () => {
  for (const one of [docker, podman, buildkit]) await one?.stop()
  for (const registry of [open, closed, bundle]) await registry.close()
  await removeFolder(folder)
}, 60_000)

const digest = async (registry: Registry, path: string) => {
  const headers = { authorization: `Basic ${Buffer.from(CREDENTIALS).toString('base64')}` }
  const response = await fetch(`${registry.url}/v2/${path}`, { headers, tls: { rejectUnauthorized: false } })
  return response.headers.get('docker-content-digest')
}

describe.each([
  ['everybody may read', () => open, true],
  ['nobody without a password', () => closed, false],
])('HTTPS, %s', (_, registry, free) => {
  requirePeers('crane')('crane', async () => {
    const remote = `${registry().address}/crane/app:v1`
    const crane = (...args: string[]) => [peerOrThrow('crane'), ...args]
    const env = {
      SSL_CERT_FILE: ca,
      SSL_CERT_DIR: '/nonexistent',
      DOCKER_CONFIG: join(folder, 'crane'),
      REGISTRY_AUTH_FILE: undefined,
    }
    expect((await run(crane('push', '--index', layout, remote), { env })).code).not.toBe(0)
    expect((await run(crane('auth', 'login', registry().address, '-u', 'tester', '-p', 'wrong'), { env })).code).toBe(0)
    expect((await run(crane('push', '--index', layout, remote), { env })).code).not.toBe(0)
    await must(crane('auth', 'login', registry().address, ...LOGIN), { env })
    await must(crane('push', '--index', layout, remote), { env })
    expect((await must(crane('digest', remote), { env })).trim()).toStartWith('sha256:')
    await must(crane('copy', remote, `${registry().address}/crane/copy:v2`), { env })
    const anonymous = await run(crane('digest', remote), { env: { ...env, DOCKER_CONFIG: join(folder, 'none') } })
    expect(anonymous.code === 0).toBe(free)
  })

  requirePeers(
    'skopeo',
    'podman',
    'root',
  )('skopeo', async () => {
    const remote = `docker://${registry().address}/skopeo/app:v1`
    const to = ['--dest-creds', CREDENTIALS, '--dest-cert-dir', certs, '--dest-tls-verify=true']
    const from = ['--src-cert-dir', certs, '--src-tls-verify=true', ...(free ? [] : ['--src-creds', CREDENTIALS])]
    await podman!.skopeo([...COPY, ...to, `oci:${layout}`, remote])
    expect(await digest(registry(), 'skopeo/app/manifests/v1')).toBe(TOP)
    await podman!.skopeo([...COPY, ...from, ...to, remote, `docker://${registry().address}/skopeo/other:v1`])
    await podman!.skopeo([...COPY, ...from, remote, `oci:${folder}/back-${free}`])
    const plain = podman!.skopeo(['inspect', '--raw', '--cert-dir', certs, '--tls-verify=true', remote])
    expect(
      await plain.then(
        () => true,
        () => false,
      ),
    ).toBe(free)
  })

  requirePeers(
    'podman',
    'skopeo',
    'root',
  )('podman', async () => {
    const { address } = registry()
    const tls = ['--tls-verify=true', '--cert-dir', certs]
    await podman!.skopeo([
      ...COPY,
      '--dest-creds',
      CREDENTIALS,
      '--dest-cert-dir',
      certs,
      `oci:${layout}`,
      `docker://${address}/podman/app:v1`,
    ])
    const pull = () => podman!.podman(['pull', '-q', ...tls, '--platform', 'linux/arm64', `${address}/podman/app:v1`])
    if (free) await pull()
    else await expect(pull()).rejects.toThrow()
    const push = () => podman!.podman(['push', '-q', ...tls, `${address}/podman/app:v1`, `${address}/podman/arm:v1`])
    if (free) await expect(push()).rejects.toThrow()
    await podman!.podman(['login', ...tls, ...LOGIN, address])
    await pull()
    await push()
    const list = `localhost/list-${free}`
    await podman!.podman(['manifest', 'create', list])
    await podman!.podman(['manifest', 'add', '--all', ...tls, list, `docker://${address}/podman/app:v1`])
    await podman!.podman(['manifest', 'push', '--all', ...tls, list, `docker://${address}/podman/list:v1`])
    await podman!.podman(['logout', address])
    expect(await digest(registry(), 'podman/list/manifests/v1')).toStartWith('sha256:')
  })

  requirePeers(
    'dockerd',
    'docker',
    'skopeo',
    'podman',
    'root',
  )('docker', async () => {
    const { address } = registry()
    await podman!.skopeo([
      ...COPY,
      '--dest-creds',
      CREDENTIALS,
      '--dest-cert-dir',
      certs,
      `oci:${layout}`,
      `docker://${address}/docker/app:v1`,
    ])
    const pull = () => docker!.docker(['pull', '-q', `${address}/docker/app:v1`])
    if (free) {
      await pull()
      await docker!.docker(['tag', `${address}/docker/app:v1`, `${address}/docker/mine:v1`])
      await expect(docker!.docker(['push', '-q', `${address}/docker/mine:v1`])).rejects.toThrow()
    } else await expect(pull()).rejects.toThrow()
    await expect(docker!.docker(['login', '-u', 'tester', '-p', 'wrong', address])).rejects.toThrow()
    await docker!.docker(['login', ...LOGIN, address])
    await pull()
    await docker!.docker(['tag', `${address}/docker/app:v1`, `${address}/docker/mine:v1`])
    await docker!.docker(['push', '-q', `${address}/docker/mine:v1`])
    await docker!.docker(['pull', '-q', `${address}/docker/app@${TOP}`])
    await docker!.docker(['logout', address])
    expect(await digest(registry(), 'docker/mine/manifests/v1')).toStartWith('sha256:')
  })

  requirePeers(
    'dockerd',
    'docker',
    'ctr',
    'skopeo',
    'podman',
    'root',
  )('containerd', async () => {
    const { address } = registry()
    const socket = join(docker!.host.slice('unix://'.length), '../exec/containerd/containerd.sock')
    const ctr = (...args: string[]) => [peerOrThrow('ctr'), '-a', socket, '-n', 'tests', 'images', ...args]
    // Without this containerd speaks plain HTTP to loopback.
    const hosts = join(folder, 'hosts')
    mkdirSync(join(hosts, address), { recursive: true })
    writeFileSync(
      join(hosts, address, 'hosts.toml'),
      `server = "https://${address}"\n[host."https://${address}"]\nca = "${ca}"\n`,
    )
    const tls = ['--hosts-dir', hosts]
    const user = ['--user', CREDENTIALS]
    await podman!.skopeo([
      ...COPY,
      '--dest-creds',
      CREDENTIALS,
      '--dest-cert-dir',
      certs,
      `oci:${layout}`,
      `docker://${address}/ctr/app:v1`,
    ])
    const anonymous = await run(ctr('pull', ...tls, '--all-platforms', `${address}/ctr/app:v1`))
    expect(anonymous.code === 0).toBe(free)
    await must(ctr('pull', ...tls, ...user, '--all-platforms', `${address}/ctr/app:v1`))
    await must(ctr('tag', `${address}/ctr/app:v1`, `${address}/ctr/mine:v1`))
    expect((await run(ctr('push', ...tls, `${address}/ctr/mine:v1`))).code).not.toBe(0)
    await must(ctr('push', ...tls, ...user, `${address}/ctr/mine:v1`))
    expect(await digest(registry(), 'ctr/mine/manifests/v1')).toBe(TOP)
  })

  requirePeers(
    'buildkitd',
    'buildctl',
    'skopeo',
    'podman',
    'root',
  )('BuildKit', async () => {
    const { address } = registry()
    await podman!.skopeo([
      ...COPY,
      '--dest-creds',
      CREDENTIALS,
      '--dest-cert-dir',
      certs,
      `oci:${layout}`,
      `docker://${address}/bk/base:v1`,
    ])
    const context = join(folder, `context-${free}`)
    mkdirSync(context)
    writeFileSync(join(context, 'Dockerfile'), `FROM ${address}/bk/base:v1\nCOPY Dockerfile /new\n`)
    const build = (name: string, env: Record<string, string>) =>
      buildkit!.buildctl(
        [
          ...[
            'build',
            '--frontend',
            'dockerfile.v0',
            '--local',
            `context=${context}`,
            '--local',
            `dockerfile=${context}`,
          ],
          ...['--opt', 'platform=linux/amd64,linux/arm64', '--progress', 'plain'],
          ...['--output', `type=image,name=${address}/bk/${name},push=true`],
        ],
        { env },
      )
    await expect(build('anonymous:v1', { DOCKER_CONFIG: join(folder, 'none') })).rejects.toThrow()
    await build('made:v1', { DOCKER_CONFIG: config, SSL_CERT_FILE: ca, SSL_CERT_DIR: '/nonexistent' })
    expect(await digest(registry(), 'bk/made/manifests/v1')).toStartWith('sha256:')
    expect(await digest(registry(), 'bk/anonymous/manifests/v1')).toBeNull()
  })
})

describe('a layout, read-only', () => {
  requirePeers(
    'podman',
    'skopeo',
    'crane',
    'root',
  )('podman, skopeo and crane pull from it', async () => {
    const remote = `${bundle.address}/team/app:v1`
    const pulled = await podman!.podman(['pull', '-q', '--platform', 'linux/arm64', remote])
    expect(pulled.trim()).toMatch(/^[0-9a-f]{64}$/)
    await podman!.skopeo([...COPY, '--src-tls-verify=false', `docker://${remote}`, `oci:${folder}/bundle-back`])
    expect((await must([peerOrThrow('crane'), 'digest', '--insecure', remote])).trim()).toBe(TOP)
    expect((await run([peerOrThrow('crane'), 'tag', '--insecure', remote, 'v2'])).code).not.toBe(0)
  })

  requirePeers(
    'dockerd',
    'docker',
    'buildkitd',
    'buildctl',
    'root',
  )('docker and BuildKit pull from it', async () => {
    const remote = `${bundle.address}/team/app:v1`
    await docker!.docker(['pull', '-q', remote])
    const context = join(folder, 'bundle-context')
    mkdirSync(context)
    writeFileSync(join(context, 'Dockerfile'), `FROM ${remote}\n`)
    await buildkit!.buildctl([
      ...['build', '--frontend', 'dockerfile.v0', '--local', `context=${context}`, '--local', `dockerfile=${context}`],
      ...['--opt', 'platform=linux/amd64,linux/arm64', '--output', `type=oci,dest=${folder}/built.tar`],
    ])
  })
})
