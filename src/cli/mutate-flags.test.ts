import { describe, expect, test } from 'bun:test'
import { isArchimageError } from '../errors/error.ts'
import { command, parse } from './command.ts'
import { addMutateFlags, basesOf, mutationOf, refuseMutateFlags } from './mutate-flags.ts'

function options(...args: string[]): Record<string, unknown> {
  const invocation = { name: 'mutate', args, directory: undefined, signal: new AbortController().signal }
  const program = addMutateFlags(command(invocation, '', ''))
  const parsed = parse(program, invocation)!
  refuseMutateFlags(program, parsed.options)
  return parsed.options
}
const mutation = (...args: string[]) => mutationOf(options(...args))
const plain = (...args: string[]) => mutation(...args).config![0]!.value
const failure = (...args: string[]): string => {
  try {
    mutation(...args)
  } catch (error) {
    if (isArchimageError(error)) return `${error.code} ${error.message}`
    throw error
  }
  return ''
}
const ARM64 = { os: 'linux', architecture: 'arm64' }

test('words as crane, Dockerfiles and regctl write them', () => {
  expect(plain('--entrypoint', '/a,b').entrypoint).toEqual(['/a', 'b'])
  expect(plain('--entrypoint', '/a', '--entrypoint', 'b c').entrypoint).toEqual(['/a', 'b c'])
  expect(plain('--entrypoint', '["/a","b,c"]').entrypoint).toEqual(['/a', 'b,c'])
  expect(plain('--cmd', '').cmd).toEqual([])
  expect(plain('--config-cmd', 'ls -l')).toMatchObject({ cmd: ['/bin/sh', '-c', 'ls -l'] })
  expect(plain('--config-entrypoint', '["x"]')).toMatchObject({ entrypoint: ['x'], keepCmd: true })
  expect(plain('--entrypoint', 'x')).not.toHaveProperty('keepCmd')
  expect(failure('--cmd', '[1]')).toBe('USAGE [1] is no list of words in JSON')
})

test('names, values, platforms', () => {
  const { config } = mutation('-l', 'a=b=c', '-l', 'gone', '-e', '[linux/arm64]X=', '-e', '[*]Y=1')
  expect(config!.slice(1)).toEqual([
    { value: { labels: [['a', 'b=c']] } },
    { value: { labels: [['gone', null]] } },
    { platforms: [ARM64], value: { env: [['X', '']] } },
    { value: { env: [['Y', '1']] } },
  ])
  expect(failure('-l', '=x')).toBe('USAGE --label =x: the name is missing')
  expect(failure('-e', '[linux/amr64]X=1')).toContain('PLATFORM_INVALID')
})

describe('annotations', () => {
  const levels = (...values: string[]) => {
    const { indexAnnotations, annotations, entryAnnotations } = mutation(...values.flatMap(value => ['-a', value]))
    return { index: indexAnnotations, manifest: annotations, entry: entryAnnotations }
  }
  test('of manifests, with names of every kind', () => {
    expect(levels('a=1', 'org.x/y:z=2')).toEqual({
      index: [],
      manifest: [{ value: [['a', '1']] }, { value: [['org.x/y:z', '2']] }],
      entry: [],
    })
  })
  test('by level', () => {
    expect(levels('index,manifest[linux/arm64]:a=1', 'manifest-descriptor:b=2', '[*]c=3')).toEqual({
      index: [
        ['a', '1'],
        ['c', '3'],
      ],
      manifest: [{ platforms: [ARM64], value: [['a', '1']] }, { value: [['c', '3']] }],
      entry: [{ value: [['b', '2']] }],
    })
    expect(failure('-a', 'index-descriptor:a=1')).toContain('there is no level "index-descriptor"')
  })
})

test('times', () => {
  expect(plain('--time', '0').created).toBe('1970-01-01T00:00:00Z')
  expect(plain('--timestamp', '1700000000').created).toBe('2023-11-14T22:13:20Z')
  expect(plain('--config-time', 'set=2021-02-03T05:06:07+01:00').created).toBe('2021-02-03T04:06:07Z')
  expect(mutation('--time', '100', '--layer-time').layerTime).toBe(100)
  expect(failure('--time', 'yesterday')).toBe('USAGE "yesterday" is not a time')
  expect(failure('--time', '2021')).toBe('')
  expect(failure('--layer-time')).toBe('USAGE --layer-time needs --time')
  expect(failure('--time', '1', '--timestamp', '2')).toBe('USAGE one time is enough')
})

test('ports, volumes, layers, bases', () => {
  expect(plain('--exposed-ports', '80,443/tcp', '--expose-rm', '1').ports).toEqual({
    clear: true,
    add: ['80', '443/tcp'],
    remove: ['1'],
  })
  expect(plain('--volume', '/a', '--volume-add', '/b').volumes).toEqual({ clear: false, add: ['/b', '/a'], remove: [] })
  expect(mutation('--append', 'a.tar,b.tar', '--append', '[linux/arm64]c.tar').append).toEqual([
    { value: 'a.tar' },
    { value: 'b.tar' },
    { platforms: [ARM64], value: 'c.tar' },
  ])
  expect(mutation('--layer-add', 'tar=x.tar,platform=linux/arm64').append).toEqual([
    { platforms: [ARM64], value: 'x.tar' },
  ])
  expect(mutation('--layer-add', 'dir=x').append).toEqual([{ value: 'x' }])
  expect(failure('--layer-add', 'platform=amd64')).toContain('names no file')
  expect(basesOf(options('--rebase-ref', 'a,b'))).toEqual({ old: 'a', new: 'b' })
  expect(basesOf(options('--old_base', 'a', '--new-base', 'b'))).toEqual({ old: 'a', new: 'b' })
  expect(basesOf(options('--rebase'))).toEqual({})
  expect(basesOf(options())).toBeUndefined()
})

test('platforms as crane writes them', () => {
  expect(plain('--set-platform', 'windows/amd64:10.0.20348.1').platform).toEqual({
    os: 'windows',
    architecture: 'amd64',
    'os.version': '10.0.20348.1',
  })
  expect(plain('--config-platform', 'arm').platform).toMatchObject({ architecture: 'arm', variant: 'v7' })
})

test('what is refused is refused by name', () => {
  for (const flag of ['--to-oci', '--layer-reproducible', '--annotation-promote'])
    expect(failure(flag)).toContain(`UNSUPPORTED ${flag} is not supported: `)
  expect(failure('--data-max', '5')).toContain('UNSUPPORTED')
})
