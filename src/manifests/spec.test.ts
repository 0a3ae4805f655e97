import { describe, expect, test } from 'bun:test'
import { isArchimageError } from '../errors/error.ts'
import { sha256 } from '../oci/digest.ts'
import { DOCKER } from '../oci/media-types.ts'
import { encodeGoList } from './go-list.ts'
import { parseListSpec, specFromArguments } from './spec.ts'

const refusal = (work: () => unknown): string => {
  try {
    work()
  } catch (error) {
    if (isArchimageError(error)) return `${error.code} ${error.place?.line ?? ''} ${error.message}`
    throw error
  }
  return 'accepted'
}

describe("manifest-tool's input", () => {
  test('scalars are strings, both spellings of the version count, unknown keys are told', () => {
    const told: string[] = []
    const text = `
image: r.example.com/app:1.20
tags: [1.20, "1", latest]
annotations: {a: 1.0}
manifest-version: 2
manifests:
  - image: r.example.com/app:amd64
    platform: {architecture: amd64, os: windows, osversion: 10.0.1, osfeatures: [win32k]}
  - image: r.example.com/app:arm
    platform: {architecture: arm, os: linux, varient: v7, os.version: 5}
  - image: r.example.com/app:other
`
    expect(parseListSpec(text, 'list.yaml', message => told.push(message))).toEqual({
      image: 'r.example.com/app:1.20',
      tags: ['1.20', '1', 'latest'],
      annotations: { a: '1.0' },
      manifests: [
        {
          image: 'r.example.com/app:amd64',
          platform: { architecture: 'amd64', os: 'windows', 'os.version': '10.0.1', 'os.features': ['win32k'] },
        },
        { image: 'r.example.com/app:arm', platform: { architecture: 'arm', os: 'linux', 'os.version': '5' } },
        { image: 'r.example.com/app:other', platform: {} },
      ],
    })
    expect(told).toHaveLength(2)
    expect(told[0]).toContain('has no "manifest-version"')
    expect(told[1]).toContain('has no "varient" (did you mean "variant")')
  })

  test.each([
    ['image: [', /^CONFIG_INVALID \d/],
    ['- a', /is not a map/],
    ['manifests: []', /image, the name of the list, is missing/],
    ['image: a\nmanifests: {}', /manifests is not a list/],
    ['image: a\nmanifests: [{platform: {os: linux}}]', /image of entry 1 of manifests is missing/],
  ])('%p is refused', (text, why) => {
    expect(refusal(() => parseListSpec(text, 'f', () => {}))).toMatch(why)
  })

  test('in a template each word counts once, the architecture first', () => {
    const spec = specFromArguments({
      platforms: ['linux/amd64', 'linux/arm/v7'],
      template: 'r/OS-ARCHVARIANT:ARCH-$&',
      target: 'r/app:1',
      tags: [],
      annotations: ['a=b'],
    })
    expect(spec.manifests.map(({ image }) => image)).toEqual(['r/linux-amd64:ARCH-$&', 'r/linux-armv7:ARCH-$&'])
    expect(spec.annotations).toEqual({ a: 'b' })
    const wrong = { platforms: ['amd64'], template: '', target: '', tags: [], annotations: [] }
    expect(refusal(() => specFromArguments(wrong))).toContain('"amd64" is not OS/ARCH')
  })
})

test("Go's bytes: two spaces, size before digest in Docker's lists, no line feed, HTML escaped", () => {
  const entry = {
    mediaType: DOCKER.manifest,
    digest: sha256('x'),
    size: 7,
    platform: { os: 'linux', architecture: 'arm' },
  }
  expect(Buffer.from(encodeGoList(true, [entry]).raw).toString()).toBe(`{
  "schemaVersion": 2,
  "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
  "manifests": [
    {
      "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
      "size": 7,
      "digest": "${sha256('x')}",
      "platform": {
        "architecture": "arm",
        "os": "linux"
      }
    }
  ]
}`)
  expect(Buffer.from(encodeGoList(false, [entry], { b: '<&>', a: 'ü' }).raw).toString()).toContain(
    '"annotations": {\n    "a": "ü",\n    "b": "\\u003c\\u0026\\u003e"\n  }\n}',
  )
})
