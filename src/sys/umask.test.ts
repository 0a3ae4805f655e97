import { expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { umask } from './umask.ts'

test('it is what the process began with', () => {
  const script = `import { umask } from ${JSON.stringify(join(import.meta.dir, 'umask.ts'))}; console.log(umask().toString(8))`
  for (const mask of ['022', '077', '002']) {
    const command = ['-c', `umask ${mask}; exec "$0" -e '${script}'`, process.execPath]
    expect(spawnSync('sh', command, { encoding: 'utf8' }).stdout.trim()).toBe(String(Number(mask)))
  }
})

test('threads that ask at the same time do not change it', async () => {
  const before = umask()
  const folder = mkdtempSync(join(tmpdir(), 'archimage-umask-'))
  try {
    const file = join(folder, 'thread.ts')
    const from = JSON.stringify(join(import.meta.dir, 'umask.ts'))
    writeFileSync(
      file,
      `import { umask } from ${from}\nlet sum = 0\nfor (let i = 0; i < 3000; i++) sum |= umask()\npostMessage(sum)\n`,
    )
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => {
        const worker = new Worker(file)
        return new Promise(resolve => {
          worker.onmessage = ({ data }) => {
            worker.terminate()
            resolve(data)
          }
        })
      }),
    )
    expect(answers).toEqual([before, before, before, before])
    expect(umask()).toBe(before)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
