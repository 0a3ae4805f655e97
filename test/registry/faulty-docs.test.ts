import { expect, test } from 'bun:test'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../scripts/archimage.ts'
import { must, removeFolder, temporaryFolder } from '../peers/index.ts'

test('the example of docs/faulty-registry.md does what the text says', async () => {
  const [, example = ''] = /```ts\n(.*?)```/s.exec(readFileSync(join(root, 'docs/faulty-registry.md'), 'utf8')) ?? []
  const folder = temporaryFolder('faulty-docs')
  try {
    const file = join(folder, 'example.ts')
    writeFileSync(file, example.replace("from 'archimage'", `from '${join(root, 'src/index.ts')}'`))
    const [same, ...requests] = (await must([process.execPath, file], { cwd: folder })).trim().split('\n')
    expect(same).toBe('true')
    // The PUT that was cut has no answer; what was left went by PATCH; the second GET brought the rest.
    const sent = requests.filter(line => /registry (PUT|PATCH|GET)/.test(line) && !line.endsWith(' 401'))
    // It is asked how far the upload got, more than once when the server is still writing what came before the cut.
    expect(sent).toContain('registry GET 204')
    expect(sent.filter(line => line !== 'registry GET 204')).toEqual([
      'registry PUT 0',
      'registry PATCH 202',
      'registry PUT 201',
      'registry GET 200',
      'registry GET 206',
    ])
    expect(requests.some(line => line === 'tokens GET 200')).toBe(true)
  } finally {
    removeFolder(folder)
  }
}, 60_000)
