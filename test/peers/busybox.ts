import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { dir, file, link } from '../fidelity/bases.ts'
import type { BaseImage } from '../fidelity/push.ts'
import type { Entry } from '../fidelity/tar.ts'
import { peerCache } from './locate.ts'

/** Architectures by their OCI names, for which `.ci/run` fetches a static busybox. */
export const BUSYBOX_PLATFORMS: readonly BaseImage['platform'][] = [
  { os: 'linux', architecture: 'amd64' },
  { os: 'linux', architecture: 'arm64' },
  { os: 'linux', architecture: 'arm', variant: 'v7' },
]

/** The static busybox of an architecture. */
export function busyboxFile(architecture: string): string {
  return join(peerCache(), 'busybox', architecture)
}

export function hasBusybox(): boolean {
  return BUSYBOX_PLATFORMS.every(({ architecture }) => existsSync(busyboxFile(architecture)))
}

/** The tar of a small Debian for amd64, which `.ci/run` makes. */
export function debianRoot(): string {
  return join(peerCache(), 'debian', 'amd64.tar')
}

const PASSWD = 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n'
const GROUP = 'root:x:0:\nnogroup:x:65534:\n'
// Without passwords `su` asks for none.
const SHADOW = 'root::19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n'

/** Root filesystem with one busybox under the names of all its programs, `su` among them with the set-user-ID bit. */
export function busyboxRoot(architecture: string): readonly Entry[] {
  const names = spawnSync(busyboxFile('amd64'), ['--list'], { argv0: 'busybox', encoding: 'utf8' })
    .stdout.split('\n')
    .filter(Boolean)
  const bytes = readFileSync(busyboxFile(architecture))
  const program = (path: string, mode: number): Entry => ({ ...file(path, '', mode), data: bytes })
  return [
    dir('bin'),
    program('bin/busybox', 0o755),
    program('bin/su', 0o4755),
    ...names.filter(name => !['busybox', 'su'].includes(name)).map(name => link(`bin/${name}`, 'busybox')),
    dir('etc'),
    file('etc/passwd', PASSWD),
    file('etc/group', GROUP),
    file('etc/shadow', SHADOW, 0o640),
    dir('home'),
    dir('root', 0o700),
    dir('tmp', 0o1777),
    dir('usr'),
    dir('usr/bin'),
    link('usr/bin/env', '../../bin/busybox'),
    dir('var'),
  ]
}

/** One image for each platform, to be given to `push`: a base in which RUN finds a shell. */
export function busyboxImages(): readonly BaseImage[] {
  return BUSYBOX_PLATFORMS.map(platform => ({
    platform,
    layers: [{ entries: busyboxRoot(platform.architecture) }],
    config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: ['sh'] },
  }))
}
