import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../scripts/archimage.ts'

test('the tests that test/registry/README.md names exist', () => {
  const rows = [
    ...readFileSync(join(import.meta.dir, 'README.md'), 'utf8').matchAll(/^\| .* \| (\S+\.ts): ?(.*) \|$/gm),
  ]
  expect(rows.length).toBeGreaterThan(60)
  const lacking = rows.filter(
    ([, file, name]) => !readFileSync(join(root, 'src/registry', file!), 'utf8').includes(name!),
  )
  expect(lacking.map(([row]) => row)).toEqual([])
})
