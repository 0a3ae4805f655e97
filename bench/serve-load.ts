import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { peer } from '../test/peers/locate.ts'
import { startRegistry as startDistribution } from '../test/peers/registry.ts'
import { type Load, runLoad } from '../test/serve/load.ts'

// 64 pulls and 16 pushes at a time for a minute, against `archimage serve` and distribution's registry in turn: what each
// moved, and that nothing was lost. The clients are on the same machine and hash what they get.

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    pulls: { type: 'string', default: '64' },
    pushes: { type: 'string', default: '16' },
    layer: { type: 'string', default: String(1 << 18) },
    with: { type: 'string', default: 'archimage,docker-registry' },
    program: { type: 'string', default: join(import.meta.dirname, '../bin/archimage') },
  },
})

interface Server {
  readonly url: string
  readonly pid: number
  stop(): Promise<void>
}

async function startArchimage(folder: string): Promise<Server> {
  const gc = ['--gc=5s', '--gc-delay', '15s', '--gc-untagged']
  const child = spawn(values.program, ['serve', '--port', '0', ...gc, join(folder, 'archimage')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const address = await new Promise<string>((resolve, reject) => {
    child.stdout!.once('data', data => resolve(String(data).trim()))
    child.once('exit', code => reject(new Error(`archimage serve ended with ${code}`)))
  })
  return { url: `http://${address}`, pid: serverPid(child), stop: () => end(child) }
}

/** bin/archimage is a script that starts Bun. */
function serverPid(child: ChildProcess): number {
  const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim()
  return children === '' ? child.pid! : Number(children.split(' ')[0])
}

function end(child: ChildProcess): Promise<void> {
  return new Promise(resolve => {
    child.once('exit', () => resolve())
    child.kill('SIGTERM')
  })
}

const memory = (pid: number, what: 'VmRSS' | 'VmHWM'): number =>
  Number(new RegExp(`${what}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024

const seconds = Number(values.seconds)
const folder = mkdtempSync(join(tmpdir(), 'archimage-bench-'))
const results: Record<string, Load & { readonly memory: readonly number[] }> = {}
try {
  for (const name of values.with.split(',')) {
    if (name !== 'archimage' && !peer('docker-registry')) continue
    mkdirSync(join(folder, name), { recursive: true })
    const server =
      name === 'archimage'
        ? await startArchimage(folder)
        : await startDistribution().then(({ host, pid, stop }) => ({ url: `http://${host}`, pid, stop }))
    const rss: number[] = []
    const sampler = setInterval(() => rss.push(Math.round(memory(server.pid, 'VmRSS'))), (seconds * 1000) / 10)
    try {
      const [pulls, pushes, layer] = [Number(values.pulls), Number(values.pushes), Number(values.layer)]
      const load = await runLoad({ url: server.url, pulls, pushes, layer, milliseconds: seconds * 1000 })
      results[name] = { ...load, memory: [...rss, Math.round(memory(server.pid, 'VmHWM'))] }
    } finally {
      clearInterval(sampler)
      await server.stop()
    }
    const { pulled, pushed, bytesPulled, bytesPushed, errors, memory: mib } = results[name]
    const rate = (n: number, unit: number) => (n / seconds / unit).toFixed(1)
    console.log(
      `${name}: ${rate(pulled, 1)} pulls/s (${rate(bytesPulled, 2 ** 20)} MiB/s), ${rate(pushed, 1)} pushes/s (${rate(bytesPushed, 2 ** 20)} MiB/s), ` +
        `memory ${mib.slice(0, -1).join(' ')}, peak ${mib.at(-1)} MiB, ${errors.length} errors`,
    )
    for (const error of errors.slice(0, 5)) console.log(`  ${error}`)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
if (results['archimage'] && results['archimage'].errors.length > 0) process.exitCode = 1
