import { afterAll, expect, test } from 'bun:test'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { umask } from '../sys/umask.ts'
import { writeIidFile, writeMetadataFile } from './metadata.ts'
import { openBench } from './testing/images.ts'

const bench = openBench()
afterAll(() => bench[Symbol.asyncDispose]())
const file = join(bench.folder, 'file')
const single = bench.image({ 'linux/arm64': [[{ path: 'a', text: '1' }]] }, { names: ['app:1', 'reg.example.com/b'] })
const several = bench.image({ 'linux/amd64': [], 'linux/arm/v7': [] }, { service: 'web' })

test('the image ID is the config of a single platform, the index of several', () => {
  writeIidFile(file, [single])
  expect(readFileSync(file, 'utf8')).toBe(single.members[0]!.manifest.config.digest)
  writeIidFile(file, [several])
  expect(readFileSync(file, 'utf8')).toBe(several.index.digest)
  expect(() => writeIidFile(file, [single, several])).toThrow('one image')
})

test('a place that cannot be is an error of ours', () => {
  writeFileSync(`${file}-plain`, '')
  for (const write of [writeIidFile, writeMetadataFile]) {
    expect(() => write(`${file}-plain/x`, [single])).toThrow(expect.objectContaining({ code: 'USAGE' }))
    expect(() => write(`${file}${'n'.repeat(300)}`, [single])).toThrow(
      expect.objectContaining({ code: 'OUTPUT_FAILED' }),
    )
  }
  if (process.getuid!() === 0) return
  mkdirSync(`${file}-closed`, { mode: 0 })
  expect(() => writeIidFile(`${file}-closed/x`, [single])).toThrow(expect.objectContaining({ code: 'PERMISSION' }))
})

test("the metadata of one image: buildx's keys, and every platform", () => {
  writeMetadataFile(file, [single])
  const { manifest } = single.members[0]!
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({
    'containerimage.config.digest': manifest.config.digest,
    'containerimage.descriptor': {
      mediaType: 'application/vnd.oci.image.index.v1+json',
      digest: single.index.digest,
      size: single.index.raw.length,
    },
    'containerimage.digest': single.index.digest,
    'image.name': 'docker.io/library/app:1,reg.example.com/b:latest',
    'archimage.platforms': {
      'linux/arm64': {
        digest: manifest.digest,
        configDigest: manifest.config.digest,
        size: manifest.raw.length + manifest.config.size + manifest.layers[0]!.size,
      },
    },
  })
  expect(statSync(file).mode & 0o777).toBe(0o644 & ~umask())
})

test("several services: bake's shape", () => {
  writeMetadataFile(file, [single, several])
  const json = JSON.parse(readFileSync(file, 'utf8'))
  expect(Object.keys(json)).toEqual(['app', 'web'])
  expect(json.web['containerimage.digest']).toBe(several.index.digest)
  expect(json.web['containerimage.config.digest']).toBeUndefined()
  expect(Object.keys(json.web['archimage.platforms'])).toEqual(['linux/amd64', 'linux/arm/v7'])
})
