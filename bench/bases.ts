import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { dir, file, link } from '../test/fidelity/bases.ts'
import { push } from '../test/fidelity/push.ts'
import type { Entry } from '../test/fidelity/tar.ts'
import { busyboxImages, busyboxRoot, must, peerOrThrow } from '../test/peers/index.ts'

/**
 * Pushes what the Dockerfiles of the benches begin with: `busybox:1` for three platforms, and `golang:1`, a busybox with this
 * machine's Go toolchain, for this machine only.
 */
export async function pushBases(host: string): Promise<void> {
  await push(host, 'busybox:1', busyboxImages())
  const go = (await must([peerOrThrow('go'), 'env', 'GOROOT'])).trim()
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch
  const path = 'PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
  await push(host, 'golang:1', [
    {
      platform: { os: 'linux', architecture },
      layers: [
        { entries: busyboxRoot(architecture) },
        { entries: [dir('usr'), dir('usr/local'), dir('usr/local/go'), ...folder(go, 'usr/local/go', LEFT_OUT)] },
      ],
      config: { Env: [path, 'CGO_ENABLED=0', 'GOTOOLCHAIN=local', 'GOFLAGS=-mod=mod'] },
    },
  ])
}

/** Pushes busybox with a folder of this machine at /files, for this machine only. */
export async function pushFolder(host: string, name: string, files: string): Promise<void> {
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch
  const layers = [{ entries: busyboxRoot(architecture) }, { entries: [dir('files'), ...folder(files, 'files', /^$/)] }]
  await push(host, name, [{ platform: { os: 'linux', architecture }, layers }])
}

/** What a compiler does not need. */
const LEFT_OUT = /^(?:api|doc|misc|test|.*\/testdata)$/

function* folder(root: string, name: string, leftOut: RegExp, below = ''): Generator<Entry> {
  for (const child of readdirSync(join(root, below)).sort()) {
    const path = join(below, child)
    if (leftOut.test(path)) continue
    const stat = lstatSync(join(root, path))
    const at = `${name}/${path}`
    if (stat.isDirectory()) {
      yield dir(at)
      yield* folder(root, name, leftOut, path)
    } else if (stat.isSymbolicLink()) yield link(at, readlinkSync(join(root, path)))
    else yield { ...file(at, '', stat.mode & 0o777), data: readFileSync(join(root, path)) }
  }
}
