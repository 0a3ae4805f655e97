// npm run bench [-- NAME…] [--list] [--rounds N] [--with buildkit,…] [--no-compile]: archimage, compiled, and the peers that are installed, in turn.
// Each result is printed and written to dist/bench/NAME.json. A timing is never a test: the exit code says only whether it ran.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../scripts/archimage.ts'
import { BENCHES } from './benches.ts'
import { measure, report, save } from './measure.ts'
import { Parts } from './parts.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: 'boolean' },
    rounds: { type: 'string' },
    with: { type: 'string' },
    'no-compile': { type: 'boolean' },
  },
})
const unknown = positionals.filter(name => !(name in BENCHES))
if (values.list || unknown.length > 0) {
  const all = `benches: ${Object.keys(BENCHES).join(' ')}\n`
  if (values.list) process.stdout.write(all)
  else process.stderr.write(`no such bench: ${unknown.join(' ')}\n${all}`)
  process.exit(values.list ? 0 : 2)
}

const executable = join(root, 'dist/archimage')
if (!values['no-compile']) {
  const { status } = spawnSync(process.execPath, [join(root, 'scripts/compile.ts')], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status !== 0) process.exit(1)
}

const parts = new Parts(executable)
let stopping: Promise<void> | undefined
const stop = () => {
  stopping ??= parts.stop()
  return stopping
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void stop().then(() => process.exit(130)))

let failed = false
try {
  for (const name of positionals.length > 0 ? positionals : Object.keys(BENCHES)) {
    process.stderr.write(`${name} `)
    try {
      const bench = await BENCHES[name]!(parts)
      const chosen = values.with?.split(',')
      const contenders = bench.contenders.filter(({ name }) => chosen?.includes(name) ?? true)
      const result = await measure({ ...bench, contenders, rounds: Number(values.rounds ?? bench.rounds) })
      process.stdout.write(`${report(result)}\n`)
      save(root, result)
    } catch (error) {
      failed = true
      process.stderr.write(`${name}: ${error instanceof Error ? error.message : error}\n`)
    }
  }
} finally {
  await stop()
}
process.exitCode = failed ? 1 : 0
