import { afterAll, beforeAll, expect } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { encodeImageManifest, encodeIndex } from '../../src/oci/manifest.ts'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { must, peerPath } from '../peers/index.ts'
import { peer } from '../peers/locate.ts'
import { requirePeers } from '../peers/require.ts'
import { Sandbox } from '../run/command.ts'
import { entryOf, pushImage, pushIndex, read } from './images.ts'

const compared = requirePeers('manifest-tool')
const sandbox = new Sandbox('manifest-tool')
let registry: FaultyRegistry
let at: string

beforeAll(async () => {
  registry = await startFaultyRegistry()
  at = registry.address
  for (const docker of [false, true])
    for (const platform of ['linux/amd64', 'linux/arm64', 'linux/arm/v7', 'windows(10.0.17763.1)/amd64'])
      await pushImage(at, `${docker ? 'docker' : 'oci'}/app:${name(platform)}`, platform, { docker })
  const [amd64, arm64] = [
    await pushImage(at, 'oci/app:a', 'linux/amd64'),
    await pushImage(at, 'oci/app:b', 'linux/arm64'),
  ]
  const attestation = encodeImageManifest({ docker: false, config: amd64.config, layers: amd64.layers.slice(0, 1) })
  await pushIndex(at, 'oci/app:statement', attestation)
  const unknown = { os: 'unknown', architecture: 'unknown' }
  const of = { 'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': amd64.digest }
  const index = encodeIndex({
    docker: false,
    manifests: [
      entryOf(amd64, 'linux/amd64'),
      { ...entryOf(attestation, 'linux/amd64'), platform: unknown, annotations: of },
      { ...entryOf(arm64, 'linux/arm64'), platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } },
    ],
  })
  await pushIndex(at, 'oci/app:index', index)
})
afterAll(async () => {
  await registry.close()
  await sandbox.dispose()
})

function name(platform: string): string {
  return platform.replace(/\(.*\)/, '').replaceAll('/', '-')
}

/** What both print, and what then is in the registry; the second one writes to the same name. */
async function both(tool: readonly string[], ours: readonly string[], repository: string, tag: string) {
  const theirs = (
    await must([peer('manifest-tool')!, '--plain-http', ...tool], { env: { PATH: peerPath().join(':') } })
  ).trim()
  const bytes = await read(at, repository, tag)
  const { stdout } = await sandbox.must(['manifest', ...ours])
  expect(stdout.trim()).toBe(theirs)
  expect(await read(at, repository, tag)).toBe(bytes)
}

const SPECS: Readonly<Record<string, string>> = {
  'platforms said': `
manifests:
  - {image: HOST/oci/app:linux-amd64, platform: {architecture: amd64, os: linux}}
  - {image: HOST/oci/app:linux-arm64, platform: {architecture: arm64, os: linux, variant: v8}}
  - {image: HOST/oci/app:linux-arm-v7, platform: {architecture: arm, os: linux, variant: v7}}`,
  'platforms read from the images': `
manifests:
  - {image: HOST/oci/app:windows-amd64}
  - {image: HOST/oci/app:linux-arm-v7}
  - {image: HOST/oci/app:linux-amd64}`,
  "Docker's images, versions and features of Windows": `
manifests:
  - {image: HOST/docker/app:linux-amd64}
  - {image: HOST/docker/app:windows-amd64, platform: {architecture: amd64, os: windows, osversion: 10.0.20348.1, osfeatures: [win32k, x]}}`,
  'another platform than the image says, and further tags': `
tags: [1.20, "2"]
manifests:
  - {image: HOST/oci/app:linux-amd64, platform: {architecture: s390x, os: linux}}
  - {image: HOST/docker/app:linux-arm64, platform: {architecture: ppc64le, os: linux}}`,
  'indexes among the images, attestations last': `
manifests:
  - {image: HOST/oci/app:index}
  - {image: HOST/oci/app:linux-arm-v7}`,
  'keys that nobody knows': `
other: 1
manifests:
  - {image: HOST/oci/app:linux-amd64, platform: {architecture: amd64, os: linux, more: x}}`,
}

for (const [what, spec] of Object.entries(SPECS))
  for (const type of ['docker', 'oci'])
    for (const repository of ['oci/app', 'another/app'])
      compared(`manifest-tool's bytes, ${type}, ${repository}: ${what}`, async () => {
        const tag = `${type}-${Object.keys(SPECS).indexOf(what)}`
        const file = join(sandbox.folder, `${tag}.yaml`)
        const annotations = type === 'oci' ? 'annotations: {b: "<&> \\u2028", a: 1.0}\n' : ''
        writeFileSync(file, `image: ${at}/${repository}:${tag}\n${annotations}${spec.replaceAll('HOST', at)}\n`)
        const args = ['push', '--type', type, 'from-spec']
        await both([...args, file], [...args, file], repository, tag)
      })

compared("manifest-tool's bytes from arguments", async () => {
  const args = [
    ...['--platforms', 'linux/amd64,linux/arm64,linux/arm/v7', '--tags', 'one,two', '--ignore-missing'],
    ...['--template', `${at}/oci/app:OS-ARCH`, '--target', `${at}/oci/app:args`],
  ]
  await both(['push', 'from-args', ...args], ['--plain-http', 'push', 'from-args', ...args], 'oci/app', 'args')
  const annotated = [...args.slice(0, -1), `${at}/oci/app:args2`, '--annotations', 'k=v,a=b']
  const oci = ['push', '--type', 'oci', 'from-args', ...annotated]
  await both(oci, oci, 'oci/app', 'args2')
})
