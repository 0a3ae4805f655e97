import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { isArchimageError } from '../errors/error.ts'
import {
  formatPlatform,
  normalizePlatform,
  parsePlatform,
  parsePlatforms,
  platformSlug,
  platformTag,
  samePlatform,
  selectPlatform,
} from './platform.ts'

const text = (given: string): string => formatPlatform(parsePlatform(given))

function failure(work: () => unknown): { code: string; message: string; hint: string | undefined } {
  try {
    work()
  } catch (error) {
    if (isArchimageError(error)) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('parsePlatform', () => {
  test.each([
    ['arm64', 'linux/arm64'],
    ['aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/aarch64', 'linux/arm64'],
    ['arm64/v8', 'linux/arm64'],
    ['linux/arm64/v9', 'linux/arm64/v9'],
    ['arm', 'linux/arm/v7'],
    ['armhf', 'linux/arm/v7'],
    ['armel', 'linux/arm/v6'],
    ['arm/v6', 'linux/arm/v6'],
    ['linux/arm/7', 'linux/arm/v7'],
    ['x86_64', 'linux/amd64'],
    ['LINUX/AMD64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
    ['i386', 'linux/386'],
    ['windows/amd64', 'windows/amd64'],
    ['windows(10.0.20348)/amd64', 'windows(10.0.20348)/amd64'],
    ['windows(10.0.20348+win32k)/amd64', 'windows(10.0.20348+win32k)/amd64'],
    ['macos/arm64', 'darwin/arm64'],
    [' linux/s390x ', 'linux/s390x'],
  ])('%s is %s', (given, expected) => expect(text(given)).toBe(expected))

  test.each([
    ['linux/amd46', 'linux/amd64'],
    ['lunix/amd64', 'linux/amd64'],
    ['linux/amr64', 'linux/arm64'],
    ['linux', 'linux/amd64'],
    ['amd46', 'linux/amd64'],
  ])('%s is refused, with %s meant', (given, meant) => {
    const { code, hint } = failure(() => parsePlatform(given))
    expect(code).toBe('PLATFORM_INVALID')
    expect(hint).toBe(`did you mean "${meant}"?`)
  })

  test.each(['', 'linux/', '/amd64', 'a/b/c/d', 'linux/amd64/..', 'linux/amd64 linux/arm64', 'linux/amd64/vx'])(
    '%p is refused',
    given => expect(failure(() => parsePlatform(given)).code).toBe('PLATFORM_INVALID'),
  )

  test('normalising twice is normalising once', () => {
    const word = fc.constantFrom('linux', 'Windows', 'macos', 'arm', 'ARM64', 'aarch64', 'amd64', 'armhf', 'x86_64')
    const variant = fc.constantFrom('', 'v1', 'v5', '6', 'v7', 'v8', '8')
    fc.assert(
      fc.property(word, word, variant, (os, architecture, v) => {
        const once = normalizePlatform({ os, architecture, ...(v ? { variant: v } : {}) })
        expect(normalizePlatform(once)).toEqual(once)
      }),
    )
  })
})

test.each(['constructor', 'linux/constructor', 'constructor/amd64', '__proto__/amd64', 'linux/toString'])(
  'a word that every object knows is none of ours: %s',
  text => {
    expect(() => parsePlatform(text)).toThrow(expect.objectContaining({ code: 'PLATFORM_INVALID' }))
  },
)

test('platforms of images are strange at times, and stay as they are', () => {
  const strange = { os: 'constructor', architecture: 'toString' }
  expect(normalizePlatform(strange)).toEqual({ os: 'constructor', architecture: 'tostring' })
})

test('lists: commas, several lists, repetitions, order', () => {
  expect(parsePlatforms(['linux/arm64,amd64', 'aarch64,arm/v7']).map(formatPlatform)).toEqual([
    'linux/arm64',
    'linux/amd64',
    'linux/arm/v7',
  ])
  expect(failure(() => parsePlatforms([' , '])).code).toBe('PLATFORM_INVALID')
})

describe('selectPlatform', () => {
  const select = (wanted: string, have: string[]): string | undefined => {
    const match = selectPlatform(
      parsePlatform(wanted),
      have.map(one => parsePlatform(one)),
    )
    return match && `${have[match.index]}${match.exact ? '' : ' (lower)'}`
  }
  test.each<[string, string[], string | undefined]>([
    ['linux/arm64', ['linux/amd64', 'linux/arm64'], 'linux/arm64'],
    ['linux/arm64', ['linux/arm/v7', 'linux/amd64'], undefined],
    ['linux/amd64', ['linux/386'], undefined],
    ['linux/386', ['linux/amd64'], undefined],
    ['linux/arm/v7', ['linux/arm/v5', 'linux/arm/v6'], 'linux/arm/v6 (lower)'],
    ['linux/arm/v6', ['linux/arm/v7'], undefined],
    ['linux/amd64/v3', ['linux/amd64', 'linux/amd64/v2'], 'linux/amd64/v2 (lower)'],
    ['linux/amd64', ['linux/amd64/v2'], undefined],
    ['linux/arm64', ['linux/arm64/v9'], undefined],
    ['linux/arm64/v9', ['linux/arm64'], 'linux/arm64 (lower)'],
    ['windows/amd64', ['windows(10.0.17763.1)/amd64', 'windows(10.0.20348.5)/amd64'], 'windows(10.0.17763.1)/amd64'],
    [
      'windows(10.0.20348)/amd64',
      ['windows(10.0.17763.1)/amd64', 'windows(10.0.20348.5)/amd64'],
      'windows(10.0.20348.5)/amd64',
    ],
    ['windows(10.0.2034)/amd64', ['windows(10.0.20348.5)/amd64'], undefined],
    ['linux/amd64', ['windows/amd64'], undefined],
    ['linux/amd64', [], undefined],
  ])('%s of %p: %p', (wanted, have, expected) => expect(select(wanted, have)).toBe(expected))

  test('an entry without platform is no match', () =>
    expect(selectPlatform(parsePlatform('amd64'), [undefined])).toBeUndefined())
})

test('samePlatform sees through spellings, not through variants', () => {
  expect(samePlatform({ os: 'linux', architecture: 'aarch64', variant: 'v8' }, parsePlatform('arm64'))).toBe(true)
  expect(samePlatform(parsePlatform('arm/v6'), parsePlatform('arm/v7'))).toBe(false)
})

test('names for folders and tags', () => {
  expect(platformSlug(parsePlatform('arm/v7'))).toBe('linux_arm_v7')
  expect(platformTag(parsePlatform('arm/v7'))).toBe('arm-v7')
  expect(platformTag(parsePlatform('windows/amd64'))).toBe('windows-amd64')
})
