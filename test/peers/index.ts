export { type BuildKit, startBuildKit } from './buildkit.ts'
export { busyboxFile, busyboxImages, busyboxRoot } from './busybox.ts'
export { type Docker, startDocker } from './docker.ts'
export { PEERS, type Peer, peer, peerCache, peerOrThrow, peerPath } from './locate.ts'
export { type Podman, startPodman } from './podman.ts'
export {
  freePort,
  must,
  type Outcome,
  type Running,
  type RunOptions,
  removeFolder,
  run,
  temporaryFolder,
} from './process.ts'
export { type Registry, startRegistry } from './registry.ts'
