import { expect, test } from 'bun:test'
import { existsSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sha256 } from '../../src/oci/digest.ts'
import { startRegistry } from '../../src/registry/server/start.ts'
import { Storage } from '../../src/registry/server/storage.ts'
import { removeFolder, temporaryFolder } from '../peers/process.ts'
import { runLoad } from './load.ts'

test('32 pulls and 8 pushes at a time, while garbage is collected: no error, nothing lost', async () => {
  const folder = temporaryFolder('load')
  const dir = join(folder, 'registry')
  mkdirSync(join(dir, 'uploads'), { recursive: true })
  const storage = new Storage(dir)
  const old = Array.from({ length: 200 }, (_, i) => {
    const file = join(storage.uploads, 'old')
    writeFileSync(file, `garbage ${i}`)
    const digest = sha256(`garbage ${i}`)
    storage.addBlob(`load/r${i % 4}`, digest, file)
    const { path } = storage.blob(`load/r${i % 4}`, digest) as { path: string }
    utimesSync(path, 1, 1)
    return path
  })
  const notes: string[] = []
  const gc = { untagged: true, interval: 250 }
  const registry = await startRegistry({ dir, port: 0, gc, note: line => void notes.push(line) })
  const { errors, pulled, pushed } = await runLoad({ url: registry.url, pulls: 32, pushes: 8, milliseconds: 3000 })
  await registry.close()
  const left = old.filter(path => existsSync(path))
  await removeFolder(folder)
  expect(errors).toEqual([])
  expect(pulled).toBeGreaterThan(0)
  expect(pushed).toBeGreaterThan(0)
  expect(left).toEqual([])
  expect(notes.filter(note => !note.startsWith('garbage: '))).toEqual([])
}, 60_000)
