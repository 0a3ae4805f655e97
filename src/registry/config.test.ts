import { describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseReference } from '../oci/reference.ts'
import { loadRegistryConfig, parseRegistryConfig } from './config.ts'

const DIGEST = `sha256:${'0'.repeat(64)}`
const at = (text: string, reference: string) => {
  const { upstream, byTag, byDigest } = parseRegistryConfig(text).resolve(parseReference(reference))
  const show = (e: typeof upstream) => `${e.registry}/${e.repository}${e.insecure ? ' insecure' : ''}`
  return { upstream: show(upstream), byTag: byTag.map(show), byDigest: byDigest.map(show) }
}

describe('registries.conf', () => {
  test('nothing configured: the reference itself', () => {
    expect(at('', 'nginx:1')).toEqual({ upstream: 'docker.io/library/nginx', byTag: [], byDigest: [] })
  })

  test('the longest prefix wins and is replaced by the location', () => {
    const text = `
[[registry]]
prefix = "example.com"
location = "other.net/all"
[[registry]]
prefix = "example.com/team/app"
location = "fast.net:5000/x"
insecure = true
`
    expect(at(text, 'example.com/a/b').upstream).toBe('other.net/all/a/b')
    expect(at(text, 'example.com/team/app:1').upstream).toBe('fast.net:5000/x insecure')
    expect(at(text, 'example.com/team/app/sub:1').upstream).toBe('fast.net:5000/x/sub insecure')
    // A prefix ends where a component ends.
    expect(at(text, 'example.com/team/apple').upstream).toBe('other.net/all/team/apple')
    expect(at(text, 'example.com:5000/a').upstream).toBe('example.com:5000/a')
    expect(at(text, 'example.community/a').upstream).toBe('example.community/a')
  })

  test('wildcards stand for subdomains only', () => {
    const text = '[[registry]]\nprefix = "*.example.com"\ninsecure = true'
    expect(at(text, 'a.b.example.com/x').upstream).toBe('a.b.example.com/x insecure')
    expect(at(text, 'example.com/x').upstream).toBe('example.com/x')
  })

  test('mirrors, by tag and by digest', () => {
    const text = `
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "mirror.local:5000/hub"
insecure = true
[[registry.mirror]]
location = "digests.local"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.local"
pull-from-mirror = "tag-only"
`
    expect(at(text, 'nginx')).toEqual({
      upstream: 'docker.io/library/nginx',
      byTag: ['mirror.local:5000/hub/library/nginx insecure', 'tags.local/library/nginx'],
      byDigest: ['mirror.local:5000/hub/library/nginx insecure', 'digests.local/library/nginx'],
    })
    const only = '[[registry]]\nlocation="q.io"\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation="m.io"'
    expect(at(only, `q.io/a@${DIGEST}`)).toEqual({ upstream: 'q.io/a', byTag: [], byDigest: ['m.io/a'] })
  })

  test('blocked registries name the file, the line and the way out', () => {
    const config = parseRegistryConfig('\n[[registry]]\nprefix = "bad.io"\nblocked = true', '/etc/x.conf')
    expect(() => config.resolve(parseReference('bad.io/a/b'))).toThrow(
      expect.objectContaining({
        code: 'REGISTRY_BLOCKED',
        message: 'bad.io/a/b: registry bad.io is blocked by /etc/x.conf:2',
      }),
    )
    expect(config.resolve(parseReference('good.io/a')).upstream.registry).toBe('good.io')
  })

  test.each([
    ['[[registry]]\ninsecure = "yes"\nlocation="a"', 'f:2: "insecure" is not true or false'],
    ['[registry]\nlocation = "a"', '[[registry]]'],
    ['[[registry]]\n\ninsecure = true', 'neither prefix nor location'],
    ['[[registry]]\nlocation = "https://a.io"', 'has a scheme'],
    ['[[registry]]\nlocation = "a"\n[[registry.mirror]]\n', 'f:3: a mirror has no location'],
    ['[[registry]]\nlocation = "a"\n[[registry.mirror]]\nlocation="b"\npull-from-mirror="no"', 'pull-from-mirror "no"'],
    ['[registries.search]\nregistries = ["docker.io"]', 'version 1'],
  ])('%j is an error', (text, says) => {
    expect(() => parseRegistryConfig(text, 'f')).toThrow(says)
  })

  test('files: the variable alone, else the own file with its drop-ins; read at the first question only', () => {
    const home = mkdtempSync(join(tmpdir(), 'archimage-conf-'))
    try {
      const folder = join(home, '.config/containers')
      mkdirSync(join(folder, 'registries.conf.d'), { recursive: true })
      const rule = (prefix: string, to: string) => `[[registry]]\nprefix = "${prefix}"\nlocation = "${to}"\n`
      writeFileSync(join(folder, 'registries.conf'), rule('a.test', 'own.test') + rule('b.test', 'own.test'))
      writeFileSync(join(folder, 'registries.conf.d/50.conf'), rule('b.test', 'dropin.test'))
      writeFileSync(join(home, 'only.conf'), rule('a.test', 'only.test'))
      const resolve = (env: Record<string, string>, name: string) =>
        loadRegistryConfig(env).resolve(parseReference(`${name}/x`)).upstream.registry
      expect(resolve({ HOME: home }, 'a.test')).toBe('own.test')
      expect(resolve({ HOME: home }, 'b.test')).toBe('dropin.test')
      const only = { HOME: home, CONTAINERS_REGISTRIES_CONF: join(home, 'only.conf') }
      expect(resolve(only, 'a.test')).toBe('only.test')
      expect(resolve(only, 'b.test')).toBe('b.test')
      const missing = loadRegistryConfig({ HOME: home, CONTAINERS_REGISTRIES_CONF: join(home, 'nowhere') })
      expect(() => missing.insecure('a.test')).toThrow('does not exist')
    } finally {
      rmSync(home, { recursive: true })
    }
  })
})

test('a file of short names costs nothing, one with rules in any form counts', () => {
  const folder = mkdtempSync(join(tmpdir(), 'archimage-registries-'))
  const insecure = (text: string): boolean => {
    const file = join(folder, 'registries.conf')
    writeFileSync(file, text)
    return loadRegistryConfig({ CONTAINERS_REGISTRIES_CONF: file }).insecure('r.example.com')
  }
  expect(insecure('[aliases]\n"registry" = "docker.io/library/registry"\n')).toBe(false)
  for (const text of [
    '[[registry]]\nlocation = "r.example.com"\ninsecure = true\n',
    '  [[ "registry" ]]\nlocation = "r.example.com"\ninsecure = true\n',
    'registry = [{ location = "r.example.com", insecure = true }]\n',
  ])
    expect(insecure(text)).toBe(true)
  rmSync(folder, { recursive: true })
})
