import { test } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { debianRoot, hasBusybox } from './busybox.ts'
import { type Peer, peer } from './locate.ts'

/** What a test needs beside peers: root, a kernel that runs foreign executables, or bases with a shell (busybox, debian). */
export type Need = Peer | 'root' | 'emulation' | 'busybox' | 'debian'

type Body = () => void | Promise<void>
type PeerTest = (name: string, body: Body, timeout?: number) => void

const inCI = () => !['', '0', 'false', undefined].includes(process.env['CI']?.toLowerCase())

/** The needs that this machine does not meet. */
export function missing(needs: readonly Need[]): Need[] {
  return needs.filter(need => {
    if (need === 'root') return process.getuid?.() !== 0
    if (need === 'emulation') return !emulates()
    if (need === 'busybox') return !hasBusybox()
    if (need === 'debian') return !existsSync(debianRoot())
    return peer(need) === undefined
  })
}

/**
 * A `test` for what needs real parts: where one is missing, the test is skipped and says so; in CI it fails. The timeout is
 * 60 s unless given.
 *
 *     const pulled = requirePeers('docker-registry', 'skopeo')
 *     pulled('skopeo pulls the index', async () => { … })
 */
export function requirePeers(...needs: Need[]): PeerTest {
  const lacking = missing(needs)
  if (lacking.length === 0) return (name, body, timeout = 60_000) => test(name, body, timeout)
  const why = `needs ${lacking.join(', ')}`
  if (!inCI()) return name => test.skip(`${name} (${why})`, () => {})
  return name =>
    test(name, () => {
      throw new Error(`${why}: not on this machine, and in CI every real part must be (.ci/run installs them)`)
    })
}

/** True where beforeAll has something to start: a suite whose needs are not met starts nothing. */
export function canRun(...needs: Need[]): boolean {
  return missing(needs).length === 0
}

function emulates(): boolean {
  return ['qemu-aarch64', 'qemu-arm'].every(name => {
    try {
      return readFileSync(`/proc/sys/fs/binfmt_misc/${name}`, 'utf8').startsWith('enabled')
    } catch {
      return false
    }
  })
}
