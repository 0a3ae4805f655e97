import { describe, expect, test } from 'bun:test'
import { formatReference, parseReference } from '../oci/reference.ts'
import { formatLocation, type Look, parseLocation } from './location.ts'

const nothing: Look = () => undefined
const digest = `sha256:${'a'.repeat(64)}` as const
const ref = (text: string) => parseReference(text)

describe('words of peers', () => {
  const cases: readonly (readonly [string, object])[] = [
    ['app', { kind: 'registry', reference: ref('app') }],
    ['registry.example.com/team/app:1.0', { kind: 'registry', reference: ref('registry.example.com/team/app:1.0') }],
    ['localhost:5000/app', { kind: 'registry', reference: ref('localhost:5000/app') }],
    ['registry:5000/app', { kind: 'registry', reference: ref('registry:5000/app') }],
    ['registry:2', { kind: 'registry', reference: ref('registry:2') }],
    ['docker:27', { kind: 'registry', reference: ref('docker:27') }],
    ['docker://nginx:1.27', { kind: 'registry', reference: ref('nginx:1.27') }],
    [`docker://nginx@${digest}`, { kind: 'registry', reference: ref(`nginx@${digest}`) }],
    ['store:app:1.0', { kind: 'store', reference: ref('app:1.0') }],
    ['docker-daemon:app:1.0', { kind: 'docker', reference: ref('app:1.0') }],
    ['containers-storage:localhost/app:1.0', { kind: 'podman', reference: ref('localhost/app:1.0') }],
    ['podman:app', { kind: 'podman', reference: ref('app') }],
    ['oci:out', { kind: 'oci', path: 'out' }],
    ['oci:out:v1', { kind: 'oci', path: 'out', name: 'v1' }],
    ['ocidir://out/x:v1', { kind: 'oci', path: 'out/x', name: 'v1' }],
    [`oci:out@${digest}`, { kind: 'oci', path: 'out', digest }],
    [`oci:out:v1@${digest}`, { kind: 'oci', path: 'out', name: 'v1', digest }],
    [
      'oci-archive:a.tar:registry.example.com/app:1.0',
      { kind: 'oci-archive', path: 'a.tar', name: 'registry.example.com/app:1.0' },
    ],
    ['oci-archive:/tmp/a.tar', { kind: 'oci-archive', path: '/tmp/a.tar' }],
    ['docker-archive:a.tar:app:1.0', { kind: 'docker-archive', path: 'a.tar', name: 'app:1.0' }],
    ['./out', { kind: 'oci', path: './out' }],
    ['/srv/out:v1', { kind: 'oci', path: '/srv/out', name: 'v1' }],
    ['images.tar', { kind: 'oci-archive', path: 'images.tar' }],
    ['images.tar.gz', { kind: 'oci-archive', path: 'images.tar.gz' }],
    ['images.tgz:app:1', { kind: 'oci-archive', path: 'images.tgz', name: 'app:1' }],
    ['./images.tar:v1', { kind: 'oci-archive', path: './images.tar', name: 'v1' }],
    ['oci:C:\\images:v1', { kind: 'oci', path: 'C:\\images', name: 'v1' }],
  ]
  for (const [text, expected] of cases)
    test(text, () => {
      expect(parseLocation(text, nothing)).toEqual(expected as ReturnType<typeof parseLocation>)
    })
})

test('what is there decides where a path ends and what it is', () => {
  const look: Look = path => (path === './a:b' || path === 'x:y' ? 'folder' : path === './archive' ? 'file' : undefined)
  expect(parseLocation('./a:b', look)).toEqual({ kind: 'oci', path: './a:b' })
  expect(parseLocation('./a:b:v1', look)).toEqual({ kind: 'oci', path: './a:b', name: 'v1' })
  expect(parseLocation(`oci:x:y@${digest}`, look)).toEqual({ kind: 'oci', path: 'x:y', digest })
  expect(parseLocation('./archive', look)).toEqual({ kind: 'oci-archive', path: './archive' })
})

test('what is no place is said', () => {
  const failure = (text: string): unknown => {
    try {
      return parseLocation(text, nothing)
    } catch (error) {
      return error
    }
  }
  expect(failure('oci-archve:./a.tar')).toMatchObject({ code: 'USAGE', hint: 'did you mean "oci-archive"?' })
  expect(failure('dir:/tmp/x')).toMatchObject({ code: 'USAGE' })
  expect(failure('oci:')).toMatchObject({ code: 'USAGE' })
  expect(failure('oci::v1')).toMatchObject({ code: 'USAGE' })
  expect(failure('oci:out:')).toMatchObject({ code: 'USAGE' })
  expect(failure('docker://Upper/Team/App')).toMatchObject({ code: 'REFERENCE_INVALID' })
  expect(failure('')).toMatchObject({ code: 'REFERENCE_INVALID' })
})

test('as people write them', () => {
  for (const text of [
    'store:app:1.0',
    'oci:out:v1',
    `oci-archive:a.tar:v1@${digest}`,
    'docker-daemon:app:1.0',
    'podman:app:2',
  ])
    expect(formatLocation(parseLocation(text, nothing))).toBe(text)
  expect(formatLocation(parseLocation('docker://nginx:1', nothing))).toBe(formatReference(ref('nginx:1')))
})

test('a kind of place with a slip is not taken for an image of Docker Hub', () => {
  for (const [word, meant] of [
    ['docker-demon:app:1', 'docker-daemon:'],
    ['oci-archve:two.tar', 'oci-archive:'],
  ] as const) {
    let caught: unknown
    try {
      parseLocation(word, () => undefined)
    } catch (error) {
      caught = error
    }
    expect(caught).toMatchObject({ code: 'USAGE' })
    expect((caught as { hint: string }).hint).toContain(meant)
  }
  for (const name of ['docker-compose:1', 'docker-machine:2', 'docker://docker-demon:1'])
    expect(parseLocation(name, () => undefined).kind).toBe('registry')
})
