import { describe, expect, test } from 'bun:test'
import { formatLocation, type Location, parseLocation } from './location.ts'

const digest = `sha256:${'a'.repeat(64)}` as const

describe('locations', () => {
  test.each<[string, Location]>([
    ['.', { kind: 'path', path: '/work' }],
    ['../assets', { kind: 'path', path: '/assets' }],
    ['/srv/x', { kind: 'path', path: '/srv/x' }],
    ['github.com/a/b', { kind: 'git', git: { remote: 'https://github.com/a/b' } }],
    ['git@h:a#b:c', { kind: 'git', git: { remote: 'git@h:a', ref: 'b', subdir: 'c' } }],
    ['https://h/a.git', { kind: 'git', git: { remote: 'https://h/a.git' } }],
    ['https://h/a.tar', { kind: 'http', url: 'https://h/a.tar' }],
    ['docker-image://alpine:3', { kind: 'image', reference: 'alpine:3' }],
    ['service:api', { kind: 'service', name: 'api' }],
    ['target:api', { kind: 'service', name: 'api' }],
    ['oci-layout://images', { kind: 'layout', path: '/work/images' }],
    ['oci-layout:///srv/images:1.0', { kind: 'layout', path: '/srv/images', tag: '1.0' }],
    [`oci-layout://./x@${digest}`, { kind: 'layout', path: '/work/x', digest }],
    [`oci-layout://x:v1@${digest}`, { kind: 'layout', path: '/work/x', tag: 'v1', digest }],
    ['oci-layout://a@b/x', { kind: 'layout', path: '/work/a@b/x' }],
  ])('%s', (text, wanted) => {
    expect(parseLocation(text, '/work')).toEqual(wanted)
    expect(parseLocation(formatLocation(text, '/work'), '/elsewhere')).toEqual(wanted)
  })

  test.each(['ftp://h/x', 'input:x', 'oci-layout://', 'nothing:'])('%s is refused', text =>
    expect(() => parseLocation(text, '/work')).toThrow(),
  )
})
