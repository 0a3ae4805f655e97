import { expect } from 'bun:test'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { requirePeers } from '../peers/require.ts'
import { openWorkshop } from './workshop.ts'

const step = requirePeers('root', 'busybox', 'slirp4netns')

/** Processes that have a mark in their command line or their environment. */
function marked(mark: string): string[] {
  return readdirSync('/proc').filter(pid => {
    if (!/^\d+$/.test(pid)) return false
    try {
      return ['cmdline', 'environ'].some(name => readFileSync(`/proc/${pid}/${name}`).includes(mark))
    } catch {
      return false
    }
  })
}

function mounts(): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter(line => line.includes('archimage-sandbox-'))
}

/** Those that a process made. */
function cgroups(pid: number): string[] {
  return readdirSync('/sys/fs/cgroup', { recursive: true, encoding: 'utf8' }).filter(name =>
    name.includes(`archimage-${pid}-`),
  )
}

async function waitFor(what: () => boolean): Promise<void> {
  while (!what()) await new Promise(resolve => setTimeout(resolve, 5))
}

step('killed at 20 random moments, nothing is left: no process, no mount, no cgroup', async () => {
  const before = mounts()
  for (let i = 0; i < 20; i++) {
    const mark = `77${process.pid}${i}`
    const child = spawn(process.execPath, [join(import.meta.dir, 'victim.ts'), mark], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, MARK: mark },
    })
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    await new Promise(resolve => setTimeout(resolve, Math.random() * 150))
    expect(marked(mark).length).toBeGreaterThan(1)
    child.kill('SIGKILL')
    await once(child, 'exit')
    // What the kernel does at once takes it some milliseconds; if it did not, this would wait for ever.
    await waitFor(() => marked(mark).length === 0 && cgroups(child.pid!).length === 0)
    expect({ mounts: mounts(), cgroups: cgroups(child.pid!) }).toEqual({ mounts: before, cgroups: [] })
    rmSync(line.toString().trim(), { recursive: true })
  }
  await using shop = await openWorkshop()
  expect(await shop.run('echo fine')).toMatchObject({ exitCode: 0, stdout: 'fine\n' })
})
