import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { archimage, root } from '../../scripts/archimage.ts'
import { type Docker, startDocker } from './docker.ts'
import { peer, peerOrThrow } from './locate.ts'
import { type Podman, startPodman } from './podman.ts'
import { freePort, must, type Running, removeFolder, run, start, temporaryFolder } from './process.ts'
import { type Registry, startRegistry } from './registry.ts'
import { canRun, requirePeers } from './require.ts'

const folder = temporaryFolder('examples')
const env = { ARCHIMAGE_HOME: join(folder, 'store'), SOURCE_DATE_EPOCH: undefined, REGISTRY_AUTH_FILE: undefined }
const version = readFileSync(join(root, 'examples/demo/VERSION'), 'utf8').trim()
const SERVICES = ['api', 'worker', 'web', 'agent']
const LINUX = ['linux/amd64', 'linux/arm64', 'linux/arm/v7']

/** A copy of an example that pushes to `host`. */
function example(name: string, host: string): string {
  const copy = join(folder, `${name}-${host.split(':')[1]}`)
  const made = ['dist', '_output', '.archimage']
  cpSync(join(root, 'examples', name), copy, { recursive: true, filter: path => !made.includes(basename(path)) })
  const file = join(copy, 'archimage.yaml')
  writeFileSync(file, `registry: ${host}\n${readFileSync(file, 'utf8')}`)
  return copy
}

async function indexPlatforms(host: string, image: string): Promise<string[]> {
  const accept = 'application/vnd.oci.image.index.v1+json'
  const answer = await fetch(`http://${host}/v2/${image.replace(':', '/manifests/')}`, { headers: { accept } })
  const index = (await answer.json()) as {
    manifests: { platform: { os: string; architecture: string; variant?: string } }[]
  }
  return index.manifests.map(({ platform: { os, architecture, variant } }) =>
    [os, architecture, variant].filter(Boolean).join('/'),
  )
}

afterAll(() => removeFolder(folder))

