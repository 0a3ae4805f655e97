import { afterAll, beforeAll, expect, test } from 'bun:test'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { must, removeFolder, run, temporaryFolder } from '../test/peers/process.ts'

const folder = temporaryFolder('compile')
const executable = join(folder, process.platform === 'win32' ? 'archimage.exe' : 'archimage')
const env = { ARCHIMAGE_HOME: join(folder, 'home'), SOURCE_DATE_EPOCH: undefined, BUN_OPTIONS: undefined }

beforeAll(async () => {
  await must([process.execPath, join(import.meta.dir, 'compile.ts'), '--outfile', executable])
}, 120_000)
afterAll(() => removeFolder(folder))

/** A folder with a Dockerfile, and one with the same beside files that would change or break a careless program. */
function project(name: string, extra: Readonly<Record<string, string>>): string {
  const path = join(folder, name)
  mkdirSync(path)
  const files = {
    Dockerfile: 'FROM scratch\nCOPY file /file\n',
    file: 'content\n',
    '.dockerignore': '*\n!file\n',
    ...extra,
  }
  for (const [file, content] of Object.entries(files)) writeFileSync(join(path, file), content)
  return path
}

test('the executable runs nothing that lies in the current directory', async () => {
  const marker = join(folder, 'marker')
  const cwd = project('hostile', {
    'bunfig.toml': 'preload = ["./evil.ts"]\n',
    'evil.ts': `require('node:fs').writeFileSync(${JSON.stringify(marker)}, 'ran')\n`,
    'tsconfig.json': '{ not json',
    'package.json': '{ not json',
  })
  expect(await run([executable, 'version'], { cwd, env })).toMatchObject({ code: 0, stderr: '' })
  expect(existsSync(marker)).toBe(false)
  writeFileSync(join(cwd, 'bunfig.toml'), '[[[ malformed')
  expect(await run([executable, 'version'], { cwd, env })).toMatchObject({ code: 0, stderr: '' })
})

test('.env in the current directory changes nothing', async () => {
  const digest = async (cwd: string, changes = {}) => {
    const said = await must([executable, 'build', '.', '--progress', 'quiet'], { cwd, env: { ...env, ...changes } })
    return said.trim().split('@')[1]
  }
  const cwd = project('plain', {})
  const plain = await digest(cwd)
  expect(plain).toStartWith('sha256:')
  expect(await digest(project('dotenv', { '.env': 'SOURCE_DATE_EPOCH=86400\n' }))).toBe(plain)
  // The control: the variable itself does change the digest.
  const other = await digest(cwd, { SOURCE_DATE_EPOCH: '86400' })
  expect(other).not.toBe(plain)
})

test('the executable finds its workers: a layer of several members is written', async () => {
  const cwd = project('large', { file: `${'archimage '.repeat(99)}\n`.repeat(5000) })
  const archive = join(folder, 'large.tar')
  await must([executable, 'build', '.', '-o', `type=oci,dest=${archive}`], { cwd, env })
  expect(existsSync(archive)).toBe(true)
})
