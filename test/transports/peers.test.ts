import { afterAll, describe, expect } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { look } from '../../src/cli/copy/sides.ts'
import type { Manifest } from '../../src/oci/manifest.ts'
import { buildPlatform } from '../../src/oci/platform.ts'
import { openRegistry } from '../../src/registry/registry.ts'
import { parseLocation } from '../../src/transports/location.ts'
import { type OpenTools, openLocation } from '../../src/transports/open.ts'
import { imageOf, indexOf, putAll, readAll, type TestImage } from '../../src/transports/testing/images.ts'
import {
  type Docker,
  must,
  type Podman,
  peerOrThrow,
  type Registry,
  startBuildKit,
  startDocker,
  startPodman,
  startRegistry,
  temporaryFolder,
} from '../peers/index.ts'
import { requirePeers } from '../peers/require.ts'

const folder = temporaryFolder('transports')
const at = (name: string): string => join(folder, name)
const HOST = buildPlatform()
const OTHER = { os: 'linux', architecture: HOST.architecture === 'arm64' ? 'amd64' : 'arm64' }
const one = imageOf('one', HOST)
const many = indexOf('many', [OTHER, HOST], true)
const ID = one.blobs[0]!.descriptor.digest
const LAYER = one.blobs[1]!.descriptor.digest

let docker: Docker | undefined
let podman: Podman | undefined
let registry: Registry | undefined
const dockerOnce = async (): Promise<Docker> => (docker ??= await startDocker())
const podmanOnce = async (): Promise<Podman> => (podman ??= await startPodman())
const registryOnce = async (): Promise<Registry> => (registry ??= await startRegistry())
afterAll(async () => {
  await docker?.stop()
  await podman?.stop()
  await registry?.stop()
})

const tools: OpenTools = {
  registry: () => openRegistry({ env: {} }),
  store: () => {
    throw new Error('no store here')
  },
}

async function write(place: string, image: TestImage, env: Readonly<Record<string, string>> = {}): Promise<void> {
  const { transport, name, close } = await openLocation(parseLocation(place, look), { ...tools, env }, 'write')
  await putAll(transport, image, name)
  await transport.commit?.()
  await close()
}

/** What is there, every byte read and checked: digests of the config and of the layers of the one image, or of all. */
async function read(
  place: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ top: Manifest; all: Set<string> }> {
  const { transport, name, close } = await openLocation(parseLocation(place, look), { ...tools, env })
  const all = new Set((await readAll(transport, name!)).keys())
  const top = await transport.manifest(name!)
  await close()
  return { top: top!, all }
}

const everything = ({ manifests, blobs }: TestImage): Set<string> =>
  new Set([...manifests.map(one => one.digest), ...blobs.map(blob => blob.descriptor.digest)])

describe('skopeo', () => {
  const skopeo = async (...args: string[]): Promise<string> =>
    must([peerOrThrow('skopeo'), '--insecure-policy', ...args])

  requirePeers('skopeo')('reads what is written here', async () => {
    await write(`oci:${at('ours')}:v1`, many)
    await write(`oci:${at('ours')}:registry.example.com/one:2`, one)
    await write(`oci-archive:${at('ours.tar')}:v1`, many)
    await write(`docker-archive:${at('ours-docker.tar')}:one:2`, one)
    for (const [from, index] of [
      [`oci:${at('ours')}:v1`, many],
      [`oci:${at('ours')}:registry.example.com/one:2`, one],
      [`oci-archive:${at('ours.tar')}:v1`, many],
    ] as const)
      expect(await skopeo('inspect', '--raw', from)).toBe(Buffer.from(index.manifests[0]!.raw).toString())
    await skopeo('copy', '-q', '--all', `oci-archive:${at('ours.tar')}:v1`, `oci:${at('copied')}:v1`)
    expect((await read(`oci:${at('copied')}`)).all).toEqual(everything(many))
    const config = await skopeo('inspect', '--config', '--raw', `docker-archive:${at('ours-docker.tar')}:one:2`)
    expect(config).toBe(Buffer.from(one.blobs[0]!.bytes).toString())
  })

  requirePeers('skopeo')('writes what is read here', async () => {
    await write(`oci:${at('source')}:v1`, many)
    await write(`oci:${at('source')}:one`, one)
    const from = `oci:${at('source')}`
    await skopeo('copy', '-q', '--all', `${from}:v1`, `oci:${at('theirs')}:v1`)
    await skopeo('copy', '-q', '--all', `${from}:v1`, `oci-archive:${at('theirs.tar')}:v1`)
    await skopeo('copy', '-q', `${from}:one`, `docker-archive:${at('theirs-docker.tar')}:one:2`)
    expect((await read(`oci:${at('theirs')}`)).all).toEqual(everything(many))
    expect((await read(`oci-archive:${at('theirs.tar')}:v1`)).all).toEqual(everything(many))
    for (const name of ['', ':one:2', ':docker.io/library/one:2']) {
      const { all } = await read(`docker-archive:${at('theirs-docker.tar')}${name}`)
      expect([...all].slice(1)).toEqual([ID, LAYER])
    }
    // ours goes on where theirs ends, and the other way round
    await write(`oci:${at('theirs')}:one`, one)
    await skopeo('copy', '-q', `${from}:one`, `oci:${at('theirs')}:again`)
    expect((await read(`oci:${at('theirs')}:v1`)).all).toEqual(everything(many))
    expect((await read(`oci:${at('theirs')}:again`)).all.has(ID)).toBe(true)
    expect((await read(`oci:${at('theirs')}:one`)).all).toEqual(everything(one))
  })
})

