import { afterAll, beforeAll, expect } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { must, peerOrThrow, type Registry, startDocker, startPodman, startRegistry } from '../peers/index.ts'
import { canRun, requirePeers } from '../peers/require.ts'
import { Sandbox, simpleServices } from '../run/command.ts'

const peers = ['docker-registry', 'skopeo', 'crane', 'regctl'] as const
const real = requirePeers(...peers)
const sandbox = new Sandbox('copy-peers')
let open: Registry
let closed: Registry
let app: string

beforeAll(async () => {
  if (!canRun(...peers)) return
  ;[open, closed] = await Promise.all([startRegistry(), startRegistry({ auth: true })])
  app = `${open.host}/from/app:1.0`
  const project = sandbox.project('app', simpleServices('app'))
  const platforms = 'linux/amd64,linux/arm64,linux/arm/v7'
  await sandbox.must(['build', '--push', '--registry', `${open.host}/from`, '--tag', '1.0', '--platform', platforms], {
    cwd: project,
  })
})
afterAll(async () => {
  await Promise.all([open?.stop(), closed?.stop()])
  await sandbox.dispose()
})

const creds = ['--dest-creds', 'tester:secret']
const digestOf = async (reference: string, ...more: string[]): Promise<string> =>
  (await must([peerOrThrow('crane'), 'digest', '--insecure', ...more, reference])).trim()

real('the same digests as crane and regctl, whole and by platform', async () => {
  const [crane, regctl] = [peerOrThrow('crane'), peerOrThrow('regctl')]
  const env = { HOME: sandbox.folder }
  for (const platform of [[], ['--platform', 'linux/arm64']]) {
    const name = platform.length === 0 ? 'whole' : 'arm64'
    await must([crane, 'copy', '--insecure', ...platform, app, `${open.host}/crane/${name}:1`])
    const host = ['--host', `reg=${open.host},tls=disabled`]
    await must([regctl, ...host, 'image', 'copy', ...platform, app, `${open.host}/regctl/${name}:1`], { env })
    const { stdout } = await sandbox.must(['copy', ...platform, app, `${open.host}/ours/${name}:1`])
    const [ours] = stdout.trim().split('@').slice(1)
    expect(await digestOf(`${open.host}/crane/${name}:1`)).toBe(ours!)
    expect(await digestOf(`${open.host}/regctl/${name}:1`)).toBe(ours!)
  }
})

real('with a password, recompressed, pulled by platform', async () => {
  const target = `${closed.host}/team/app:1.0`
  await sandbox.must(['copy', ...creds, '--compression', 'zstd', '--platform', 'amd64,arm64', app, target])
  const skopeo = [peerOrThrow('skopeo'), '--override-arch', 'arm64', 'copy', '--src-tls-verify=false']
  const out = join(sandbox.folder, 'pulled')
  await must([...skopeo, '--src-creds', 'tester:secret', `docker://${target}`, `dir:${out}`])
  const config = JSON.parse(readFileSync(join(out, 'manifest.json'), 'utf8')) as { layers: { mediaType: string }[] }
  expect(config.layers[0]!.mediaType).toBe('application/vnd.oci.image.layer.v1.tar+zstd')
})

real("Docker's format, read by crane and skopeo", async () => {
  const target = `${open.host}/docker/app:1.0`
  await sandbox.must(['copy', '--format', 'docker', app, target])
  const manifest = JSON.parse(await must([peerOrThrow('crane'), 'manifest', '--insecure', target])) as object
  expect(manifest).toMatchObject({ mediaType: 'application/vnd.docker.distribution.manifest.list.v2+json' })
  await must([peerOrThrow('crane'), 'validate', '--insecure', '--remote', target])
  const inspect = await must([peerOrThrow('skopeo'), 'inspect', '--tls-verify=false', `docker://${target}`])
  expect(JSON.parse(inspect)).toMatchObject({ Os: 'linux' })
})

real('both compressions in one index, which every client reads', async () => {
  const target = `${open.host}/both/app:1.0`
  await sandbox.must(['copy', '--compression', 'gzip', '--add-compression', 'zstd', app, target])
  const { manifests } = JSON.parse(await must([peerOrThrow('crane'), 'manifest', '--insecure', target])) as {
    manifests: { annotations?: Record<string, string> }[]
  }
  expect(manifests.map(({ annotations }) => annotations?.['io.github.containers.compression.zstd'])).toEqual([
    ...[undefined, undefined, undefined],
    ...['true', 'true', 'true'],
  ])
  const from = ['--src-tls-verify=false', `docker://${target}`]
  await must([peerOrThrow('skopeo'), 'copy', '--all', ...from, `oci:${join(sandbox.folder, 'both')}`])
  await must([peerOrThrow('skopeo'), 'copy', ...from, `dir:${join(sandbox.folder, 'one')}`])
})

requirePeers(
  ...peers,
  'podman',
  'dockerd',
  'docker',
  'root',
)('docker and podman pull by platform what has both compressions, and what is for docker', async () => {
  const [both, plain] = [`${open.host}/pull/both:1.0`, `${open.host}/pull/docker:1.0`]
  await sandbox.must(['copy', '--compression', 'gzip', '--add-compression', 'zstd', app, both])
  await sandbox.must(['copy', '--format', 'docker', '--platform', 'amd64,arm64', app, plain])
  await using podman = await startPodman()
  await using docker = await startDocker()
  for (const image of [both, plain])
    for (const arch of ['arm64', 'amd64']) {
      const format = '{{.Architecture}}'
      const pull = ['pull', '-q', '--platform', `linux/${arch}`, image]
      await podman.podman(pull)
      expect((await podman.podman(['image', 'inspect', '--format', format, image])).trim()).toBe(arch)
      await docker.docker(pull)
      expect((await docker.docker(['image', 'inspect', '--format', format, image])).trim()).toBe(arch)
    }
})
