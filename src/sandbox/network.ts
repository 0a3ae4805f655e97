import type { ChildProcess } from 'node:child_process'
import { closeSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { withMemoryProgram } from '../sys/memory-program.ts'
import { openPipe, readPipe } from '../sys/pipe.ts'
import { runProgram } from '../sys/spawn.ts'
import { CLONE, MS } from './kernel.ts'
import { launchProgram } from './launch-program.ts'
import { adopt, start } from './processes.ts'

/** What connects a network namespace with the network of this machine, without rights on it. */
export interface NetworkTool {
  readonly name: 'pasta' | 'slirp4netns'
  readonly path: string
}

/** A network namespace that can be entered by its path. */
export interface StepNetwork {
  readonly path: string
  /** Resolvers in it that ask those of this machine. */
  readonly resolvers: readonly string[]
}

/** The same with both tools. The address of this machine's loopback is not among them. */
const [ADDRESS, GATEWAY, RESOLVER, MTU] = ['10.0.2.100', '10.0.2.2', '10.0.2.3', '65520'] as const

/**
 * Makes a network namespace for the steps and connects it; all of it ends with our own pid and mount namespace. Rejects with what
 * the tool said.
 */
export async function startNetwork(tool: NetworkTool, memory: string): Promise<StepNetwork> {
  const path = `${memory}/network-${tool.name}`
  await makeNamespace(path)
  await (tool.name === 'pasta' ? startPasta(tool.path, path) : startSlirp(tool.path, path))
  return { path, resolvers: [RESOLVER] }
}

/**
 * The better ones first. A pasta of before 2024 (its version is a date, or unknown) loses connections of which one side has
 * ended: seen with that of Debian 12.
 */
export async function byQuality(tools: readonly NetworkTool[]): Promise<NetworkTool[]> {
  const old = new Set<NetworkTool>()
  for (const tool of tools) {
    if (tool.name !== 'pasta') continue
    const { stdout } = await runProgram(tool.path, ['--version'], { timeout: 5000 })
    const year = Number(/\b(20\d\d)[_-]?\d\d|git(20\d\d)/.exec(stdout.toString())?.slice(1).find(Boolean))
    if (!(year >= 2024)) old.add(tool)
  }
  return [...tools.filter(tool => !old.has(tool)), ...old]
}

/** A namespace without a process: its file is bound to `path`. */
async function makeNamespace(path: string): Promise<void> {
  const program = launchProgram(
    [
      { name: 'unshare', args: [CLONE.NEWNET] },
      { name: 'mount', args: ['/proc/self/ns/net', path, '', MS.BIND, ''] },
      { name: 'exit_group', args: [0] },
    ],
    [],
  )
  writeFileSync(path, '')
  const code = await exitOf(withMemoryProgram(program.bytes, file => start(file, [], { stdio: 'ignore' })))
  if (code !== 0) throw new Error('no network namespace can be made here')
}

/** It goes into the background when the network is ready. */
async function startPasta(command: string, path: string): Promise<void> {
  const pid = `${path}.pid`
  const args = [
    ...['--quiet', '--config-net', '--runas', '0:0', '--netns', path, '--pid', pid, '--ns-ifname', 'eth0'],
    ...['--tcp-ports', 'none', '--udp-ports', 'none', '--tcp-ns', 'none', '--udp-ns', 'none', '--no-map-gw'],
    ...['--address', ADDRESS, '--netmask', '24', '--gateway', GATEWAY, '--dns-forward', RESOLVER],
  ]
  const child = start(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  const said = lastWords(child)
  if ((await exitOf(child)) !== 0) throw new Error(`pasta: ${said()}`)
  adopt(Number(readFileSync(pid, 'utf8')))
}

async function startSlirp(command: string, path: string): Promise<void> {
  const ready = openPipe()
  const args = [
    ...['--netns-type=path', '--configure', `--mtu=${MTU}`, '--disable-host-loopback', '--ready-fd=3'],
    ...(existsSync('/proc/sys/kernel/seccomp') ? ['--enable-seccomp'] : []),
    ...['--enable-sandbox', path, 'eth0'],
  ]
  const child = start(command, args, { stdio: ['ignore', 'ignore', 'pipe', ready.write] })
  closeSync(ready.write)
  const said = lastWords(child)
  const gone = exitOf(child)
  for await (const _ of readPipe(ready.read)) return
  await gone
  throw new Error(`slirp4netns: ${said()}`)
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', resolve)
  })
}

/** Reads what a program complains of; it may go on doing so as long as it runs. */
function lastWords(child: ChildProcess): () => string {
  let text = ''
  child.stderr!.on('data', (chunk: Buffer) => {
    text = `${text}${chunk}`.slice(-2000)
  })
  return () => text.trim()
}
