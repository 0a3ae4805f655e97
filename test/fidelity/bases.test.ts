import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { archimage } from '../../scripts/archimage.ts'
import { type Registry, startRegistry } from '../../src/registry/server/start.ts'
import {
  type Docker,
  must,
  type Podman,
  removeFolder,
  startDocker,
  startPodman,
  temporaryFolder,
} from '../peers/index.ts'
import { canRun, requirePeers } from '../peers/require.ts'
import { pushBases } from './bases.ts'
import { Context } from './context.ts'
import { type Image, layoutOfArchive, readImages } from './image.ts'
import { push } from './push.ts'
import { readTar } from './tar.ts'

const folder = temporaryFolder('fib')
let registry: Registry
let host: string
/** What the bases are made with. */
const tools = ['gzip', 'zstd'] as const

/** `archimage build` of a folder with the store `home`. */
function build(home: string, context: string, ...flags: string[]): Promise<string> {
  const env = { ARCHIMAGE_HOME: join(folder, home), SOURCE_DATE_EPOCH: undefined }
  return must([...archimage, 'build', '--progress=plain', '--platform=linux/amd64', ...flags, context], { env })
}

async function built(home: string, context: string): Promise<Image> {
  const out = join(folder, `${home}.tar`)
  await build(home, context, '-o', `type=oci,dest=${out}`)
  return readImages(layoutOfArchive(out)).get('linux/amd64')!
}

beforeAll(async () => {
  if (!canRun(...tools)) return
  registry = await startRegistry({ port: 0 })
  host = registry.address
  await pushBases(host, `${host}/base:1`)
}, 60_000)

afterAll(async () => {
  await registry?.close()
  await removeFolder(folder)
}, 60_000)

describe('a layer without directory entries', () => {
  // The third layer of this base has /tmp/x and /root/y, but neither /tmp (1777) nor /root (0700).
  const MODES = { tmp: '1777', root: '700', 'tmp/made': '755', data: '2775' }
  let docker: Docker | undefined
  let podman: Podman | undefined

  beforeAll(async () => {
    if (!canRun(...tools)) return
    const context = new Context(join(folder, 'modes')).file('a')
    context.file('Dockerfile', `FROM ${host}/base:1\nCOPY a /tmp/made/a\nCOPY a /root/\nCOPY --chown=5 a /data/\n`)
    const archive = join(folder, 'modes.tar')
    await build('modes-home', context.folder, '-t', `${host}/modes:1`, '--push', '-o', `type=docker,dest=${archive}`)
    if (canRun('docker', 'dockerd', 'root')) docker = await startDocker()
    if (canRun('podman', 'root')) podman = await startPodman()
  }, 120_000)

  afterAll(async () => {
    await docker?.stop()
    await podman?.stop()
  }, 60_000)

  /** The modes in the root filesystem that a container of docker or podman would get. */
  async function modes(engine: (args: readonly string[]) => Promise<string>, image: string): Promise<object> {
    const id = (await engine(['create', image, '/none'])).trim()
    const file = join(folder, `${id}.tar`)
    await engine(['export', '-o', file, id])
    const found = new Map(readTar(readFileSync(file)).map(entry => [entry.path, (entry.mode! & 0o7777).toString(8)]))
    return Object.fromEntries(Object.keys(MODES).map(path => [path, found.get(path)]))
  }

  requirePeers(...tools)('keeps the modes of the folders that something is copied into', async () => {
    const { tree } = await built('modes-fresh', join(folder, 'modes'))
    expect(tree.get('tmp')).toBe('dir 1777 0:0')
    expect(tree.get('root')).toBe('dir 0700 0:0')
    expect(tree.get('data')).toBe('dir 2775 1000:1000')
  })

  requirePeers(
    'docker',
    'dockerd',
    'root',
  )('also after docker pulled it', async () => {
    await docker!.docker(['pull', `${host}/modes:1`])
    expect(await modes(docker!.docker, `${host}/modes:1`)).toEqual(MODES)
  })

  requirePeers(
    'docker',
    'dockerd',
    'root',
  )('also after docker load', async () => {
    await docker!.docker(['rmi', '-f', `${host}/modes:1`])
    await docker!.docker(['load', '-i', join(folder, 'modes.tar')])
    expect(await modes(docker!.docker, `${host}/modes:1`)).toEqual(MODES)
  })

  requirePeers('podman', 'root')('also after podman pulled it', async () => {
    await podman!.podman(['pull', `${host}/modes:1`])
    expect(await modes(podman!.podman, `${host}/modes:1`)).toEqual(MODES)
  })
})

describe('files of a large base', () => {
  /** 5 MiB that no compression makes small, the same in every run. */
  const bytes = (seed: string, length: number): Buffer => {
    const blocks: Buffer[] = []
    for (let i = 0; i * 32 < length; i++) blocks.push(createHash('sha256').update(`${seed} ${i}`).digest())
    return Buffer.concat(blocks).subarray(0, length)
  }
  const files = {
    'big/first': bytes('first', 1 << 20),
    'big/middle': bytes('middle', 3 << 20),
    'big/zz': bytes('zz', 1 << 20),
  }
  const wanted = (name: keyof typeof files): string => {
    const digest = createHash('sha256').update(files[name]).digest('hex').slice(0, 16)
    return `file 0644 0:0 ${files[name].length} bytes ${digest}`
  }

  /** Copies the last file, alone and upon its base, and all of it. */
  async function copies(home: string, reference: string): Promise<void> {
    const context = new Context(join(folder, `${home} ${reference.split('/')[1]}`))
    context.file(
      'Dockerfile',
      `FROM ${reference} AS base\nFROM scratch\nCOPY --from=${reference} /big/zz /last\nCOPY --from=base /big /all\n`,
    )
    const { tree } = await built(home, context.folder)
    expect(tree.get('last')).toBe(wanted('big/zz'))
    for (const name of ['first', 'middle', 'zz'] as const) expect(tree.get(`all/${name}`)).toBe(wanted(`big/${name}`))
  }

  for (const compression of ['gzip', 'zstd', 'uncompressed'])
    requirePeers(...tools)(
      `that archimage wrote (${compression}): from the store that made it, and from a fresh one`,
      async () => {
        const context = new Context(join(folder, `big-${compression}`))
        for (const [path, content] of Object.entries(files)) context.file(path, content)
        context.file('Dockerfile', 'FROM scratch\nCOPY big /big/\n')
        const reference = `${host}/big-${compression}:1`
        await build(
          `maker-${compression}`,
          context.folder,
          '-o',
          `type=registry,name=${reference},compression=${compression}`,
        )
        await copies(`maker-${compression}`, reference)
        await copies(`fresh-${compression}`, reference)
      },
      60_000,
    )

  for (const compression of ['gzip', 'zstd', 'none'] as const)
    requirePeers(...tools)(
      `that others wrote (${compression})`,
      async () => {
        const entries = Object.entries(files).map(([path, data]) => ({
          path,
          type: 'file' as const,
          mode: 0o644,
          data,
        }))
        const platform = { os: 'linux', architecture: 'amd64' }
        await push(host, `others-${compression}:1`, [{ platform, layers: [{ entries, compression }] }])
        await copies(`others-${compression}`, `${host}/others-${compression}:1`)
      },
      60_000,
    )
})
