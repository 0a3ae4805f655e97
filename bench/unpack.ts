import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { indexLayer, type LayerIndex } from '../src/layer/index.ts'
import { Tree } from '../src/layer/tree.ts'
import { layerBytes, Snapshots } from '../src/rootfs/snapshots.ts'
import { openStore } from '../src/store/store.ts'
import { must, peerOrThrow } from '../test/peers/index.ts'
import { ARCHIMAGE, type Contender } from './measure.ts'
import { settle } from './parts.ts'

/**
 * Unpacks one layer, gzip, beside `tar -xzf`: what a base costs before the first RUN on it. Its index is known, as it is made while a
 * layer comes from its registry. Nothing is removed between rounds: without a journal, ext4 is many times slower where files
 * were removed a moment ago.
 */
export async function unpackContenders(folder: string, files: string): Promise<Contender[]> {
  const blob = join(folder, 'layer.tar.gz')
  if (!existsSync(blob)) {
    await must([peerOrThrow('tar'), '--numeric-owner', '-cf', join(folder, 'layer.tar'), '-C', files, '.'])
    await must([peerOrThrow('gzip'), '-k', join(folder, 'layer.tar')])
  }
  const index: LayerIndex = await indexLayer([readFileSync(join(folder, 'layer.tar'))])
  const place = (name: string, round: number): string => join(folder, `${name}-${round}`)
  const check = (path: string): void => {
    if (readdirSync(path).length < 100) throw new Error(`${path} lacks what was unpacked`)
  }
  return [
    {
      name: 'tar',
      prepare: async round => {
        mkdirSync(place('tar', round))
        await settle()
      },
      run: async round => void (await must([peerOrThrow('tar'), '-xzf', blob, '-C', place('tar', round)])),
      check: round => check(place('tar', round)),
    },
    {
      name: ARCHIMAGE,
      prepare: settle,
      run: async round => {
        using store = openStore({ home: place('store', round) })
        const stream = () => layerBytes({ path: blob, compression: 'gzip' })
        const open = (): never => {
          throw new Error('there is one layer only')
        }
        const layer = { index, chainId: index.diffId, stream }
        const made = await new Snapshots(store, { marks: 'trusted' }).layer(layer, new Tree(), { open })
        writeFileSync(place('made', round), made)
      },
      check: round => check(readFileSync(place('made', round), 'utf8')),
    },
  ]
}
