import { expect, test } from 'bun:test'
import { cgroupMounts, cgroupPlans, isAtTop } from './cgroup-limits.ts'

const SEPARATE = `22 1 0:21 / / rw - ext4 /dev/vda rw
33 32 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
36 32 0:33 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
35 32 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
34 32 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
41 32 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`
const UNIFIED = '41 32 0:38 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n'
const MB = 1 << 20

const plans = (mountinfo: string, limits: Parameters<typeof cgroupPlans>[0]) =>
  cgroupPlans(limits, cgroupMounts(mountinfo), 'x')

test('without limits there is no cgroup', () => {
  expect(plans(UNIFIED, {})).toEqual([])
  expect(plans('', {})).toEqual([])
})

test('one hierarchy for all', () => {
  const limits = { memory: 64 * MB, memorySwap: 96 * MB, cpuShares: 1024, cpuQuota: 50_000, cpusetCpus: '0-1' }
  expect(plans(UNIFIED, limits)).toEqual([
    {
      directory: '/sys/fs/cgroup/x',
      controllers: ['memory', 'cpu', 'cpuset'],
      files: [
        ['memory.max', '67108864'],
        ['memory.swap.max', '33554432'],
        // runc's ConvertCPUSharesToCgroupV2Value(1024)
        ['cpu.weight', '39'],
        ['cpu.max', '50000 100000'],
        ['cpuset.cpus', '0-1'],
      ],
    },
  ])
})

test('what is unlimited is called max', () => {
  expect(plans(UNIFIED, { memory: MB, memorySwap: -1 })![0]!.files).toContainEqual(['memory.swap.max', 'max'])
  expect(plans(UNIFIED, { cpuPeriod: 20_000 })![0]!.files).toEqual([['cpu.max', 'max 20000']])
})

test('a hierarchy for each controller', () => {
  expect(plans(SEPARATE, { memory: MB, memorySwap: 2 * MB, cpuShares: 2, cpusetCpus: '0' })).toEqual([
    {
      directory: '/sys/fs/cgroup/memory/x',
      controllers: [],
      files: [
        ['memory.limit_in_bytes', '1048576'],
        ['memory.memsw.limit_in_bytes', '2097152'],
      ],
    },
    { directory: '/sys/fs/cgroup/cpu,cpuacct/x', controllers: [], files: [['cpu.shares', '2']] },
    {
      directory: '/sys/fs/cgroup/cpuset/x',
      controllers: [],
      files: [
        ['cpuset.cpus', '0'],
        ['cpuset.mems', ''],
      ],
    },
  ])
})

test('processes', () => {
  expect(plans(UNIFIED, { pids: 100 })).toEqual([
    { directory: '/sys/fs/cgroup/x', controllers: ['pids'], files: [['pids.max', '100']] },
  ])
  expect(plans(SEPARATE, { pids: 100 })).toEqual([
    { directory: '/sys/fs/cgroup/pids/x', controllers: [], files: [['pids.max', '100']] },
  ])
})

test('no hierarchy, no limit', () => {
  expect(plans('', { memory: MB })).toBeUndefined()
})

test('who is at the top of a hierarchy', () => {
  const [separate, unified] = [cgroupMounts(SEPARATE), cgroupMounts(UNIFIED)]
  expect(isAtTop('pids', separate, '8:pids:/\n4:memory:/a\n0::/a\n')).toBe(true)
  expect(isAtTop('memory', separate, '8:pids:/\n4:memory:/a\n0::/\n')).toBe(false)
  expect(isAtTop('cpu', separate, '2:cpu,cpuacct:/\n0::/a\n')).toBe(true)
  expect(isAtTop('pids', unified, '0::/\n')).toBe(true)
  expect(isAtTop('pids', unified, '0::/system.slice/ci.service\n')).toBe(false)
  expect(isAtTop('pids', unified, '')).toBe(false)
})
