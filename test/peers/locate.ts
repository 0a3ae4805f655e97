import { accessSync, constants } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'

/** The real tools that tests and benches run archimage against, by the name of their executable. */
export const PEERS = [
  'buildah',
  'buildctl',
  'buildkitd',
  'buildx',
  'bzip2',
  'cmp',
  'crane',
  'crun',
  'ctr',
  'ctr',
  'docker',
  'docker-registry',
  'dockerd',
  'dockerfile-oracle',
  'git',
  'go',
  'grep',
  'gzip',
  'manifest-tool',
  'podman',
  'newuidmap',
  'openssl',
  'pasta',
  'python3',
  'qemu-aarch64-static',
  'qemu-arm-static',
  'regctl',
  'runc',
  'skopeo',
  'slirp4netns',
  'tar',
  'umoci',
  'xz',
  'zstd',
] as const

export type Peer = (typeof PEERS)[number]

/** Where `.ci/run` puts the peers that it compiles. */
export function peerCache(): string {
  return (
    process.env['ARCHIMAGE_PEERS'] ??
    join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'archimage-peers')
  )
}

/** The folders searched: our own cache, the usual extra places, then PATH with the sbin folders that users often lack. */
export function peerPath(): string[] {
  const path = (process.env['PATH'] ?? '').split(delimiter).filter(Boolean)
  return [join(peerCache(), 'bin'), ...path, '/usr/local/go/bin', '/usr/local/sbin', '/usr/sbin', '/sbin']
}

/** Absolute path of a peer's executable, or undefined where it is not installed. */
export function peer(name: Peer): string | undefined {
  for (const folder of peerPath()) {
    const file = join(folder, name)
    try {
      accessSync(file, constants.X_OK)
      return file
    } catch {}
  }
  return undefined
}

/** Like `peer`, where the caller has already made sure that it is there. */
export function peerOrThrow(name: Peer): string {
  const file = peer(name)
  if (file === undefined) throw new Error(`${name} is not installed; .ci/run installs it on Debian`)
  return file
}
