import { afterAll, describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isArchimageError } from '../errors/error.ts'
import { redact } from '../errors/redact.ts'
import { proxyVariables, withProxies } from '../plan/proxies.ts'
import { stepFlags } from './step-flags.ts'

const folder = mkdtempSync(join(tmpdir(), 'archimage-step-flags-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
writeFileSync(join(folder, 'token'), 'hunter22\n')

const read = (options: Record<string, unknown>, env: NodeJS.ProcessEnv = {}) =>
  stepFlags(options, folder, { HOME: folder, ...env })

function refusal(options: Record<string, unknown>, env?: NodeJS.ProcessEnv): string {
  try {
    read(options, env)
  } catch (error) {
    if (isArchimageError(error)) return `${error.code}: ${error.message}`
    throw error
  }
  return 'not refused'
}

const secrets = (specs: string[], env?: NodeJS.ProcessEnv): Record<string, string> =>
  Object.fromEntries(
    [...read({ secret: specs }, env).settings.secrets].map(([id, { bytes }]) => [id, Buffer.from(bytes).toString()]),
  )

describe('--secret', () => {
  test('of a file, of a variable, by the id alone', () => {
    expect(secrets(['id=a,src=token'])).toEqual({ a: 'hunter22\n' })
    expect(secrets(['type=file,id=a,source=token'])).toEqual({ a: 'hunter22\n' })
    expect(secrets(['id=token'])).toEqual({ token: 'hunter22\n' })
    const env = { V: 'of the environment', token: 'in a variable' }
    expect(secrets(['id=a,env=V'], env)).toEqual({ a: 'of the environment' })
    expect(secrets(['type=env,id=a,src=V'], env)).toEqual({ a: 'of the environment' })
    expect(secrets(['id=token', 'id=none,env=NONE'], env)).toEqual({ token: 'in a variable', none: '' })
    expect(secrets(['id=a,env=V', 'id=a,src=token'], env)).toEqual({ a: 'hunter22\n' })
  })

  test('from then on no message shows it, nor a long line of it', () => {
    writeFileSync(join(folder, 'key'), '-----BEGIN-----\nsecond line of it\nab\n')
    read({ secret: ['id=k,src=key'] })
    expect(redact('says second line of it and ab')).toBe('says *** and ab')
  })

  test('what is wrong', () => {
    expect(refusal({ secret: ['src=token'] })).toContain('the id is missing')
    expect(refusal({ secret: ['id=a,src=nowhere'] })).toContain(`there is no file ${join(folder, 'nowhere')}`)
    expect(refusal({ secret: ['id=a,sorce=token'] })).toContain('there is no option "sorce"')
    expect(refusal({ secret: ['id=a,type=socket'] })).toContain('unknown type "socket"')
    writeFileSync(join(folder, 'big'), Buffer.alloc(500 * 1024 + 1))
    expect(refusal({ secret: ['id=a,src=big'] })).toContain('more than 512000 bytes')
  })
})

describe('--ssh', () => {
  test('the agent of the environment, a socket or keys by name', () => {
    expect([...read({ ssh: ['default'] }, { SSH_AUTH_SOCK: '/' }).settings.agents]).toEqual([['default', ['/']]])
    const both = read({ ssh: ['git=token,key', 'default='] }, { SSH_AUTH_SOCK: '/' })
    expect(both.settings.agents.get('git')).toEqual([join(folder, 'token'), join(folder, 'key')])
    expect(refusal({ ssh: ['default'] })).toContain('no agent runs here')
    expect(refusal({ ssh: ['a=token', 'a=token'] })).toContain('"a" is given twice')
    expect(refusal({ ssh: ['a=nowhere'] })).toContain('does not exist')
  })
})

test('--allow and --network', () => {
  expect(read({}).policy).toEqual({ network: 'default', allow: [] })
  expect(read({ network: 'none', allow: ['network.host', 'buildx.local.delete'] }).policy).toEqual({
    network: 'none',
    allow: ['network.host'],
  })
  expect(refusal({ allow: ['network.hots'] })).toContain('there is no such privilege')
  expect(refusal({ allow: ['device'] })).toContain('UNSUPPORTED: --allow device')
})

test('--add-host', () => {
  const { hosts } = read({ addHost: ['DB:10.0.0.7', 'a=1.2.3.4,b=[::1]', 'c:::2'] }).settings
  expect(hosts).toEqual([
    ['db', '10.0.0.7'],
    ['a', '1.2.3.4'],
    ['b', '::1'],
    ['c', '::2'],
  ])
  expect(refusal({ addHost: ['db'] })).toContain('is not HOST:IP')
  expect(refusal({ addHost: ['db:10.0.0.256'] })).toContain('is not HOST:IP')
})

test('--shm-size, --ulimit, --resource and what docker build calls them', () => {
  const { shmSize, ulimits, limits } = read({
    shmSize: '1.5m',
    ulimit: ['nofile=5:-1', 'core=0'],
    memory: '1g',
    cpuQuota: '50000',
    resource: ['memory = 2g', 'memory-swap=-1', 'cpuset-cpus=0-1,3'],
  }).settings
  expect(shmSize).toBe(1_572_864)
  expect(ulimits).toEqual([
    { name: 'nofile', soft: 5, hard: -1 },
    { name: 'core', soft: 0, hard: 0 },
  ])
  expect(limits).toEqual({ cpuQuota: 50_000, memory: 2 ** 31, memorySwap: -1, cpusetCpus: '0-1,3' })
  expect(refusal({ shmSize: 'much' })).toContain('--shm-size much is not a size')
  expect(refusal({ ulimit: ['nofiles=1'] })).toContain('there is no "nofiles"')
  expect(refusal({ ulimit: ['nofile=2:1'] })).toContain('above the hard one')
  expect(refusal({ resource: ['memroy=1g'] })).toContain('there is no limit "memroy"')
  expect(refusal({ resource: ['cpu-shares=many'] })).toContain('"many" is no number')
})

test('which steps run again', () => {
  expect(read({ cacheFilter: true, cache: true }).settings.fresh).toEqual(new Set())
  expect(read({ cacheFilter: ['Build,other', 'third'] }).settings.fresh).toEqual(new Set(['build', 'other', 'third']))
  expect(read({ cache: false }).settings.fresh).toBe(true)
  expect(read({ force: true }).settings.fresh).toBe(true)
})

test("proxies come from build arguments and from docker's configuration", () => {
  mkdirSync(join(folder, '.docker'), { recursive: true })
  writeFileSync(
    join(folder, '.docker/config.json'),
    JSON.stringify({ proxies: { default: { httpProxy: 'http://p', noProxy: 'local', ftpProxy: '' } } }),
  )
  const { proxies } = read({})
  expect(proxies).toEqual({ HTTP_PROXY: 'http://p', http_proxy: 'http://p', NO_PROXY: 'local', no_proxy: 'local' })
  expect(proxyVariables(withProxies({ No_Proxy: 'mine' }, proxies))).toEqual([
    'HTTP_PROXY=http://p',
    'http_proxy=http://p',
    'NO_PROXY=mine',
    'no_proxy=mine',
  ])
  expect(proxyVariables({ HTTP_PROXY: 'upper', http_proxy: 'lower', OTHER: 'x' })).toEqual([
    'HTTP_PROXY=lower',
    'http_proxy=lower',
  ])
})
