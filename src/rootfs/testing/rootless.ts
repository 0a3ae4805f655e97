// bun rootless.ts HOME TAR: unpacks a layer in the user namespace that it is started in, runs a small step on an overlay, and
// says in JSON what came of it.
import { chmodSync, lchownSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isArchimageError } from '../../errors/error.ts'
import { applyLayer } from '../../layer/apply.ts'
import { indexLayer } from '../../layer/index.ts'
import { Tree } from '../../layer/tree.ts'
import { openStore } from '../../store/store.ts'
import { overlayProblem } from '../../sys/overlay.ts'
import { upperChanges } from '../changes.ts'
import { Snapshots } from '../snapshots.ts'
import { mounted, seenIn } from './roots.ts'

async function work(home: string, bytes: Buffer) {
  using store = openStore({ home: join(home, 'store') })
  const problem = overlayProblem(home, true)
  if (problem !== undefined) return { problem }
  const snapshots = new Snapshots(store, { marks: 'user' })
  const tree = new Tree()
  const index = await indexLayer([bytes])
  const open = (): never => {
    throw new Error('there is no other layer')
  }
  const lower = await snapshots.layer({ index, chainId: index.diffId, stream: () => [bytes] }, tree, { open })
  applyLayer(tree, index)
  const scratch = snapshots.scratch()
  const seen = await mounted(
    home,
    [lower],
    scratch,
    root => {
      const before = [...seenIn(root)]
      writeFileSync(join(root, 'dir/new'), 'new')
      lchownSync(join(root, 'dir/new'), 1, 2)
      rmSync(join(root, 'gone'), { recursive: true })
      mkdirSync(join(root, 'gone'))
      for (const name of ['setuid', 'capable']) chmodSync(join(root, name), name === 'setuid' ? 0o4755 : 0o755)
      return before
    },
    true,
  )
  const { items } = await upperChanges(scratch.upper, tree, { marks: 'user', group: 'step' })
  return {
    seen,
    items: items.map(({ path, kind, entry }) => `${kind} ${path} ${entry?.uid ?? ''}:${entry?.gid ?? ''}`),
  }
}

const [home, tar] = process.argv.slice(2)
const result = await work(home!, readFileSync(tar!)).catch((error: unknown) => {
  if (!isArchimageError(error)) throw error
  return { error: `${error.code} ${error.message}; ${error.hint}` }
})
process.stdout.write(JSON.stringify(result))
