import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { isArchimageError } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import { type Descriptor, type ImageIndex, isAttestation, parseManifest } from '../oci/manifest.ts'
import { DOCKER, OCI } from '../oci/media-types.ts'
import { parsePlatform } from '../oci/platform.ts'
import {
  addEntries,
  annotateEntries,
  annotateIndex,
  dropAttestations,
  entryKey,
  filterIndex,
  makeIndex,
  mergeIndexes,
  platformName,
  redirectEntries,
  removeEntries,
  replaceEntry,
  SUBJECT,
} from './edit.ts'

const PLATFORMS = ['linux/amd64', 'linux/arm64', 'linux/arm/v7', 'linux/arm/v6', 'windows(10.0.1)/amd64', 'linux/386']
const digestOf = (n: number): Digest => `sha256:${n.toString(16).padStart(64, '0')}`

function image(n: number, platform: string, docker = false): Descriptor {
  return {
    mediaType: docker ? DOCKER.manifest : OCI.manifest,
    digest: digestOf(n),
    size: 100 + n,
    platform: parsePlatform(platform),
  }
}

function attestation(n: number, of: number): Descriptor {
  return {
    mediaType: OCI.manifest,
    digest: digestOf(n),
    size: 7,
    platform: { os: 'unknown', architecture: 'unknown' },
    annotations: { 'vnd.docker.reference.type': 'attestation-manifest', [SUBJECT]: digestOf(of) },
  }
}

/** An index of one image for some platforms each, some with attestations. */
const indexes = fc
  .array(
    fc.record({
      platform: fc.constantFrom(...PLATFORMS),
      digest: fc.integer({ min: 1, max: 40 }),
      attested: fc.boolean(),
      docker: fc.boolean(),
    }),
    { maxLength: 6 },
  )
  .map(parts => {
    const own = parts.filter((part, i) => parts.findIndex(other => other.platform === part.platform) === i)
    return makeIndex({
      manifests: own.flatMap(({ platform, digest, attested, docker }) => [
        image(digest, platform, docker),
        ...(attested ? [attestation(1000 + digest, digest)] : []),
      ]),
    })
  })
const images = fc.record({ n: fc.integer({ min: 41, max: 80 }), platform: fc.constantFrom(...PLATFORMS) })

const platformsOf = (index: ImageIndex): string[] =>
  index.manifests.filter(entry => !isAttestation(entry)).map(platformName)

function refusal(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (isArchimageError(error)) return error.code
    throw error
  }
  return 'accepted'
}

describe('laws of indexes', () => {
  test('what is written is what is read, and has one form', () => {
    fc.assert(
      fc.property(indexes, index => {
        const again = parseManifest(index.raw) as ImageIndex
        expect(again.manifests).toEqual([...index.manifests])
        expect(makeIndex(again).digest).toBe(index.digest)
      }),
    )
  })

  test('images stand before attestations', () => {
    fc.assert(
      fc.property(indexes, index => {
        const kinds = index.manifests.map(isAttestation)
        expect(kinds).toEqual([...kinds].sort((a, b) => Number(a) - Number(b)))
      }),
    )
  })

  test('adding for a new platform and removing gives the same bytes', () => {
    fc.assert(
      fc.property(indexes, images, (index, { n, platform }) => {
        const entry = image(n, platform)
        if (platformsOf(index).includes(platformName(entry))) {
          expect(refusal(() => addEntries(index, [entry]))).toBe('PLATFORM_TAKEN')
          return
        }
        const more = addEntries(index, [entry])
        expect(platformsOf(more)).toEqual([...platformsOf(index), platformName(entry)])
        expect(removeEntries(more, one => entryKey(one) === entryKey(entry)).digest).toBe(index.digest)
      }),
    )
  })

  test('adding what is there changes nothing', () => {
    fc.assert(fc.property(indexes, index => expect(addEntries(index, index.manifests).digest).toBe(index.digest)))
  })

  test('replacing keeps places, is done once, and never makes two of one platform', () => {
    fc.assert(
      fc.property(indexes, images, (index, { n, platform }) => {
        const entry = image(n, platform)
        const once = replaceEntry(index, entry)
        expect(replaceEntry(once, entry).digest).toBe(once.digest)
        const before = platformsOf(index)
        expect(platformsOf(once)).toEqual(
          before.includes(platformName(entry)) ? before : [...before, platformName(entry)],
        )
        const digests = new Set(once.manifests.map(one => one.digest as string))
        for (const one of once.manifests) if (isAttestation(one)) expect(digests).toContain(one.annotations![SUBJECT]!)
      }),
    )
  })

  test('filtering by all platforms is nothing, twice is once, and it keeps the order', () => {
    fc.assert(
      fc.property(indexes, fc.subarray(PLATFORMS), (index, some) => {
        const all = platformsOf(index).map(parsePlatform)
        expect(filterIndex(index, all).digest).toBe(index.digest)
        const wanted = some.map(parsePlatform)
        const there = some.every(name => platformsOf(index).includes(platformName(image(1, name))))
        if (!there) return expect(refusal(() => filterIndex(index, wanted))).toBe('PLATFORM_MISSING')
        const part = filterIndex(index, wanted)
        expect(filterIndex(part, wanted).digest).toBe(part.digest)
        expect(platformsOf(part)).toEqual(platformsOf(index).filter(name => platformsOf(part).includes(name)))
        expect(platformsOf(part).length).toBe(new Set(some).size)
      }),
    )
  })

  test('merging with nothing is nothing; where platforms differ, the order of merging does not matter', () => {
    const empty = makeIndex({ manifests: [] })
    fc.assert(
      fc.property(indexes, indexes, indexes, (a, b, c) => {
        expect(mergeIndexes(a, [empty]).digest).toBe(a.digest)
        expect(mergeIndexes(empty, [a]).digest).toBe(a.digest)
        const left = (): ImageIndex => mergeIndexes(mergeIndexes(a, [b]), [c])
        const right = (): ImageIndex => mergeIndexes(a, [mergeIndexes(b, [c])])
        if (refusal(left) === 'accepted' && refusal(right) === 'accepted') expect(right().digest).toBe(left().digest)
      }),
    )
  })

  test('annotations: the last word counts, saying it twice is saying it once', () => {
    fc.assert(
      fc.property(indexes, fc.dictionary(fc.string({ minLength: 1 }), fc.string()), (index, map) => {
        const once = annotateIndex(index, map)
        expect(annotateIndex(once, map).digest).toBe(once.digest)
        expect(once.annotations).toEqual(map)
        const entries = annotateEntries(index, entry => !isAttestation(entry), { annotations: map })
        expect(annotateEntries(entries, entry => !isAttestation(entry), { annotations: map }).digest).toBe(
          entries.digest,
        )
      }),
    )
  })

  test('no operation changes what it was given', () => {
    fc.assert(
      fc.property(indexes, images, (index, { n, platform }) => {
        const before = Buffer.from(index.raw)
        const entries = structuredClone(index.manifests)
        replaceEntry(index, image(n, platform))
        dropAttestations(index)
        annotateIndex(index, { a: 'b' })
        redirectEntries(index, new Map([[digestOf(1), image(99, 'linux/amd64')]]))
        expect(Buffer.from(index.raw)).toEqual(before)
        expect(index.manifests).toEqual(entries)
      }),
    )
  })
})