for (const where of ['archimage serve', "distribution's registry"]) {
  describe(`examples/demo in ${where}`, () => {
    let host: string
    let registry: Registry | Running | undefined
    let podman: Podman | undefined
    let docker: Docker | undefined
    const needs = where === 'archimage serve' ? [] : (['docker-registry'] as const)

    beforeAll(async () => {
      if (!canRun(...needs)) return
      if (where === 'archimage serve') {
        host = `127.0.0.1:${await freePort()}`
        const port = host.split(':')[1]!
        registry = await start([...archimage, 'serve', join(folder, 'served'), '--port', port], {
          folder,
          env,
          ready: async () => (await fetch(`http://${host}/v2/`)).ok,
        })
      } else {
        const distribution = await startRegistry()
        host = distribution.host
        registry = distribution
      }
      await must([...archimage, 'build', '--push', '--progress', 'plain'], { cwd: example('demo', host), env })
      if (canRun('podman', 'root')) podman = await startPodman()
      if (canRun('docker', 'dockerd', 'root')) docker = await startDocker()
    }, 180_000)

    afterAll(async () => {
      for (const one of [docker, podman, registry]) await one?.stop()
    }, 60_000)

    requirePeers(...needs)('one tag per service, with every platform in the order of the project', async () => {
      for (const service of ['base', 'api', 'worker', 'web'])
        expect(await indexPlatforms(host, `demo/${service}:${version}`)).toEqual(LINUX)
      expect(await indexPlatforms(host, `demo/agent:${version}`)).toEqual([...LINUX, 'windows/amd64'])
    })

    requirePeers(...needs, 'crane')('crane validates every image', async () => {
      for (const service of ['base', ...SERVICES])
        await must([peerOrThrow('crane'), 'validate', '--insecure', '--remote', `${host}/demo/${service}:${version}`])
    })

    requirePeers(
      ...needs,
      'podman',
      'runc',
      'root',
      'emulation',
    )('podman runs each program on each linux platform', async () => {
      for (const service of SERVICES)
        for (const platform of LINUX) {
          const image = `${host}/demo/${service}:${version}`
          await podman!.podman(['pull', '-q', '--platform', platform, image])
          const said = await podman!.podman(['run', '--rm', '--network', 'none', '--platform', platform, image])
          expect(said).toBe(`${service} ${version} ${platform}\n`)
        }
    })

    requirePeers(
      ...needs,
      'docker',
      'dockerd',
      'root',
      'emulation',
    )('docker pulls and runs them', async () => {
      for (const platform of LINUX) {
        const image = `${host}/demo/worker:${version}`
        await docker!.docker(['pull', '-q', '--platform', platform, image])
        const said = await docker!.docker(['run', '--rm', '--network', 'none', '--platform', platform, image])
        expect(said).toBe(`worker ${version} ${platform}\n`)
      }
    })

    requirePeers(
      ...needs,
      'skopeo',
      'podman',
    )('skopeo copies the whole index, and the windows image is one', async () => {
      const image = `docker://${host}/demo/agent:${version}`
      await podman!.skopeo(['copy', '-q', '--all', image, `oci:${folder}/agent-${where.length}`])
      const config = JSON.parse(await podman!.skopeo(['--override-os', 'windows', 'inspect', '--config', image]))
      expect(config).toMatchObject({ os: 'windows', architecture: 'amd64' })
      expect(config.config.Entrypoint).toEqual(['C:\\agent\\agent.exe'])
    })

    requirePeers(
      ...needs,
      'podman',
      'buildah',
      'root',
    )('owners and modes are those of the Dockerfiles', async () => {
      const container = (await podman!.buildah(['from', `${host}/demo/api:${version}`])).trim()
      const at = (await podman!.buildah(['mount', container])).trim()
      const stat = async (path: string) => (await must(['stat', '-c', '%a %u:%g', join(at, path)])).trim()
      expect(await stat('tmp')).toBe('1777 0:0')
      expect(await stat('usr/bin/api')).toBe('755 0:0')
      expect(await stat('etc/api/api.yaml')).toBe('640 0:10001')
      expect(await stat('var/lib/app')).toBe('755 10001:10001')
      expect(await stat('etc/passwd')).toBe('644 0:0')
      await podman!.buildah(['rm', container])
    })

    requirePeers(...needs)('a second run finds nothing to do', async () => {
      const again = join(folder, `demo-${host.split(':')[1]}`)
      await must([...archimage, 'build', '--push', '--progress', 'plain'], { cwd: again, env })
      const { cells } = JSON.parse(readFileSync(join(again, '.archimage/result.json'), 'utf8')) as {
        cells: { state: string }[]
      }
      expect(cells).toHaveLength(16)
      expect(new Set(cells.map(cell => cell.state))).toEqual(new Set(['unchanged']))
    })
  })
}

describe('examples/go-demo', () => {
  requirePeers(
    'go',
    'docker-registry',
    'crane',
  )('bin → images → index by one command', async () => {
    await using registry = await startRegistry()
    const path = `${peer('go')!.replace(/\/go$/, '')}:${process.env['PATH']}`
    const cwd = example('go-demo', registry.host)
    await must([...archimage, 'build', '--push', '--progress', 'plain'], { cwd, env: { ...env, PATH: path } })
    const image = `demo:${readFileSync(join(cwd, 'VERSION'), 'utf8').trim()}`
    expect(await indexPlatforms(registry.host, image)).toEqual(['linux/amd64', 'linux/arm64', 'windows/amd64'])
    for (const [platform, file] of [
      ['linux/amd64', 'ELF 64-bit LSB executable, x86-64'],
      ['linux/arm64', 'ELF 64-bit LSB executable, ARM aarch64'],
      ['windows/amd64', 'PE32+ executable (console) x86-64'],
    ] as const) {
      const tar = join(folder, 'rootfs.tar')
      await must([
        peerOrThrow('crane'),
        'export',
        '--insecure',
        '--platform',
        platform,
        `${registry.host}/${image}`,
        tar,
      ])
      const names = (await must(['tar', '-tf', tar])).split('\n')
      const program = names.find(name => /demo(\.exe)?$/.test(name) && !name.endsWith('/'))!
      await must(['sh', '-c', `tar -xOf ${tar} '${program}' > ${folder}/program`])
      expect((await run(['file', '-b', join(folder, 'program')])).stdout).toStartWith(file)
    }
  })
})
