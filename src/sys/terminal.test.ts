import { expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'

const code = (script: string): string =>
  `import { terminal } from ${JSON.stringify(new URL('./terminal.ts', import.meta.url).pathname)}\n${script}`
const run = (script: string, command = 'exec "$0" -e "$1"') =>
  spawnSync('sh', ['-c', command, process.execPath, code(script)], { encoding: 'utf8', maxBuffer: 2 ** 24 })

test('all is written before the process can exit, also into a slow pipe', () => {
  const { stdout, status } = run(
    `terminal(1).write('x'.repeat(2_000_000)); process.exit(5)`,
    '{ "$0" -e "$1"; echo "exit $?" >&2; } | { sleep 0.2; wc -c; }',
  )
  expect(stdout.trim()).toBe('2000000')
  expect(status).toBe(0)
})

test('a pipe is no terminal and has no size', () => {
  const { stderr } = run(`const t = terminal(2); t.write(JSON.stringify([t.isTTY, t.columns ?? null, t.rows ?? null]))`)
  expect(stderr).toBe('[false,null,null]')
})

const script = spawnSync('script', ['--version'])

test.skipIf(script.error !== undefined || process.platform !== 'linux')('a terminal of 0 × 0 has no size', () => {
  const ask = `const t = terminal(2); t.write(JSON.stringify([t.isTTY, t.columns ?? null, t.rows ?? null]))`
  const { stdout } = run(
    ask,
    `PROGRAM=$0 SCRIPT=$1 exec script -qec 'stty cols 0 rows 0; "$PROGRAM" -e "$SCRIPT"' /dev/null </dev/null`,
  )
  expect(stdout).toContain('[true,null,null]')
})

test('a reader that went away ends the output, not the program', () => {
  const { stdout } = run(
    `const t = terminal(2); for (let i = 0; i < 100; i++) t.write('x'.repeat(10_000)); console.log('went on')`,
    '{ "$0" -e "$1" 2>&1 >&3 3>&- | head -c 10 >/dev/null; } 3>&1',
  )
  expect(stdout).toBe('went on\n')
})