describe('indexes', () => {
  const two = makeIndex({
    manifests: [image(1, 'linux/amd64'), attestation(11, 1), image(2, 'linux/arm64'), attestation(12, 2)],
  })

  test('the same digest for two platforms is two entries', () => {
    const index = makeIndex({ manifests: [image(1, 'linux/amd64')] })
    expect(platformsOf(addEntries(index, [image(1, 'linux/arm64')]))).toEqual(['linux/amd64', 'linux/arm64'])
  })

  test('two images of one platform: only when asked', () => {
    expect(refusal(() => addEntries(two, [image(3, 'linux/arm64/v8')]))).toBe('PLATFORM_TAKEN')
    expect(platformsOf(addEntries(two, [image(3, 'linux/arm64')], 'keep-both'))).toEqual([
      'linux/amd64',
      'linux/arm64',
      'linux/arm64',
    ])
  })

  test('attestations go with their image, and follow its digest', () => {
    const one = removeEntries(two, entry => platformName(entry) === 'linux/amd64')
    expect(one.manifests.map(entry => entry.digest)).toEqual([digestOf(2), digestOf(12)])
    const moved = redirectEntries(two, new Map([[digestOf(1), image(5, 'linux/amd64')]]))
    expect(moved.manifests.map(entry => entry.digest)).toEqual([digestOf(5), digestOf(2), digestOf(11), digestOf(12)])
    expect(moved.manifests[2]!.annotations![SUBJECT]).toBe(digestOf(5))
  })

  test("Docker's members make Docker's list, one of OCI or an annotation an index", () => {
    const docker = makeIndex({ manifests: [image(1, 'linux/amd64', true), image(2, 'linux/arm64', true)] })
    expect(docker.mediaType).toBe(DOCKER.index)
    expect(addEntries(docker, [image(3, 'linux/386')]).mediaType).toBe(OCI.index)
    expect(annotateIndex(docker, { a: 'b' }).mediaType).toBe(OCI.index)
    expect(makeIndex({ manifests: [] }).mediaType).toBe(OCI.index)
  })

  test('another architecture does not keep the variant', () => {
    const index = makeIndex({ manifests: [image(1, 'linux/arm/v7')] })
    const relabelled = annotateEntries(index, () => true, { architecture: 'arm64', osVersion: '1.2' })
    expect(relabelled.manifests[0]!.platform).toEqual({ architecture: 'arm64', os: 'linux', 'os.version': '1.2' })
    expect(
      refusal(() => annotateEntries(two, entry => platformName(entry) === 'linux/amd64', { architecture: 'arm64' })),
    ).toBe('PLATFORM_TAKEN')
  })

  test('subject and artifact type stand where the spec has them', () => {
    const index = makeIndex({
      manifests: [],
      artifactType: 'application/x',
      subject: { mediaType: OCI.manifest, digest: digestOf(1), size: 3 },
      annotations: { b: '2', a: '1' },
    })
    expect(Buffer.from(index.raw).toString()).toBe(
      `{"schemaVersion":2,"mediaType":"${OCI.index}","artifactType":"application/x","manifests":[],"subject":{"mediaType":"${OCI.manifest}","digest":"${digestOf(1)}","size":3},"annotations":{"a":"1","b":"2"}}`,
    )
  })
})
