import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { sha256 } from '../../src/oci/digest.ts'
import { archiveReading } from '../../src/transports/archive-reading.ts'
import { layoutTransport } from '../../src/transports/layout.ts'
import { readAll } from '../../src/transports/testing/images.ts'
import { temporaryFolder } from '../peers/index.ts'

let folder: string
beforeAll(() => {
  folder = temporaryFolder('killed')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const start = (place: string, prefix: string, count: number): ChildProcess =>
  spawn(process.execPath, [join(import.meta.dirname, 'writer.ts'), place, prefix, String(count)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
const ended = (child: ChildProcess): Promise<unknown> => new Promise(resolve => child.once('close', resolve))
/** Until it has said so many lines. */
const lines = (child: ChildProcess, count: number): Promise<void> =>
  new Promise(resolve => {
    let seen = 0
    child.stdout!.on('data', (data: Buffer) => {
      seen += data.toString().split('\n').length - 1
      if (seen >= count) resolve()
    })
  })

test('kill -9 leaves nothing half in a layout', async () => {
  const out = join(folder, 'layout')
  for (const [round, after] of [1, 7, 13].entries()) {
    const child = start(`oci:${out}`, `r${round}-`, 1000)
    await lines(child, after)
    child.kill('SIGKILL')
    await ended(child)
    for (const file of readdirSync(join(out, 'blobs/sha256')))
      expect(sha256(readFileSync(join(out, 'blobs/sha256', file)))).toBe(`sha256:${file}`)
    const layout = layoutTransport(out)
    const tags = await Array.fromAsync(layout.tags())
    expect(tags.filter(tag => tag.startsWith(`r${round}-`)).length).toBeGreaterThanOrEqual(after)
    for (const tag of tags) expect((await readAll(layout, tag)).size).toBe(3)
  }
})

test('kill -9 leaves no archive, and the former one where there was one', async () => {
  const file = join(folder, 'archive.tar')
  const kill = async (): Promise<void> => {
    const child = start(`oci-archive:${file}`, 'v', 100_000)
    await lines(child, 5)
    child.kill('SIGKILL')
    await ended(child)
  }
  await kill()
  expect(existsSync(file)).toBe(false)
  await ended(start(`oci-archive:${file}`, 'v', 2))
  await kill()
  const from = await archiveReading(file)
  expect(await Array.fromAsync(from.tags!())).toEqual(['v0', 'v1'])
  expect((await readAll(from, 'v1')).size).toBe(3)
})

test('two processes write to one layout', async () => {
  const out = join(folder, 'both')
  await Promise.all(
    [start(`oci:${out}`, 'a', 25), start(`oci:${out}`, 'b', 25), start(`oci:${out}`, 'a', 25)].map(ended),
  )
  const layout = layoutTransport(out)
  const expected = ['a', 'b'].flatMap(prefix => Array.from({ length: 25 }, (_, i) => `${prefix}${i}`))
  expect((await Array.fromAsync(layout.tags())).sort()).toEqual(expected.sort())
  for (const tag of expected) expect((await readAll(layout, tag)).size).toBe(3)
  expect(readdirSync(out).sort()).toEqual(['blobs', 'index.json', 'oci-layout'])
})
