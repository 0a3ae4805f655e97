import { describe, expect, test } from 'bun:test'
import { formatPlatform, parsePlatform } from '../../oci/platform.ts'
import { NO_SETTINGS, type StepSettings } from '../steps.ts'
import { cellOf } from '../testing/cells.ts'
import { type Builder, builderAbilities, builderPlatforms, isClassic, parseInspect } from './builder.ts'
import { buildxLacks, isOlder, versionIn } from './lacks.ts'

const REMOTE = `Name:          r
Driver:        remote
Last Activity: 2026-11-25 15:40:45 +0000 UTC

Nodes:
Name:             r0
Endpoint:         unix:///run/buildkit/buildkitd.sock
Status:           running
BuildKit version: v0.33.1
Platforms:        linux/amd64, linux/amd64/v2, linux/arm64, linux/386, linux/loong64, linux/arm/v7
Labels:
 org.mobyproject.buildkit.worker.executor:    oci
 org.mobyproject.buildkit.worker.hostname:    vm
 org.mobyproject.buildkit.worker.snapshotter: overlayfs
GC Policy rule#0:
 All:            false
 Filters:        type==source.local type==exec.cachemount
 Max Used Space: 488.3MiB
GC Policy rule#1:
 All:            true

Name:             r1
Endpoint:         tcp://10.0.0.7:1234
Status:           running
BuildKit version: v0.12.5
Platforms:        linux/arm64*, linux/arm/v7, linux/amd64
`

const NO_DAEMON = `Name:          default
Driver:        
Last Activity: 2026-11-25 15:38:15 +0000 UTC
Error:         failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct
`

const CLASSIC = `Name:   default
Driver: docker

Nodes:
Name:             default
Endpoint:         default
Status:           running
BuildKit version: v0.8+unknown
Platforms:        linux/amd64, linux/arm64
`

describe('what buildx inspect says', () => {
  test('nodes with their platforms, versions and labels', () => {
    const { nodes, ...builder } = parseInspect(REMOTE)
    expect(builder).toEqual({ name: 'r', driver: 'remote' })
    expect(
      nodes.map(({ platforms, labels: _, ...node }) => ({ ...node, platforms: platforms.map(formatPlatform) })),
    ).toEqual([
      {
        endpoint: 'unix:///run/buildkit/buildkitd.sock',
        status: 'running',
        version: 'v0.33.1',
        platforms: ['linux/amd64', 'linux/amd64/v2', 'linux/arm64', 'linux/386', 'linux/loong64', 'linux/arm/v7'],
      },
      {
        endpoint: 'tcp://10.0.0.7:1234',
        status: 'running',
        version: 'v0.12.5',
        platforms: ['linux/arm64', 'linux/arm/v7', 'linux/amd64'],
      },
    ])
    expect(nodes[0]!.labels).toMatchObject({ 'org.mobyproject.buildkit.worker.snapshotter': 'overlayfs' })
    expect(nodes[1]!.labels).toEqual({})
  })

  test('no daemon, a builder that was not started yet, nothing at all', () => {
    expect(parseInspect(NO_DAEMON)).toEqual({
      name: 'default',
      driver: '',
      nodes: [],
      error: 'failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct',
    })
    const idle = parseInspect(
      'Name: c\nDriver: docker-container\n\nNodes:\nName: c0\nEndpoint: default\nStatus: inactive\n',
    )
    expect(idle.nodes).toEqual([{ endpoint: 'default', status: 'inactive', version: '', platforms: [], labels: {} }])
    expect(builderAbilities(builderPlatforms(idle))).toEqual({ problems: [] })
    expect(parseInspect('')).toEqual({ name: '', driver: '', nodes: [] })
  })

  test('what runs natively on any of the nodes, and what is emulated', async () => {
    const how = async (text: string, ...platforms: string[]) => {
      const { runs } = builderAbilities(builderPlatforms(parseInspect(text)))
      return (await Promise.all(platforms.map(name => runs!(parsePlatform(name))))).map(one => one.how)
    }
    expect(await how(REMOTE, 'linux/amd64', 'linux/amd64/v2', 'linux/arm64', 'linux/386')).toEqual(
      Array(4).fill('native'),
    )
    expect(await how(REMOTE, 'linux/loong64', 'linux/arm/v7', 'linux/arm/v6')).toEqual(Array(3).fill('emulated'))
    expect(await how(REMOTE, 'linux/amd64/v3', 'linux/s390x')).toEqual(['no', 'no'])
    expect(await how(CLASSIC, 'linux/amd64', 'linux/arm64')).toEqual(['native', 'emulated'])
  })

  test("docker's own image store", () => {
    expect(isClassic(parseInspect(CLASSIC))).toBe(true)
    expect(isClassic(parseInspect(REMOTE))).toBe(false)
    const containerd: Builder = {
      name: 'default',
      driver: 'docker',
      nodes: [
        {
          ...{ endpoint: 'default', status: 'running', version: 'v0.20.0', platforms: [] },
          labels: { 'org.mobyproject.buildkit.worker.snapshotter': 'overlayfs' },
        },
      ],
    }
    expect(isClassic(containerd)).toBe(false)
  })
})

