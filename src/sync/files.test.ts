import { describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parsePlatform } from '../oci/platform.ts'
import { readSyncFile } from './sync.ts'

const read = (text: string, env: Record<string, string> = {}) => readSyncFile(Buffer.from(text), 'sync.yaml', env)
const failure = async (text: string): Promise<unknown> => {
  try {
    return await read(text)
  } catch (error) {
    return error
  }
}

describe("skopeo's", () => {
  test('images, patterns, versions, settings of a registry', async () => {
    const { entries, hosts, warnings } = await read(`
registry.example.com:
  images:
    busybox: []
    team/app: [1.10, "sha256:${'a'.repeat(64)}"]
  images-by-tag-regex:
    nginx: ^1\\.13\\.[12]-alpine
  images-by-semver:
    alpine: ">= 3.12.0"
  credentials: {username: john, password: the-password}
  tls-verify: false
  cert-dir: /etc/certs
quay.io:
  tls-verify: true
`)
    expect(entries.map(({ source, names }) => [source, names])).toEqual([
      ['registry.example.com/busybox', undefined],
      ['registry.example.com/team/app', ['1.10', `sha256:${'a'.repeat(64)}`]],
      ['registry.example.com/nginx', undefined],
      ['registry.example.com/alpine', undefined],
    ])
    expect(['1.13.1-alpine', '1.13.3-alpine', 'x1.13.1-alpine'].filter(entries[2]!.tags)).toEqual(['1.13.1-alpine'])
    expect(['3.11.9', '3.12', 'edge', '4.0.0'].filter(entries[3]!.tags)).toEqual(['3.12', '4.0.0'])
    expect(hosts).toMatchObject({
      'registry.example.com': { tlsVerify: false, certDir: '/etc/certs', credential: { username: 'john' } },
    })
    expect(hosts['quay.io']).toBeUndefined()
    expect(warnings).toEqual(['quay.io: no images are named'])
  })

  test('what is wrong has its place', async () => {
    expect(await failure('a.io:\n  imagse:\n    b: []\n')).toMatchObject({
      ...{ code: 'CONFIG_INVALID', hint: 'did you mean "images"?' },
      place: { file: 'sync.yaml', line: 2 },
    })
    expect(await failure('a.io:\n  images-by-tag-regex:\n    b: "("\n')).toMatchObject({ code: 'CONFIG_INVALID' })
    expect(await failure('a.io:\n  images-by-semver:\n    b: newest\n')).toMatchObject({ code: 'CONFIG_INVALID' })
    expect(await failure('a.io:\n  tls-verify: maybe\n')).toMatchObject({ code: 'CONFIG_INVALID' })
    expect(await failure('a.io: [1]\n')).toMatchObject({ code: 'CONFIG_INVALID' })
  })
})

describe("regsync's", () => {
  test('entries, defaults, anchors, templates', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'archimage-sync-'))
    writeFileSync(join(folder, 'password'), 'of a file\n')
    const text = `
version: 1
x-common: &common
  referrers: true
creds:
  - registry: 'localhost:5000'
    tls: disabled
    user: '{{ env "HUB_USER" }}'
    pass: '{{file "${folder}/password"}}'
defaults:
  parallel: 3
  interval: 60m
  digestTags: true
sync:
  - source: busybox:latest
    target: localhost:5000/library/busybox:latest
    type: image
    <<: *common
  - source: alpine
    target: 'localhost:5000/{{ env "WHERE" }}/alpine'
    type: repository
    digestTags: false
    tags:
      allow: ["3", '3\\.\\d+']
      deny: ['3\\.0']
    tagSets:
      - semverRange: [">=4.0.0 <5.0.0"]
  - source: registry.example.com
    target: localhost:5000/all
    type: registry
    repos: {allow: ['team/.*']}
    platforms: [linux/amd64]
`
    try {
      const { entries, hosts, jobs, warnings } = await read(text, { HUB_USER: 'me', WHERE: 'here' })
      expect(entries).toMatchObject([
        { kind: 'image', source: 'busybox:latest', options: { referrers: true, digestTags: true } },
        { kind: 'repository', target: 'localhost:5000/here/alpine', options: {} },
        { kind: 'registry', options: { platforms: [parsePlatform('linux/amd64')], sparse: true } },
      ])
      expect(entries[1]!.options).toEqual({})
      expect(['3', '3.1', '3.0', 'x3', '4.1.0', '5.0.0'].filter(entries[1]!.tags)).toEqual(['3', '3.1', '4.1.0'])
      expect(['team/a', 'other/team/a'].filter(entries[2]!.repositories)).toEqual(['team/a'])
      expect(hosts).toEqual({
        'localhost:5000': {
          credential: { username: 'me', password: 'of a file', source: expect.any(String) },
          tlsVerify: false,
        },
      })
      expect(jobs).toBe(3)
      expect(warnings).toEqual([expect.stringContaining('interval is not used')])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('what is not done is refused by name', async () => {
    const entry = '  - source: a\n    target: b.io/a\n    type: image\n'
    for (const [text, code, words] of [
      [`version: 2\nsync:\n${entry}`, 'CONFIG_INVALID', 'version'],
      [`sync:\n${entry}    backup: old\n`, 'UNSUPPORTED', 'backup'],
      [`sync:\n${entry}    hooks: {pre: {type: exec}}\n`, 'UNSUPPORTED', 'hooks'],
      [`sync:\n${entry}    mediaTypes: [a/b]\n`, 'UNSUPPORTED', 'mediaTypes'],
      [`creds:\n  - registry: a\n    regcert: x\nsync:\n${entry}`, 'UNSUPPORTED', 'regcert'],
      [`sync:\n${entry}    reffers: true\n`, 'CONFIG_INVALID', 'reffers'],
      [`sync:\n  - source: '{{ .Sync.Type }}'\n    target: b\n    type: image\n`, 'UNSUPPORTED', 'template'],
      [`sync:\n  - source: a\n    target: b\n    type: repo\n`, 'CONFIG_INVALID', 'type'],
      [`sync:\n  - source: a\n    type: image\n`, 'CONFIG_INVALID', 'target'],
    ] as const)
      expect([text, await failure(text)]).toMatchObject([text, { code, message: expect.stringContaining(words) }])
  })
})
