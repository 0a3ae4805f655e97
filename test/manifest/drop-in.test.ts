import { afterAll, beforeAll, expect } from 'bun:test'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from '../../scripts/archimage.ts'
import {
  type Docker,
  must,
  type Podman,
  peerPath,
  type Registry,
  startDocker,
  startPodman,
  startRegistry,
} from '../peers/index.ts'
import { peer } from '../peers/locate.ts'
import { canRun, requirePeers } from '../peers/require.ts'
import { Sandbox } from '../run/command.ts'
import { pushImage, readIndex } from './images.ts'

const NEEDS = ['docker', 'dockerd', 'docker-registry', 'podman', 'skopeo', 'ctr', 'root'] as const
const pulled = requirePeers(...NEEDS)
const sandbox = new Sandbox('drop-in')
let registry: Registry
let docker: Docker
let podman: Podman
let tools: string

/** As it stands in many repositories, for docker. */
const DOCKER = `
set -eu
docker manifest rm "$LIST" 2>/dev/null || true
docker manifest create --insecure "$LIST" "$IMAGE:amd64" "$IMAGE:arm64"
docker manifest annotate "$LIST" "$IMAGE:amd64" --os linux --arch amd64
docker manifest annotate "$LIST" "$IMAGE:arm64" --os linux --arch arm64 --variant v8
docker manifest inspect "$LIST" | grep -c '"architecture"'
docker manifest push --insecure "$LIST"
docker manifest rm "$LIST"
docker manifest create "$LIST" --amend "$IMAGE:amd64" --amend "$IMAGE:arm64" --insecure
docker manifest push --purge --insecure "$LIST"
`

/** … and for podman. */
const PODMAN = `
set -eu
podman manifest create mylist
podman manifest add --tls-verify=false mylist "docker://$IMAGE:amd64"
podman manifest add --tls-verify=false --arch arm64 --variant v8 mylist "docker://$IMAGE:arm64"
digest=$(podman manifest inspect mylist | sed -n 's/.*"digest": "\\(sha256:[0-9a-f]*\\)".*/\\1/p' | tail -1)
podman manifest annotate --annotation left=right mylist "$digest"
podman manifest exists mylist
podman manifest push --all --tls-verify=false mylist "docker://$LIST"
podman manifest rm mylist
if podman manifest exists mylist; then exit 1; fi
`

beforeAll(async () => {
  if (!canRun(...NEEDS)) return
  ;[registry, docker, podman] = await Promise.all([startRegistry(), startDocker(), startPodman()])
  for (const arch of ['amd64', 'arm64'])
    await pushImage(registry.host, `team/app:${arch}`, `linux/${arch}`, { docker: true })
  tools = join(sandbox.folder, 'tools')
  mkdirSync(tools)
  for (const name of ['docker', 'podman']) symlinkSync(join(root, 'bin/archimage'), join(tools, name))
}, 120_000)
afterAll(async () => {
  await docker?.stop()
  await podman?.stop()
  await registry?.stop()
  await sandbox.dispose()
}, 60_000)

/** The script itself, where `docker` and `podman` are archimage. */
function play(script: string, list: string): Promise<string> {
  const file = join(sandbox.folder, 'script.sh')
  writeFileSync(file, script)
  const env = sandbox.env({
    PATH: `${tools}:${process.env['PATH']}`,
    LIST: list,
    IMAGE: `${registry.host}/team/app`,
  }) as Record<string, string>
  return must(['sh', file], { env, cwd: sandbox.folder })
}

for (const [name, script] of [
  ['docker', DOCKER],
  ['podman', PODMAN],
] as const)
  pulled(
    `a script of ${name} manifest runs unchanged; docker, podman and containerd pull what it made, by platform`,
    async () => {
      for (const repository of ['team/app', `other/${name}`]) {
        const list = `${registry.host}/${repository}:${name}`
        const output = await play(script, list)
        const index = await readIndex(registry.host, repository, name)
        expect(index.manifests.map(({ platform }) => platform!.architecture)).toEqual(['amd64', 'arm64'])
        if (name === 'docker') expect(output).toMatch(/\nsha256:[0-9a-f]{64}\n/)
        else expect(index.manifests[1]).toMatchObject({ platform: { variant: 'v8' }, annotations: { left: 'right' } })
        for (const arch of ['amd64', 'arm64']) {
          await docker.docker(['pull', '-q', '--platform', `linux/${arch}`, list])
          expect(await docker.docker(['image', 'inspect', '-f', '{{.Architecture}}', list])).toBe(`${arch}\n`)
          await docker.docker(['rmi', list])
          await podman.podman(['pull', '-q', '--tls-verify=false', '--arch', arch, list])
          expect(await podman.podman(['image', 'inspect', '-f', '{{.Architecture}}', list])).toBe(`${arch}\n`)
          await podman.podman(['rmi', '-f', list])
        }
        await containerd(['images', 'pull', '--plain-http', '--all-platforms', list])
        expect(await containerd(['images', 'ls', `name==${list}`])).toMatch(/linux\/amd64,linux\/arm64/)
      }
    },
    120_000,
  )

/** The containerd that dockerd has started. */
function containerd(args: readonly string[]): Promise<string> {
  const socket = join(dirname(docker.host.replace('unix://', '')), 'exec/containerd/containerd.sock')
  return must([peer('ctr')!, '--address', socket, ...args], { env: { PATH: peerPath().join(':') } })
}
