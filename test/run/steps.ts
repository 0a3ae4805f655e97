import { afterAll, beforeAll } from 'bun:test'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import type { CellResult, StepFacts } from '../../src/run/events.ts'
import { push } from '../fidelity/push.ts'
import { busyboxImages } from '../peers/busybox.ts'
import { canRun } from '../peers/require.ts'
import { resultOf, type Sandbox } from './command.ts'

/** Puts `busybox:1` for three platforms into a registry that stands for docker.io. */
export async function pushBusybox(address: string, sandbox: Sandbox): Promise<void> {
  await push(address, 'library/busybox:1', busyboxImages())
  sandbox.mirror(address)
}

/** A registry with busybox for the tests of this file, where they can run; gone with the sandbox when they end. */
export function withBusybox(sandbox: Sandbox): () => FaultyRegistry {
  let registry: FaultyRegistry | undefined
  beforeAll(async () => {
    if (!canRun('root', 'busybox')) return
    registry = await startFaultyRegistry()
    await pushBusybox(registry.address, sandbox)
  })
  afterAll(async () => {
    await registry?.close()
    await sandbox.dispose()
  })
  return () => registry!
}

/** RUN steps of the last run of a project: `first` of those on the line. */
export function stepsOf(project: string, service = 'app', platform = 'linux/amd64'): readonly StepFacts[] {
  return cellOf(project, service, platform).steps ?? []
}

export function cellOf(project: string, service = 'app', platform = 'linux/amd64'): CellResult {
  const cell = resultOf(project).cells.find(one => one.service === service && one.platform === platform)
  if (!cell) throw new Error(`${service} ${platform} is not in the result`)
  return cell
}

/** How each RUN step of a cell came to its result, by line: `ran`, `cached`, `shared`. */
export function howByLine(project: string, service = 'app', platform = 'linux/amd64'): Record<number, string> {
  return Object.fromEntries(
    stepsOf(project, service, platform).map(({ line, cached, shared }) => [
      line,
      cached ? 'cached' : shared ? 'shared' : 'ran',
    ]),
  )
}

/** The text of a file in the only directory of the cache mount with this id. */
export function readCacheMount(home: string, id: string, file: string): string {
  const mounts = join(home, 'mounts')
  const name = readdirSync(mounts).find(
    one => (JSON.parse(readFileSync(join(mounts, one, 'about.json'), 'utf8')) as { id: string }).id === id,
  )
  if (!name) throw new Error(`no cache mount ${id}`)
  return readFileSync(join(mounts, name, '0', file), 'utf8')
}

/** Builds a project's service `app` and gives the folder with its files. */
export async function filesOf(sandbox: Sandbox, project: string, ...more: string[]): Promise<string> {
  const out = join(project, '..', `${project.split('/').at(-1)}-files`)
  mkdirSync(out, { recursive: true })
  await sandbox.must(['build', 'app', '--platform', 'linux/amd64', '-o', `type=local,dest=${out}`, ...more], {
    cwd: project,
  })
  return out
}
