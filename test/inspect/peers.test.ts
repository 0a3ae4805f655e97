import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { dir, file } from '../fidelity/bases.ts'
import { type BaseImage, push } from '../fidelity/push.ts'
import { startBuildKit } from '../peers/buildkit.ts'
import { peerOrThrow } from '../peers/locate.ts'
import { must } from '../peers/process.ts'
import { type Registry, startRegistry } from '../peers/registry.ts'
import { canRun, requirePeers } from '../peers/require.ts'
import { Sandbox } from '../run/command.ts'

let sandbox: Sandbox
let registry: Registry
let host: string

const image = (architecture: string, own: string, more: Record<string, unknown> = {}): BaseImage => ({
  platform: { os: 'linux', architecture },
  layers: [{ entries: [dir('d'), file('d/base')] }, { entries: [file('own', own)] }],
  config: { Env: ['PATH=/bin', 'A=1'], Labels: { a: '1', 'org.x': 'y' }, Cmd: ['run'], ...more },
  more: { author: 'me' },
})

beforeAll(async () => {
  sandbox = new Sandbox('inspect')
  if (!canRun('docker-registry')) return
  registry = await startRegistry()
  host = registry.host
  await push(host, 'team/app:1', [image('amd64', 'one'), image('arm64', 'one')])
  await push(host, 'team/app:2', [image('amd64', 'three'), image('arm64', 'one')])
  await push(host, 'team/app:single', [image('arm64', 'one')], true)
})
afterAll(async () => {
  await registry?.stop()
  await sandbox.dispose()
})

const inspect = async (...args: string[]) => (await sandbox.must(['inspect', ...args])).stdout

describe('the same as peers', () => {
  requirePeers('docker-registry', 'crane')('crane: digest, manifest, config', async () => {
    const crane = (...args: string[]) => must([peerOrThrow('crane'), ...args])
    const ref = `${host}/team/app:1`
    expect(await inspect('--format', '{{.Digest}}', ref)).toBe(await crane('digest', ref))
    expect(await inspect('--raw', ref)).toBe((await crane('manifest', ref)).trimEnd())
    const platform = ['--platform', 'linux/arm64']
    expect(await inspect('--raw', ...platform, ref)).toBe((await crane('manifest', ...platform, ref)).trimEnd())
    expect(await inspect('--raw', '--config', ...platform, ref)).toBe(
      (await crane('config', ...platform, ref)).trimEnd(),
    )
    expect((await sandbox.must(['ls', `${host}/team/app`])).stdout.split('\n').sort()).toEqual(
      (await crane('ls', `${host}/team/app`)).split('\n').sort(),
    )
  })

  requirePeers('docker-registry', 'skopeo')('skopeo: templates', async () => {
    for (const template of [
      '{{.Name}} {{.Digest}}',
      '{{.Os}}/{{.Architecture}}',
      '{{.Env}} {{.Labels}}',
      '{{range .Layers}}{{.}} {{end}}',
      '{{len .Layers}} {{index .Labels "org.x"}}',
      '{{range $i, $e := .Env}}{{if $i}}, {{end}}{{$e}}{{end}}',
      '{{index .Layers 1}} {{slice .Digest 0 6}}',
      '{{printf "%-8s|%3d" .Os (len .Env)}}',
    ]) {
      const ref = `${host}/team/app:single`
      const command = ['skopeo', 'inspect', '--tls-verify=false', '--override-arch=arm64', '--format', template]
      const theirs = await must([...command, `docker://${ref}`], { env: { HOME: join(sandbox.folder, 'home') } })
      expect(await inspect('--format', template, `docker://${ref}`)).toBe(theirs)
    }
  })

  requirePeers('docker-registry', 'buildx')('buildx imagetools: templates', async () => {
    for (const template of [
      '{{.Manifest.Digest}} {{.Manifest.MediaType}} {{.Manifest.Size}}',
      '{{range .Manifest.Manifests}}{{.Platform.OS}}/{{.Platform.Architecture}} {{.Digest}};{{end}}',
      '{{range $p, $i := .Image}}{{$p}} {{$i.Author}} {{$i.Config.Env}};{{end}}',
      '{{(index .Image "linux/arm64").Config.Cmd}}',
      '{{with index .Image "linux/s390x"}}there{{else}}none{{end}}',
    ]) {
      const ref = `${host}/team/app:1`
      const home = { HOME: join(sandbox.folder, 'home') }
      const command = [peerOrThrow('buildx'), 'imagetools', 'inspect', '--format', template, ref]
      expect((await inspect('--format', template, ref)).trimEnd()).toBe((await must(command, { env: home })).trimEnd())
    }
  })
})