describe('crane', () => {
  const crane = async (...args: string[]): Promise<string> => must([peerOrThrow('crane'), ...args])

  requirePeers('crane', 'docker-registry')('pulls in its three formats; pushes ours', async () => {
    const { host } = await registryOnce()
    await write(`docker://${host}/many:1`, many)
    await write(`docker://${host}/one:1`, one)
    await crane('pull', '--format', 'oci', `${host}/many:1`, at('crane-oci'))
    expect((await read(`oci:${at('crane-oci')}`)).all).toEqual(everything(many))
    for (const format of ['tarball', 'legacy']) {
      await crane('pull', '--format', format, `${host}/one:1`, at(`crane-${format}.tar`))
      const { all } = await read(`docker-archive:${at(`crane-${format}.tar`)}:${host}/one:1`)
      expect(all.size).toBe(3)
      expect(all.has(ID)).toBe(true)
    }
    await write(`docker-archive:${at('to-crane.tar')}:one:1`, one)
    await write(`oci:${at('to-crane')}:v1`, many)
    await crane('push', at('to-crane.tar'), `${host}/pushed:tar`)
    await crane('push', '--index', at('to-crane'), `${host}/pushed:layout`)
    expect(JSON.parse(await crane('manifest', `${host}/pushed:tar`)).config.digest).toBe(ID)
    expect((await read(`docker://${host}/pushed:layout`)).all.isSupersetOf(everything(many))).toBe(true)
    expect(await crane('validate', '--remote', `${host}/pushed:layout`)).toContain('PASS')
  })
})

requirePeers('regctl')('regctl reads ours and writes what is read here', async () => {
  const regctl = async (...args: string[]): Promise<string> =>
    must([peerOrThrow('regctl'), ...args], { env: { HOME: folder } })
  await write(`oci:${at('regctl')}:v1`, many)
  await regctl('image', 'copy', `ocidir://${at('regctl')}:v1`, `ocidir://${at('regctl')}:v2`)
  await regctl('image', 'export', `ocidir://${at('regctl')}:v2`, at('regctl.tar'))
  expect((await read(`ocidir://${at('regctl')}:v2`)).all).toEqual(everything(many))
  expect((await read(`oci-archive:${at('regctl.tar')}`)).all).toEqual(everything(many))
  await write(`oci-archive:${at('to-regctl.tar')}:v1`, many)
  await regctl('image', 'import', `ocidir://${at('imported')}:v3`, at('to-regctl.tar'))
  expect((await read(`oci:${at('imported')}:v3`)).all).toEqual(everything(many))
})

describe('podman', () => {
  requirePeers('podman', 'root')('loads what is written here, saves what is read here', async () => {
    const { podman: run } = await podmanOnce()
    const id = async (name: string): Promise<string> => (await run(['inspect', name, '--format', '{{.Id}}'])).trim()
    const host = many.blobs[2]!.descriptor.digest
    await write(`oci-archive:${at('podman-oci.tar')}:registry.example.com/many:1`, many)
    await write(`docker-archive:${at('podman-docker.tar')}:one:1`, one)
    await run(['load', '-q', '-i', at('podman-oci.tar')])
    expect(await id('registry.example.com/many:1')).toBe(host.slice(7))
    await run(['load', '-q', '-i', at('podman-docker.tar')])
    expect(await id('docker.io/library/one:1')).toBe(ID.slice(7))
    for (const format of ['docker-archive', 'oci-archive', 'oci-dir']) {
      const path = at(`podman-${format}`)
      await run(['save', '-q', '--format', format, '-o', path, 'docker.io/library/one:1'])
      const { all, top } = await read(format === 'oci-dir' ? `oci:${path}` : `oci-archive:${path}`)
      expect([top.kind, all.has(ID)]).toEqual(['image', true])
    }
    await run(['save', '-q', '-m', '-o', at('both.tar'), 'docker.io/library/one:1', 'registry.example.com/many:1'])
    expect((await read(`docker-archive:${at('both.tar')}:registry.example.com/many:1`)).all.has(host)).toBe(true)
  })

  requirePeers('podman', 'root')('its daemon gives and takes images', async () => {
    const { serve, podman: run } = await podmanOnce()
    const env = { CONTAINER_HOST: await serve() }
    await write('podman:registry.example.com/daemon:1', one, env)
    await write('podman:registry.example.com/daemon:2', imageOf('two', HOST), env)
    expect((await run(['inspect', 'registry.example.com/daemon:1', '--format', '{{.Id}}'])).trim()).toBe(ID.slice(7))
    const { all } = await read('containers-storage:registry.example.com/daemon:1', env)
    expect([...all].slice(1)).toEqual([ID, LAYER])
    const { transport, close } = await openLocation(parseLocation('podman:registry.example.com/daemon', look), {
      ...tools,
      env,
    })
    expect(await Array.fromAsync(transport.tags!())).toEqual(['1', '2'])
    expect(await transport.manifest('3')).toBeUndefined()
    await close()
  })
})

