import { expect, test } from 'bun:test'
import { buildPlatform, parsePlatform } from '../oci/platform.ts'
import { limitNames, sharedFlags } from './flags.ts'
import { NO_SETTINGS } from './steps.ts'
import { cellOf } from './testing/cells.ts'

test('arguments and what RUN steps are given, as docker and podman write them', async () => {
  const cell = await cellOf('FROM a\nRUN make\n', { args: { A: 'b c' } })
  const own = buildPlatform()
  expect(sharedFlags(cell, own)).toEqual(['--build-arg', 'BUILDPLATFORM=linux/amd64', '--build-arg', 'A=b c'])
  const steps = {
    ...NO_SETTINGS,
    hosts: [['db', '10.0.0.7'] as const],
    shmSize: 1024,
    ulimits: [{ name: 'nofile', soft: 1, hard: -1 }],
    agents: new Map([['git', ['/a', '/b']]]),
    fresh: true as const,
    limits: { memory: 5, cpusetCpus: '0-1' },
  }
  const source = { ...cell.source, args: {}, policy: { network: 'host' as const, allow: [] } }
  const options = { ...cell.options, times: { mode: 'commit' as const, fixed: 7 } }
  const asked = { ...cell, steps, source, options }
  expect(sharedFlags(asked, undefined)).toEqual([
    ...['--build-arg', 'SOURCE_DATE_EPOCH=7', '--network', 'host', '--add-host', 'db:10.0.0.7', '--shm-size', '1024'],
    ...['--ulimit', 'nofile=1:-1', '--ssh', 'git=/a,/b', '--no-cache'],
  ])
  expect(limitNames(asked)).toEqual([
    ['memory', '5'],
    ['cpuset-cpus', '0-1'],
  ])
})

test('the platform of the build is that of this machine, also where the engine works on another', async () => {
  const cell = await cellOf('FROM a\nRUN make\n')
  const bare = { ...cell, source: { ...cell.source, args: { BUILDOS: 'mine' } } }
  const { architecture, variant = '' } = buildPlatform()
  const other = parsePlatform(architecture === 's390x' ? 'linux/amd64' : 'linux/s390x')
  const flags = sharedFlags(bare, other).filter(flag => flag !== '--build-arg')
  expect(flags.toSorted()).toEqual([
    ...[`BUILDARCH=${architecture}`, 'BUILDOS=mine', `BUILDPLATFORM=linux/${architecture}${variant && `/${variant}`}`],
    `BUILDVARIANT=${variant}`,
  ])
})