describe('two images', () => {
  requirePeers('docker-registry')('exit codes are those of diff, and files are told', async () => {
    const [one, two] = [`${host}/team/app:1`, `${host}/team/app:2`]
    expect((await sandbox.run(['inspect', one, one])).code).toBe(0)
    const { code, stdout } = await sandbox.run(['inspect', '--files', one, two])
    expect(code).toBe(1)
    expect(stdout).toContain('~ /own  content, 3 → 5 bytes')
    expect(stdout).toContain('layers: 1 common')
    expect(stdout).not.toContain('linux/arm64')
    const json = JSON.parse((await sandbox.run(['inspect', '--json', '--files', one, two])).stdout)
    expect(json.files).toEqual({ 'linux/amd64': [expect.objectContaining({ path: 'own', change: 'changed' })] })
    const narrow = await sandbox.run(['inspect', '--platform', 'arm64', '--json', one, two])
    expect(JSON.parse(narrow.stdout).changed).toEqual([])
  })
})

requirePeers(
  'docker-registry',
  'buildx',
  'buildkitd',
  'buildctl',
  'runc',
  'root',
)("BuildKit's attestations are called so, and go with the image that changes", async () => {
  await using buildkit = await startBuildKit({ registries: [host] })
  const context = sandbox.project('attested', { Dockerfile: 'FROM scratch\nCOPY Dockerfile /x\n' })
  const ref = `${host}/attested:1`
  const platforms = ['--platform', 'linux/amd64,linux/arm64']
  await buildkit.buildx(['build', '-q', ...platforms, '--provenance=mode=max', '-t', ref, '--push', context])
  const found = JSON.parse(await inspect('--json', ref))
  expect(found.images.map((one: { platform: string }) => one.platform)).toEqual(['linux/amd64', 'linux/arm64'])
  expect(found.attestations.map((one: { platform: string }) => one.platform)).toEqual(['linux/amd64', 'linux/arm64'])
  expect(await inspect(ref)).toMatch(/linux\/arm64 +[0-9a-f]{12} .*provenance \(SLSA v[01.]+\)/)
  const template = '{{range $p, $v := .Provenance}}{{$p}} {{len $v.SLSA}};{{end}}'
  const theirs = await buildkit.buildx(['imagetools', 'inspect', '--format', template, ref])
  expect((await inspect('--format', template, ref)).trimEnd()).toBe(theirs.trimEnd())
  const one = await sandbox.must(['mutate', ref, '--platform', 'arm64', '-l', 'a=b', '-t', `${host}/attested:2`])
  expect(one.stderr).toContain('attestations of images that changed are left out (1)')
  const after = JSON.parse(await inspect('--json', `${host}/attested:2`))
  expect(after.attestations).toEqual(found.attestations.slice(0, 1))
})

requirePeers('docker-registry')('what an image says does not reach the terminal raw', async () => {
  const evil = '\x1b]0;owned\x07\x1b[31m\u202eabc\x9b31m'
  await push(host, 'evil:1', [image('amd64', 'x', { Labels: { [evil]: evil }, User: evil, Env: [evil], Cmd: [evil] })])
  for (const args of [[`${host}/evil:1`], [`${host}/evil:1`, `${host}/team/app:1`], ['--json', `${host}/evil:1`]])
    expect((await sandbox.run(['inspect', ...args])).stdout).not.toMatch(/[\x00-\x08\x0e-\x1f\x7f-\x9f]/)
})

test('what is wrong is said', async () => {
  const cases: readonly (readonly [readonly string[], number, string])[] = [
    [['inspect'], 2, 'needs an image'],
    [['inspect', '--files', 'a'], 2, '--files compares two images'],
    [['inspect', '--raw', '--json', 'a'], 2, 'exclude each other'],
    [['inspect', '--raw', 'a', 'b'], 2, '--raw is for one image'],
    [['inspect', '--local', 'nowhere:1'], 1, 'there is no image "nowhere:1" in the store'],
    [['inspect', '--format', '{{.Nope', 'a'], 2, '--format:1:1'],
    [['inspect', 'oci:/nowhere/at/all'], 1, 'there is no folder'],
  ]
  for (const [args, code, text] of cases) {
    const ended = await sandbox.run(args)
    expect([ended.code, ended.stderr]).toEqual([code, expect.stringContaining(text)])
  }
})
