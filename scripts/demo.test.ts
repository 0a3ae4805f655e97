import { afterAll, expect, test } from 'bun:test'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { removeFolder, run, temporaryFolder } from '../test/peers/process.ts'

const folder = temporaryFolder('demo')
afterAll(() => removeFolder(folder))

/** Command lines of all processes that mention `word`. */
function processesOf(word: string): string[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(pid => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
      } catch {
        return ''
      }
    })
    .filter(line => line.includes(word))
}

async function demo(name: string, env: Readonly<Record<string, string | undefined>>) {
  const temporary = join(folder, name)
  mkdirSync(temporary)
  const outcome = await run([process.execPath, join(import.meta.dir, 'demo.ts')], {
    env: { TMPDIR: temporary, ...env },
  })
  expect(readdirSync(temporary)).toEqual([])
  if (process.platform === 'linux') expect(processesOf(temporary)).toEqual([])
  return outcome
}

test('the demo ends well and leaves nothing running or lying about', async () => {
  const { code, stdout, stderr } = await demo('well', {})
  expect(code).toBe(0)
  for (const word of ['linux/arm/v7', 'windows/amd64', 'docker run', 'podman run', 'skopeo', 'crane manifest'])
    expect(`${stdout}${stderr}`).toContain(word)
}, 120_000)

test('what fails in it makes it fail', async () => {
  // Without node the programs cannot be made.
  mkdirSync(join(folder, 'empty'))
  const { code } = await demo('badly', { PATH: join(folder, 'empty') })
  expect(code).toBeGreaterThan(0)
}, 60_000)
