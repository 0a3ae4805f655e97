// npm run demo [-- --keep]: the main job from end to end. A registry of our own, the services of examples/demo built for every
// platform, pushed, read back; then the commands with which other tools pull them. Nothing is left running or lying about.
import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../test/peers/process.ts'
import { archimage, root } from './archimage.ts'

const keep = process.argv.includes('--keep')
const folder = mkdtempSync(join(tmpdir(), 'archimage-demo-'))
const project = join(folder, 'demo')
const env = { ...process.env, ARCHIMAGE_HOME: join(folder, 'store') }
const children = new Set<ChildProcess>()
let interrupted = false

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => {
    interrupted = true
    for (const child of children) child.kill('SIGTERM')
  })

process.exitCode = await demo().finally(cleanUp)
if (interrupted) process.exitCode = keep && process.exitCode === 0 ? 0 : 130

async function demo(): Promise<number> {
  mkdirSync(project)
  cpSync(join(root, 'examples/demo'), project, {
    recursive: true,
    filter: path => !['dist', '.archimage'].includes(basename(path)),
  })
  const host = `localhost:${await freePort()}`
  const file = join(project, 'archimage.yaml')
  writeFileSync(file, `registry: ${host}\n${readFileSync(file, 'utf8')}`)

  say(`1. A registry at ${host}`)
  const registry = await serve(host)
  if (registry === undefined) return 3

  for (const [title, ...args] of [
    ['2. Five services, every platform: built, pushed, read back', 'build', '--push'],
    ['3. Once more: nothing changed, nothing is built or pushed', 'build', '--push'],
    ['4. Everything that should be in the registry is there and is what it says', 'verify'],
  ] as const) {
    say(`${title}\n   archimage ${args.join(' ')}`)
    const code = await run(args)
    if (code !== 0 || interrupted) return code
  }
  say(commands(host))
  if (!keep) return 0
  say(`The registry stays until Ctrl-C.`)
  await new Promise(resolve => registry.once('exit', resolve))
  return 0
}

function commands(host: string): string {
  const image = `${host}/demo/api:${readFileSync(join(project, 'VERSION'), 'utf8').trim()}`
  const agent = image.replace('/api:', '/agent:')
  return `${keep ? 'Now pull them' : 'With "npm run demo -- --keep" the registry stays, and these work'}:

   docker run --rm ${image}
   podman run --rm --tls-verify=false --platform linux/arm64 ${image}
   skopeo inspect --raw --tls-verify=false docker://${image}
   skopeo --override-os windows copy --src-tls-verify=false docker://${agent} oci:agent-windows
   crane manifest ${image}
   archimage verify ${image}`
}

async function serve(host: string): Promise<ChildProcess | undefined> {
  const port = host.split(':')[1]!
  const child = start(['serve', join(folder, 'registry'), '--port', port], ['ignore', 'ignore', 'pipe'])
  let said = ''
  child.stderr!.on('data', chunk => {
    said = (said + chunk).slice(-4000)
  })
  for (let tries = 0; tries < 400 && children.has(child); tries++) {
    const answer = await fetch(`http://127.0.0.1:${port}/v2/`).catch(() => undefined)
    if (answer?.ok) return child
    await sleep(25)
  }
  process.stderr.write(`demo: archimage serve did not start\n${said}`)
  return undefined
}

function start(args: readonly string[], stdio: ('ignore' | 'inherit' | 'pipe')[]): ChildProcess {
  const [program, ...first] = archimage
  const child = spawn(program!, [...first, ...args], { cwd: project, env, stdio })
  children.add(child)
  child.on('exit', () => children.delete(child))
  return child
}

function run(args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = start(args, ['ignore', 'inherit', 'inherit'])
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve(signal ? 130 : (code ?? 1)))
  })
}

async function cleanUp(): Promise<void> {
  await Promise.all(
    [...children].map(child => {
      const gone = new Promise(resolve => child.once('exit', resolve))
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), 5000)
      return gone.then(() => clearTimeout(timer))
    }),
  )
  rmSync(folder, { recursive: true, force: true })
}

function say(text: string): void {
  process.stdout.write(`\n${text}\n\n`)
}
