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
    expect(sent).toEqual([
      'registry PUT 0',
      'registry GET 204',
      'registry PATCH 202',
      'registry PUT 201',
      'registry GET 200',
      'registry GET 206',
    ])
    expect(requests.some(line => line === 'tokens GET 200')).toBe(true)
  } finally {
    removeFolder(folder)
  }
})
