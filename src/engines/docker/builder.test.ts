import { describe, expect, test } from 'bun:test'
import { formatPlatform } from '../../oci/platform.ts'
import { type Builder, builderAbilities, isClassic, isOlder, parseInspect, versionIn } from './builder.ts'

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
    expect(builderAbilities(idle)).toEqual({ features: ['run'], problems: [] })
    expect(parseInspect('')).toEqual({ name: '', driver: '', nodes: [] })
  })

  test('what runs natively on any of the nodes, and what is emulated', () => {
    expect(builderAbilities(parseInspect(REMOTE)).platforms).toEqual({
      'linux/amd64': 'native',
      'linux/amd64/v2': 'native',
      'linux/arm64': 'native',
      'linux/386': 'native',
      'linux/loong64': 'emulated',
      'linux/arm/v7': 'emulated',
    })
    expect(builderAbilities(parseInspect(CLASSIC)).platforms).toEqual({
      'linux/amd64': 'native',
      'linux/arm64': 'emulated',
    })
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
