import { afterEach, beforeEach, expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { sha256 } from '../../oci/digest.ts'
import { isTag } from '../../oci/reference.ts'
import { Storage } from './storage.ts'
import { tagFile, tagOf } from './tag-file.ts'
import { Uploads } from './uploads.ts'

let dir: string
let storage: Storage
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'archimage-test-'))
  storage = new Storage(dir)
  mkdirSync(storage.uploads)
})
afterEach(() => rmSync(dir, { recursive: true }))

function add(repository: string, text: string): void {
  const file = join(storage.uploads, 'x')
  writeFileSync(file, text)
  storage.addBlob(repository, sha256(text), file)
}

test('a blob that a power failure cut is replaced by the next one that arrives', () => {
  const digest = sha256('content')
  add('a', 'content')
  truncateSync(join(dir, 'blobs/sha256', digest.slice(7)), 0)
  expect(storage.blob('a', digest)?.size).toBe(0)
  add('b', 'content')
  expect(storage.blob('b', digest)?.size).toBe(7)
  add('a', 'content')
  expect(storage.blob('a', digest)?.size).toBe(7)
  expect(existsSync(join(storage.uploads, 'x'))).toBe(false)
})

test('a referrer is shown only while its manifest is there', () => {
  const [subject, from] = [sha256('subject'), sha256('from')]
  storage.putReferrer('a', subject, from, { digest: from })
  expect(storage.referrers('a', subject)).toEqual([])
  storage.putManifest('a', { mediaType: 'application/x', digest: from, bytes: Buffer.from('from') })
  expect(storage.referrers('a', subject).map(entry => entry.read())).toEqual([{ digest: from }])
})

test('uploads that nobody touched for a day are removed, younger ones found again', () => {
  const uploads = new Uploads(storage.uploads)
  const [old, young] = [uploads.start('a'), uploads.start('a')]
  for (const { file } of [old, young]) writeFileSync(file, 'abc')
  const before = Date.now() / 1000 - 25 * 3600
  utimesSync(old.file, before, before)
  const restarted = new Uploads(storage.uploads)
  restarted.sweep()
  expect(restarted.find('a', old.id)).toBeUndefined()
  expect(restarted.find('a', young.id)?.offset).toBe(3)
  expect(restarted.find('b', young.id)).toBeUndefined()
  expect(restarted.find('a', '../../etc/passwd')).toBeUndefined()
})

test('file names of tags lead back, and never differ by case alone', () => {
  const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/).filter(isTag)
  fc.assert(fc.property(tag, text => tagOf(tagFile(text)) === text && tagFile(text).length <= 255))
  fc.assert(
    fc.property(tag, fc.nat(127), (text, at) => {
      const flip = (c: string) => (c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase())
      const other = [...text].map((c, i) => (i === at % text.length ? flip(c) : c)).join('')
      return other === text || tagFile(other).toLowerCase() !== tagFile(text).toLowerCase()
    }),
  )
  expect([tagOf('.DS_Store'), tagOf('a~zz'), tagOf('')]).toEqual([undefined, undefined, undefined])
})