describe('docker', () => {
  const NEEDS = ['docker', 'dockerd', 'root'] as const

  requirePeers(...NEEDS)('loads what is written here, saves what is read here', async () => {
    const { docker: run } = await dockerOnce()
    const id = async (name: string): Promise<string> => (await run(['inspect', name, '--format', '{{.Id}}'])).trim()
    await write(`oci-archive:${at('docker-oci.tar')}:registry.example.com/many:1`, many)
    await write(`docker-archive:${at('docker-docker.tar')}:one:1`, one)
    await run(['load', '-q', '-i', at('docker-oci.tar')])
    await run(['load', '-q', '-i', at('docker-docker.tar')])
    expect(await id('registry.example.com/many:1')).toBe(many.blobs[2]!.descriptor.digest)
    expect(await id('one:1')).toBe(ID)
    await run(['tag', 'one:1', 'registry.example.com/again:2'])
    await run(['save', '-o', at('saved.tar'), 'one:1', 'registry.example.com/again:2', 'registry.example.com/many:1'])
    for (const name of ['one:1', 'registry.example.com/again:2'])
      expect([...(await read(`docker-archive:${at('saved.tar')}:${name}`)).all].slice(1)).toEqual([ID, LAYER])
    await must(['gzip', '-1', at('saved.tar')])
    expect(
      (await read(`docker-archive:${at('saved.tar.gz')}:again:2`.replace('again', 'registry.example.com/again'))).all
        .size,
    ).toBe(3)
  })

  requirePeers(...NEEDS)('its daemon gives and takes images', async () => {
    const { host, docker: run } = await dockerOnce()
    const env = { DOCKER_HOST: host }
    await write('docker-daemon:daemon:1', one, env)
    expect((await run(['inspect', 'daemon:1', '--format', '{{.Id}}'])).trim()).toBe(ID)
    expect([...(await read('docker-daemon:daemon:1', env)).all].slice(1)).toEqual([ID, LAYER])
    const { transport, close } = await openLocation(parseLocation('docker-daemon:daemon', look), { ...tools, env })
    expect(await Array.fromAsync(transport.tags!())).toEqual(['1'])
    expect(await transport.manifest('2')).toBeUndefined()
    await close()
    await expect(write('docker-daemon:daemon:3', many, env)).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })
})

requirePeers(
  'buildkitd',
  'buildctl',
  'runc',
  'root',
)('archives of BuildKit are read', async () => {
  await using buildkit = await startBuildKit()
  mkdirSync(at('context'))
  writeFileSync(at('context/Dockerfile'), 'FROM scratch\nCOPY Dockerfile /\n')
  const build = [
    'build',
    '--frontend',
    'dockerfile.v0',
    '--local',
    `context=${at('context')}`,
    '--local',
    `dockerfile=${at('context')}`,
  ]
  await buildkit.buildctl([
    ...[
      ...build,
      '--opt',
      'platform=linux/amd64,linux/arm64',
      '--output',
      `type=oci,name=many:1,dest=${at('bk-oci.tar')}`,
    ],
    ...['--output', `type=oci,name=many:1,tar=false,dest=${at('bk-oci')}`],
  ])
  await buildkit.buildctl([...build, '--output', `type=docker,name=one:1,dest=${at('bk-docker.tar')}`])
  const archive = await read(`oci-archive:${at('bk-oci.tar')}:docker.io/library/many:1`)
  const folder = await read(`oci:${at('bk-oci')}:many:1`)
  expect([archive.top.kind, folder.all]).toEqual(['index', archive.all])
  expect((await read(`docker-archive:${at('bk-docker.tar')}:one:1`)).top.kind).toBe('image')
})

requirePeers('umoci', 'root')('umoci unpacks ours, and its layouts are read', async () => {
  const umoci = async (...args: string[]): Promise<string> => must([peerOrThrow('umoci'), ...args])
  await write(`oci:${at('umoci')}:v1`, one)
  await umoci('unpack', '--image', `${at('umoci')}:v1`, at('bundle'))
  expect(await must(['cat', at('bundle/rootfs/content')])).toBe('one')
  await umoci('config', '--image', `${at('umoci')}:v1`, '--tag', 'v2', '--config.user', 'me')
  await umoci('gc', '--layout', at('umoci'))
  expect((await read(`oci:${at('umoci')}:v2`)).all.has(LAYER)).toBe(true)
  expect((await read(`oci:${at('umoci')}:v1`)).all).toEqual(everything(one))
})
