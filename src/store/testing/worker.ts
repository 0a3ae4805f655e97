/**
 * A process for the tests of several processes: `worker.ts HOME NAME tag COUNT` names COUNT images one by one;
 * `worker.ts HOME NAME forever` builds, names, remembers, forgets and prunes until it is killed. A line on stdout says what
 * has been promised: `tagged NAME DIGEST`.
 */
import { randomBytes } from 'node:crypto'
import { writeSync } from 'node:fs'
import { isArchimageError } from '../../errors/error.ts'
import { describe } from '../../oci/manifest.ts'
import { openStore } from '../store.ts'
import { putImage } from './images.ts'

const [home, name, mode, count] = process.argv.slice(2) as [string, string, string, string?]

function tagOne(number: number): void {
  const store = openStore({ home })
  const image = putImage(store, randomBytes(1 + Math.floor(Math.random() * 300_000)))
  store.records.put('cell', `${name}-${number}`, { digest: putImage(store, `cached ${name} ${number}`).digest })
  store.records.putBlob('layer-index', `${name}-${number % 3}`, randomBytes(20_000))
  store.tag(`demo/${name}:t${number}`, describe(image), 'built')
  writeSync(1, `tagged docker.io/demo/${name}:t${number} ${image.digest}\n`)
  store.tag(`demo/${name}:moving`, describe(image), 'built')
  if (number % 3 === 0) store.untag(`demo/${name}:moving`)
  store.close()
}

function pruneOnce(): void {
  const store = openStore({ home })
  try {
    store.prune({ all: Math.random() < 0.5, keepBytes: 50_000, wait: 50 })
  } catch (error) {
    if (!(isArchimageError(error) && error.code === 'STORE_BUSY')) throw error
  } finally {
    store.close()
  }
}

if (mode === 'tag') {
  const store = openStore({ home })
  const image = describe(putImage(store, name))
  for (let i = 0; i < Number(count); i++) store.tag(`demo/${name}:t${i}`, image, 'built')
  store.close()
} else
  for (let i = 0; ; i++) {
    tagOne(i)
    pruneOnce()
  }
