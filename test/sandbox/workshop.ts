import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { copyRoot } from '../../src/rootfs/copy.ts'
import { openSandbox, type SandboxOptions } from '../../src/sandbox/sandbox.ts'
import type { Sandbox, Step, StepEnd } from '../../src/sandbox/step.ts'
import { busyboxRoot } from '../peers/index.ts'

export interface Outcome extends StepEnd {
  readonly stdout: string
  readonly stderr: string
  /** What is in the step's upper directory, by path. */
  readonly changed: readonly string[]
  readonly upper: string
}

/** A sandbox with a busybox as base, and folders that go with it. */
export interface Workshop {
  readonly folder: string
  readonly base: string
  readonly sandbox: Sandbox
  /** Runs a shell script, or a command, in a root of its own on top of the base. */
  run(command: string | readonly string[], more?: Partial<Step>, signal?: AbortSignal): Promise<Outcome>
  [Symbol.asyncDispose](): Promise<void>
}

let serial = 0

export async function openWorkshop(options: Partial<SandboxOptions> = {}): Promise<Workshop> {
  const folder = mkdtempSync(join(tmpdir(), 'archimage-sandbox-'))
  const base = join(folder, 'base')
  makeBase(base)
  const sandbox = await openSandbox({ directory: join(folder, 'sandbox'), ...options })
  return {
    folder,
    base,
    sandbox,
    async run(command, more = {}, signal = new AbortController().signal) {
      const id = `step-${++serial}`
      const [upper, work] = [join(folder, id, 'upper'), join(folder, id, 'work')]
      mkdirSync(upper, { recursive: true })
      mkdirSync(work)
      if (sandbox.facts.roots === 'copy') await copyRoot(more.lowers ?? [base], upper, { marks: 'names' })
      const text = { stdout: '', stderr: '' }
      const step: Step = {
        ...{ id, lowers: [base], upper, work, cwd: '/', user: '', mounts: [], network: 'none', insecure: false },
        ...{ args: typeof command === 'string' ? ['/bin/sh', '-c', command] : command, hostname: 'buildkitsandbox' },
        ...{ env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'], hosts: [], ulimits: [], limits: {} },
        ...more,
      }
      const output = (stream: 'stdout' | 'stderr', bytes: Uint8Array) => {
        text[stream] += Buffer.from(bytes).toString()
      }
      const end = await sandbox.run(step, { output, signal })
      return { ...end, ...text, upper, changed: readdirSync(upper, { recursive: true, encoding: 'utf8' }).sort() }
    },
    async [Symbol.asyncDispose]() {
      await sandbox.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Writes the entries of the busybox base; owners are whoever runs the test. */
export function makeBase(base: string): void {
  mkdirSync(base)
  for (const entry of busyboxRoot(process.arch === 'arm64' ? 'arm64' : 'amd64')) {
    const path = join(base, entry.path)
    mkdirSync(dirname(path), { recursive: true })
    if (entry.type === 'dir') mkdirSync(path, { recursive: true })
    else if (entry.type === 'symlink') symlinkSync(entry.link!, path)
    else writeFileSync(path, entry.data ?? '')
    if (entry.type !== 'symlink') chmodSync(path, entry.mode ?? 0o755)
  }
}