test('versions', () => {
  expect(versionIn('github.com/docker/buildx v0.37.0 2b3d8ff')).toEqual([0, 37])
  expect(versionIn('github.com/docker/buildx 0.12.1+ds1 ')).toEqual([0, 12])
  expect(versionIn('v0.8+unknown')).toEqual([0, 8])
  expect(versionIn('v0.0.0+unknown')).toBeUndefined()
  expect(versionIn('')).toBeUndefined()
  expect(isOlder([0, 12], [0, 13])).toBe(true)
  expect(isOlder([0, 13], [0, 13])).toBe(false)
  expect(isOlder([1, 0], [0, 13])).toBe(false)
})

describe('what a builder lacks', () => {
  const lacks = async (text: string, steps: Partial<StepSettings>, classic = false) => {
    const cell = await cellOf('FROM a\nRUN make\n', { cell: { steps: { ...NO_SETTINGS, ...steps } } })
    const command = ['docker', 'buildx'] as const
    return buildxLacks(cell, { command, version: [0, 34], builder: parseInspect(text) }, classic)?.message
  }
  const of = (version: string): string => REMOTE.replaceAll(/v0\.\d+\.\d+/g, version)

  test('flags that an old BuildKit would leave out without a word', async () => {
    expect(await lacks(CLASSIC, {}, true)).toBeUndefined()
    expect(await lacks(CLASSIC, { shmSize: 1 }, true)).toBe('its BuildKit v0.8+unknown does not know --shm-size')
    const nofile = { name: 'nofile', soft: 1, hard: 1 }
    expect(await lacks(CLASSIC, { ulimits: [nofile] }, true)).toContain('--ulimit')
    expect(await lacks(of('v0.10.0'), {})).toContain('does not take image layouts')
    expect(await lacks(of('v0.12.5'), { shmSize: 1, ulimits: [nofile] })).toBeUndefined()
    expect(await lacks(of('v0.30.0'), { limits: { memory: 1 } })).toContain('--resource')
    expect(await lacks(of('v0.33.1'), { limits: { memory: 1 } })).toBe('buildx 0.34 has no --resource')
    expect(await lacks(of('v0.0.0+unknown'), { shmSize: 1 })).toBeUndefined()
    expect(await lacks(of('v0.33.1'), { limits: { pids: 9 } })).toContain('--resource pids')
  })

  test('layers of windows that BuildKit would write wrongly', async () => {
    const command = ['docker', 'buildx'] as const
    const windows = async (dockerfile: string) =>
      buildxLacks(
        await cellOf(dockerfile, { platform: 'windows/amd64' }),
        { command, builder: parseInspect(REMOTE) },
        true,
      )
    expect((await windows('FROM scratch AS a\nFROM a\nCOPY f /f\n'))?.message).toContain('Windows cannot use')
    expect((await windows('FROM nanoserver\nCOPY --link f /f\n'))?.message).toContain('Windows cannot use')
    expect(await windows('FROM scratch AS a\nFROM nanoserver\nCOPY --from=a f /f\n')).toBeUndefined()
  })
})
