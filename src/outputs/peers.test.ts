import { afterAll, expect } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { type Docker, type Podman, peerOrThrow, startDocker, startPodman } from '../../test/peers/index.ts'
import { requirePeers } from '../../test/peers/require.ts'
import { buildPlatform, formatPlatform } from '../oci/platform.ts'
import { load } from './load.ts'
import { parseOutput } from './parse.ts'
import { openBench } from './testing/images.ts'
import { writeOutputs } from './write.ts'

const bench = openBench()
const at = (name: string): string => join(bench.folder, name)
const host = buildPlatform()
const layers = [
  [
    { path: 'bin', type: 'dir' as const, mode: 0o755 },
    { path: 'bin/tool', text: 'tool', mode: 0o4755 },
    { path: 'bin/again', type: 'hardlink' as const, link: 'bin/tool', mode: 0o4755 },
    { path: 'link', type: 'symlink' as const, link: 'bin/tool' },
  ],
  [{ path: 'etc/new', text: 'n' }],
]
const other = host.architecture === 'arm64' ? 'linux/amd64' : 'linux/arm64'
const image = bench.image(
  { [other]: layers, [formatPlatform(host)]: layers },
  { names: ['app:1.0', 'reg.example.com/team/app:2'] },
)
const one = bench.image({ [formatPlatform(host)]: layers }, { names: ['one:1'] })
const ours = image.members[1]!.manifest

let docker: Docker | undefined
let podman: Podman | undefined
const dockerOnce = async (): Promise<Docker> => (docker ??= await startDocker())
const podmanOnce = async (): Promise<Podman> => (podman ??= await startPodman())
afterAll(async () => {
  await docker?.stop()
  await podman?.stop()
  await bench[Symbol.asyncDispose]()
})

const NEEDS_DOCKER = ['docker', 'dockerd', 'root'] as const

requirePeers(...NEEDS_DOCKER)("docker takes the host's platform through its API", async () => {
  const { host: address, docker: run } = await dockerOnce()
  const env = { DOCKER_HOST: address }
  expect(await load([image], { ...bench.tools, env })).toMatchObject([{ name: 'app:1.0', platform: host }])
  const inspect = JSON.parse(await run(['inspect', 'app:1.0', 'reg.example.com/team/app:2']))
  for (const { Id, Architecture } of inspect)
    expect([Id, Architecture]).toEqual([ours.config.digest, host.architecture])
  await load([image], { ...bench.tools, env, platform: image.members[0]!.platform })
  expect((await run(['inspect', 'app:1.0', '--format', '{{.Os}}/{{.Architecture}}'])).trim()).toBe(other)
})

requirePeers(...NEEDS_DOCKER)('docker load takes the file, and gives the same files back', async () => {
  const { docker: run } = await dockerOnce()
  await writeOutputs(
    [parseOutput('type=docker,dest=docker.tar'), parseOutput('type=tar,dest=fs.tar')],
    [one],
    bench.tools,
  )
  expect(await run(['load', '-i', at('docker.tar')])).toContain('Loaded image: one:1')
  const container = (await run(['create', 'one:1', '/bin/tool'])).trim()
  await run(['export', '-o', at('exported.tar'), container])
  await run(['rm', container])
  const list = (file: string): string[] =>
    execFileSync('tar', ['tf', at(file)], { encoding: 'utf8' })
      .split('\n')
      .filter(name => /^(bin|link|etc\/new)/.test(name))
      .sort()
  expect(list('exported.tar')).toEqual(list('fs.tar'))
})

requirePeers('podman', 'root')('podman takes it through its API and from files, under whole names', async () => {
  const { podman: run, serve } = await podmanOnce()
  const env = { DOCKER_HOST: await serve() }
  expect(await load([image, one], { ...bench.tools, env })).toMatchObject([
    { daemon: expect.stringContaining('podman at') },
    { name: 'one:1' },
  ])
  const id = async (name: string): Promise<string> => (await run(['inspect', name, '--format', '{{.Id}}'])).trim()
  for (const name of ['docker.io/library/app:1.0', 'reg.example.com/team/app:2'])
    expect(await id(name)).toBe(ours.config.digest.slice(7))
  await run(['rmi', '--all', '--force'])
  await writeOutputs(
    [parseOutput('type=docker,dest=docker.tar'), parseOutput('type=oci,dest=oci.tar')],
    [one],
    bench.tools,
  )
  for (const file of ['docker.tar', 'oci.tar']) {
    expect(await run(['load', '-i', at(file)])).toContain('docker.io/library/one:1')
    await run(['rmi', '--all', '--force'])
  }
})

requirePeers('skopeo')('skopeo finds every platform under every name of an OCI archive', async () => {
  await writeOutputs([parseOutput('type=oci,dest=image.tar')], [image], bench.tools)
  const skopeo = (...args: string[]): string => execFileSync(peerOrThrow('skopeo'), args, { encoding: 'utf8' })
  expect(skopeo('inspect', '--raw', `oci-archive:${at('image.tar')}:1.0`)).toBe(Buffer.from(image.index.raw).toString())
  for (const { platform, manifest } of image.members) {
    const where = ['--override-os', platform.os, '--override-arch', platform.architecture]
    const config = JSON.parse(skopeo(...where, 'inspect', '--config', `oci-archive:${at('image.tar')}:2`))
    expect(config.architecture).toBe(platform.architecture)
    expect(config.rootfs.diff_ids.length).toBe(manifest.layers.length)
  }
  skopeo('--insecure-policy', 'copy', '--all', `oci-archive:${at('image.tar')}:2`, `oci:${at('copy')}:x`)
})

requirePeers('umoci', 'root')('umoci unpacks the layout folder to what type=local writes', async () => {
  // umoci wants a manifest behind the tag, not an index
  await writeOutputs(
    [parseOutput('type=docker,tar=false,dest=single'), parseOutput('type=local,dest=local')],
    [one],
    bench.tools,
  )
  execFileSync(peerOrThrow('umoci'), ['unpack', '--image', `${at('single')}:1`, at('bundle')], { stdio: 'pipe' })
  const list = (folder: string): string =>
    execFileSync('find', ['.', '-mindepth', '1', '!', '-type', 'd', '-printf', '%P %y %m %T@ %l %n\n'], {
      cwd: at(folder),
      encoding: 'utf8',
    })
      .split('\n')
      .sort()
      .join('\n')
  expect(list('bundle/rootfs')).toBe(list('local'))
})
