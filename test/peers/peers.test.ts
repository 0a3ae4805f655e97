import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type BuildKit, startBuildKit } from './buildkit.ts'
import { type Docker, startDocker } from './docker.ts'
import { peer, peerOrThrow } from './locate.ts'
import { type Podman, startPodman } from './podman.ts'
import { must, removeFolder, run, temporaryFolder } from './process.ts'
import { type Registry, startRegistry } from './registry.ts'
import { canRun, missing, requirePeers } from './require.ts'

const demo = join(import.meta.dir, '../../examples/demo')

test('a peer is found by an absolute path, an unknown one is missing', () => {
  expect(peer('no-such-peer' as 'crane')).toBeUndefined()
  expect(missing(['no-such-peer' as 'crane'])).toEqual(['no-such-peer' as 'crane'])
})

describe('one image goes through all of them', () => {
  let folder: string
  let registry: Registry
  let buildkit: BuildKit | undefined
  let docker: Docker | undefined
  let podman: Podman | undefined

  beforeAll(async () => {
    folder = temporaryFolder('peers')
    const bun = process.execPath
    for (const arch of ['amd64', 'arm64'])
      await must([bun, join(demo, 'tools/make-binary.mjs'), 'hello', join(folder, arch, 'hello')], {
        env: { TARGETOS: 'linux', TARGETARCH: arch, TARGETVARIANT: '' },
      })
    const dockerfile = 'FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH/hello /hello\nENTRYPOINT ["/hello"]\n'
    writeFileSync(join(folder, 'Dockerfile'), dockerfile)
    if (!canRun('docker-registry')) return
    registry = await startRegistry()
    if (canRun('buildkitd', 'buildctl', 'buildx', 'root'))
      buildkit = await startBuildKit({ registries: [registry.host] })
    if (canRun('dockerd', 'docker', 'root')) docker = await startDocker()
    if (canRun('podman', 'root')) podman = await startPodman()
  }, 120_000)

  afterAll(async () => {
    const all = [podman, docker, buildkit, registry]
    for (const one of all) await one?.stop()
    await removeFolder(folder)
    for (const one of [docker, buildkit, registry]) expect(one && existsSync(`/proc/${one.pid}`)).toBeFalsy()
  }, 60_000)

  const built = requirePeers('docker-registry', 'buildkitd', 'buildctl', 'buildx', 'root')
  built('buildx builds and pushes an index', async () => {
    const name = `${registry.host}/hello:1`
    await buildkit!.buildx(['build', '--platform', 'linux/amd64,linux/arm64', '--push', '-t', name, folder])
    const index = await (
      await fetch(`http://${registry.host}/v2/hello/manifests/1`, {
        headers: { accept: 'application/vnd.oci.image.index.v1+json' },
      })
    ).json()
    expect((index as { manifests: unknown[] }).manifests).toHaveLength(2)
  })

  requirePeers(
    'docker-registry',
    'crane',
    'buildkitd',
  )('crane validates it', async () => {
    await must([peerOrThrow('crane'), 'validate', '--insecure', '--remote', `${registry.host}/hello:1`])
  })

  requirePeers(
    'docker-registry',
    'podman',
    'runc',
    'root',
    'emulation',
    'buildkitd',
  )('podman runs it', async () => {
    for (const arch of ['amd64', 'arm64']) {
      const image = `${registry.host}/hello:1`
      await podman!.podman(['pull', '-q', '--platform', `linux/${arch}`, image])
      const said = await podman!.podman(['run', '--rm', '--network', 'none', '--platform', `linux/${arch}`, image])
      expect(said).toBe(`hello ${readFileSync(join(demo, 'VERSION'), 'utf8').trim()} linux/${arch}\n`)
    }
  })

  requirePeers('podman', 'root')('podman answers docker clients', async () => {
    const address = await podman!.serve()
    expect(await must([peerOrThrow('podman'), '--url', address, '--remote', 'info', '--format', 'json'])).toContain(
      'host',
    )
  })

  requirePeers(
    'docker-registry',
    'skopeo',
    'podman',
    'buildkitd',
    'root',
  )('skopeo and buildah read it', async () => {
    const image = `docker://${registry.host}/hello:1`
    expect(JSON.parse(await podman!.skopeo(['inspect', '--raw', image])).manifests).toHaveLength(2)
    const container = (await podman!.buildah(['from', '--arch', 'arm64', image])).trim()
    await podman!.buildah(['rm', container])
  })

  requirePeers(
    'docker-registry',
    'dockerd',
    'docker',
    'buildkitd',
    'root',
  )('docker pulls and runs it', async () => {
    await docker!.docker(['pull', '-q', `${registry.host}/hello:1`])
    const said = await docker!.docker(['run', '--rm', '--network', 'none', `${registry.host}/hello:1`])
    expect(said).toMatch(/^hello \S+ linux\/amd64\n$/)
  })
})

requirePeers('docker-registry')('a registry with accounts refuses strangers', async () => {
  await using registry = await startRegistry({ auth: true })
  const ask = (password: string) =>
    fetch(`http://${registry.host}/v2/`, { headers: { authorization: `Basic ${btoa(`tester:${password}`)}` } })
  expect((await ask('wrong')).status).toBe(401)
  expect((await ask('secret')).status).toBe(200)
})

requirePeers('umoci')('umoci starts', async () => {
  expect((await run([peerOrThrow('umoci'), '--version'])).code).toBe(0)
})
