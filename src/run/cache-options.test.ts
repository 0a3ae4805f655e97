import { expect, test } from 'bun:test'
import { isArchimageError } from '../errors/error.ts'
import { parsePlatform } from '../oci/platform.ts'
import { parseCacheFrom, parseCacheTo } from './cache-options.ts'
import { cacheName } from './cache-places.ts'

function refusal(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (isArchimageError(error)) return `${error.code}: ${error.message} → ${error.hint}`
    throw error
  }
  return 'not refused'
}

test('registries and folders, each with its options', () => {
  const { place, ...rest } = parseCacheTo(
    'type=registry,ref=reg.example.com/team/cache,mode=max,ignore-error=true',
    '/w',
  )
  expect(rest).toEqual({ mode: 'max', ignoreError: true })
  const names = (tag: string): string[] =>
    ['linux/arm64', 'linux/arm/v7'].map(
      platform =>
        cacheName(parseCacheFrom(`reg.example.com/team/cache${tag}`, '/w'), 'api', parsePlatform(platform)).text,
    )
  expect(cacheName(place, 'api', parsePlatform('arm64'))).toMatchObject({ text: names('')[0]! })
  expect(names('')).toEqual([
    'reg.example.com/team/cache:api-linux-arm64',
    'reg.example.com/team/cache:api-linux-arm-v7',
  ])
  expect(names(':main')[0]).toBe('reg.example.com/team/cache:main-api-linux-arm64')
  const folder = parseCacheTo('type=local,dest=cache', '/w')
  expect(folder).toEqual({ place: { kind: 'local', folder: '/w/cache' }, mode: 'min', ignoreError: false })
  expect(cacheName(folder.place, undefined, parsePlatform('amd64'))).toMatchObject({ name: 'linux-amd64' })
})

test('names that no tag can be stay apart', () => {
  const place = parseCacheFrom('reg.example.com/cache', '/')
  const tags = ['a/b', 'a-b', 'a+b', `${'x'.repeat(200)}1`, `${'x'.repeat(200)}2`, '.a'].map(service => {
    const name = cacheName(place, service, parsePlatform('amd64'))
    return name.kind === 'registry' ? name.reference.tag : ''
  })
  expect(new Set(tags).size).toBe(tags.length)
  for (const tag of tags) expect(tag).toMatch(/^\w[\w.-]{0,127}$/)
})

test('what is refused, by name', () => {
  const to = (text: string): string => refusal(() => parseCacheTo(text, '/'))
  const from = (text: string): string => refusal(() => parseCacheFrom(text, '/'))
  for (const type of ['inline', 'gha', 's3', 'azblob']) {
    expect(to(`type=${type}`)).toStartWith(`UNSUPPORTED: --cache-to type=${type} is not supported: `)
    expect(from(`type=${type},x=y`)).toStartWith(`UNSUPPORTED: --cache-from type=${type} is not supported: `)
  }
  expect(to('type=regsitry,ref=a/b')).toContain('registry')
  expect(to('type=local,dst=x')).toMatch(/^USAGE.*no option "dst".*dest/s)
  expect(to('type=registry,ref=a/b,compression=zstd')).toStartWith('UNSUPPORTED')
  expect(to('type=registry,ref=a/b,mode=mox')).toMatch(/^USAGE.*max/s)
  expect(to('type=registry,ref=a/b,ref=a/c')).toContain('twice')
  expect(to('type=registry')).toContain('ref is missing')
  expect(to('type=local')).toContain('dest is missing')
  expect(to('ref=a/b')).toContain('type is missing')
  expect(to('')).toStartWith('USAGE')
  expect(from('type=local,src=x,mode=max')).toContain('no option "mode"')
  expect(from('type=registry,ref=A B')).not.toBe('not refused')
})
