import { afterAll, describe, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { canRun, requirePeers } from '../../test/peers/require.ts'
import { parseOutput } from './parse.ts'
import { openBench } from './testing/images.ts'
import { checkOutputs, writeOutputs } from './write.ts'

const bench = openBench()
afterAll(() => bench[Symbol.asyncDispose]())
const { tools, folder } = bench
const at = (name: string): string => join(folder, name)
const tar = (...args: string[]): string => execFileSync('tar', args, { cwd: folder, encoding: 'utf8' })
const digestOf = (name: string): string =>
  createHash('sha256')
    .update(readFileSync(at(name)))
    .digest('hex')
const temporaries = (): string[] => readdirSync(folder).filter(name => name.endsWith('.tmp'))

const image = bench.image(
  {
    'linux/amd64': [
      [
        { path: 'etc', type: 'dir', mode: 0o755 },
        { path: 'etc/os', text: 'amd64' },
      ],
    ],
    'linux/arm/v7': [
      [
        { path: 'etc', type: 'dir', mode: 0o755 },
        { path: 'etc/os', text: 'arm' },
      ],
    ],
  },
  { names: ['app:1.0', 'reg.example.com/team/app:latest'] },
)
const plain = bench.image(
  { 'linux/amd64': [[{ path: 'a', text: 'x' }]] },
  { mediaType: 'application/vnd.oci.image.layer.v1.tar' },
)

describe('type=oci', () => {
  requirePeers('tar')('an image layout that sha256sum agrees with', async () => {
    await writeOutputs([parseOutput('type=oci,dest=image.tar')], [image], tools)
    const names = tar('tf', 'image.tar').trim().split('\n')
    expect(names.slice(0, 4)).toEqual(['oci-layout', 'index.json', 'blobs/', 'blobs/sha256/'])
    mkdirSync(at('layout'))
    tar('xf', 'image.tar', '-C', 'layout')
    for (const hex of readdirSync(at('layout/blobs/sha256'))) expect(digestOf(`layout/blobs/sha256/${hex}`)).toBe(hex)
    // index, and for both platforms manifest, config and layer
    expect(readdirSync(at('layout/blobs/sha256')).length).toBe(7)
    expect(JSON.parse(readFileSync(at('layout/oci-layout'), 'utf8'))).toEqual({ imageLayoutVersion: '1.0.0' })
    const index = JSON.parse(readFileSync(at('layout/index.json'), 'utf8'))
    expect(index.manifests.map((entry: { digest: string }) => entry.digest)).toEqual([
      image.index.digest,
      image.index.digest,
    ])
    expect(index.manifests.map((entry: { annotations: object }) => entry.annotations)).toEqual([
      { 'io.containerd.image.name': 'docker.io/library/app:1.0', 'org.opencontainers.image.ref.name': '1.0' },
      { 'io.containerd.image.name': 'reg.example.com/team/app:latest', 'org.opencontainers.image.ref.name': 'latest' },
    ])
  })

  test('the same bytes each time, and those of the format', async () => {
    await writeOutputs([parseOutput('type=oci,dest=one.tar'), parseOutput('type=oci,dest=two.tar')], [plain], tools)
    expect(digestOf('one.tar')).toBe(digestOf('two.tar'))
    expect(digestOf('one.tar')).toBe(GOLDEN_OCI)
  })

  const other = canRun('tar') && !execFileSync('tar', ['--version'], { encoding: 'utf8' }).includes('GNU tar')
  const gnuTar = other ? test.skip : requirePeers('tar')
  gnuTar('byte for byte what GNU tar makes of the same files', async () => {
    await writeOutputs([parseOutput('type=oci,dest=ours.tar')], [plain], tools)
    mkdirSync(at('files'))
    tar('xpf', 'ours.tar', '-C', 'files')
    const order = tar('tf', 'ours.tar').trim().split('\n')
    const flags = [
      '--format=ustar',
      '--no-recursion',
      '--numeric-owner',
      '--owner=0',
      '--group=0',
      '--mtime=@318211200',
    ]
    tar(...flags, '-b', '1', '-C', 'files', '-cf', at('theirs.tar'), ...order)
    expect(readFileSync(at('ours.tar')).equals(readFileSync(at('theirs.tar')))).toBe(true)
  })

  test('as a folder, into which other images may follow', async () => {
    const output = [parseOutput('type=oci,tar=false,dest=lay')]
    await writeOutputs(output, [image], tools)
    const other = bench.image({ 'linux/amd64': [[{ path: 'b', text: 'y' }]] }, { names: ['app:1.0', 'other:2'] })
    await writeOutputs(output, [other], tools)
    const index = JSON.parse(readFileSync(at('lay/index.json'), 'utf8'))
    const list = index.manifests.map((entry: { digest: string; annotations: Record<string, string> }) => [
      entry.annotations['io.containerd.image.name'],
      entry.digest,
    ])
    expect(list).toEqual([
      ['docker.io/library/app:1.0', other.index.digest],
      ['reg.example.com/team/app:latest', image.index.digest],
      ['docker.io/library/other:2', other.index.digest],
    ])
  })

  test('a damaged blob fails, and no file is left', async () => {
    const broken = bench.image({ 'linux/amd64': [[{ path: 'c', text: 'to be damaged' }]] })
    const layer = broken.members[0]!.manifest.layers[0]!
    const bytes = readFileSync(bench.store.blobPath(layer.digest))
    bytes[bytes.length - 3]! ^= 1
    writeFileSync(bench.store.blobPath(layer.digest), bytes)
    await expect(writeOutputs([parseOutput('type=oci,dest=broken.tar')], [broken], tools)).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    })
    expect(existsSync(at('broken.tar'))).toBe(false)
    expect(temporaries()).toEqual([])
  })

  test('interrupted, nothing is left', async () => {
    const stop = new AbortController()
    const big = bench.image(
      { 'linux/amd64': [[{ path: 'big', text: 'x'.repeat(4 << 20) }]] },
      { mediaType: 'application/vnd.oci.image.layer.v1.tar' },
    )
    const writing = writeOutputs([parseOutput('type=oci,dest=cut.tar')], [big], { ...tools, signal: stop.signal })
    stop.abort()
    await expect(writing).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(existsSync(at('cut.tar'))).toBe(false)
    expect(temporaries()).toEqual([])
  })
})

describe('type=docker', () => {
  requirePeers('tar')('several platforms: the one of this machine, or an error that says what else', async () => {
    await writeOutputs([parseOutput('type=docker,dest=docker.tar')], [plain], tools)
    expect(digestOf('docker.tar')).toBe(GOLDEN_DOCKER)
    const [listing] = JSON.parse(tar('xOf', 'docker.tar', 'manifest.json'))
    const { manifest } = plain.members[0]!
    expect(listing).toEqual({
      Config: `blobs/sha256/${manifest.config.digest.slice(7)}`,
      RepoTags: ['docker.io/library/app:1.0'],
      Layers: [`blobs/sha256/${manifest.layers[0]!.digest.slice(7)}`],
    })
    const foreign = bench.image({ 'linux/s390x': [], 'linux/riscv64': [] })
    await expect(writeOutputs([parseOutput('type=docker,dest=f.tar')], [foreign], tools)).rejects.toMatchObject({
      code: 'PLATFORM_MISSING',
      hint: expect.stringContaining('-o type=oci,dest=f.tar'),
    })
  })

  requirePeers('tar')('foreign layers are explained, zstd is warned of', async () => {
    const windows = bench.image(
      { 'windows/amd64': [[{ path: 'Files', type: 'dir' }]] },
      { mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' },
    )
    const layer = windows.members[0]!.manifest.layers[0]!
    execFileSync('rm', [bench.store.blobPath(layer.digest)])
    await expect(writeOutputs([parseOutput('type=docker,dest=w.tar')], [windows], tools)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('outside of any registry'),
    })
    await writeOutputs([parseOutput('type=oci,dest=w.tar')], [windows], tools)
    expect(tar('tf', 'w.tar')).not.toContain(layer.digest.slice(7))
    const zstd = bench.image(
      { 'linux/amd64': [[{ path: 'z' }]] },
      { mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd' },
    )
    await writeOutputs([parseOutput('type=docker,dest=z.tar')], [zstd], tools)
    expect(bench.warnings.some(text => text.includes('zstd'))).toBe(true)
  })
})

describe('destinations', () => {
  const check =
    (texts: string[], services = ['a'], isTTY = false) =>
    () =>
      checkOutputs(texts.map(parseOutput), services, { stdout: { isTTY }, directory: folder })

  test('several services need a place for each', async () => {
    expect(check(['type=oci,dest=dist/image.tar'], ['a', 'b'])).toThrow('2 services')
    expect(check(['type=oci'], ['a', 'b'])).toThrow('standard output')
    const other = { ...plain, service: 'web' }
    await writeOutputs([parseOutput('type=oci,dest=dist/{service}.tar')], [plain, other], tools)
    expect(readdirSync(at('dist')).sort()).toEqual(['app.tar', 'web.tar'])
  })

  test('what cannot be right is refused before anything is done', () => {
    mkdirSync(at('folder'))
    writeFileSync(at('file'), 'x')
    writeFileSync(at('folder/x'), 'x')
    expect(check(['type=oci'], ['a'], true)).toThrow('terminal')
    expect(check(['type=oci', '-'])).toThrow('two outputs')
    expect(check(['type=oci,dest=a.tar', 'type=tar,dest=./a.tar'])).toThrow('two outputs')
    expect(check(['type=oci,dest=folder'])).toThrow('is a folder')
    expect(check(['type=local,dest=file'])).toThrow('is a file')
    expect(check(['type=oci,tar=false,dest=folder'])).toThrow('something else')
    expect(check(['type=local,dest=.,mode=delete'])).toThrow('mode=delete')
    expect(check(['type=local,dest=..,mode=delete'])).toThrow('mode=delete')
    expect(check(['type=local,dest=/,mode=delete'])).toThrow('mode=delete')
    expect(check(['type=local,dest=folder,mode=delete'])).not.toThrow()
  })

  test('a place below a file, or without rights, is told before anything is done', async () => {
    writeFileSync(at('plain-file'), 'x')
    for (const type of ['oci', 'oci,tar=false', 'tar', 'local'])
      for (const dest of ['plain-file/x', 'plain-file/x/y']) {
        const spec = `type=${type},dest=${dest}`
        expect(check([spec])).toThrow(expect.objectContaining({ code: 'USAGE' }))
        await expect(writeOutputs([parseOutput(spec)], [plain], tools)).rejects.toMatchObject({ code: 'USAGE' })
      }
    expect(check([`type=oci,dest=${'n'.repeat(300)}`])).toThrow(expect.objectContaining({ code: 'OUTPUT_FAILED' }))
    if (process.getuid!() === 0) return
    mkdirSync(at('closed'), { mode: 0 })
    for (const type of ['oci', 'oci,tar=false', 'tar', 'local'])
      expect(check([`type=${type},dest=closed/x`])).toThrow(expect.objectContaining({ code: 'PERMISSION' }))
  })

  test('a link stays a link, a device is written to', async () => {
    symlinkSync('behind.tar', at('link.tar'))
    writeFileSync(at('behind.tar'), '')
    await writeOutputs([parseOutput('type=oci,dest=link.tar'), parseOutput('type=oci,dest=/dev/null')], [plain], tools)
    expect(lstatSync(at('link.tar')).isSymbolicLink()).toBe(true)
    expect(digestOf('behind.tar')).toBe(GOLDEN_OCI)
    expect(lstatSync('/dev/null').isCharacterDevice()).toBe(true)
  })

  test('standard output', async () => {
    const fd = openSync(at('stdout'), 'w')
    await writeOutputs([parseOutput('type=oci')], [plain], { ...tools, stdout: { isTTY: false, fd } })
    closeSync(fd)
    expect(digestOf('stdout')).toBe(GOLDEN_OCI)
  })
})

// Bytes of the format version (DESIGN §4): times, order, modes, JSON. Another digest means another format.
const GOLDEN_OCI = 'f04f68b27e343d2fd2e7ecb1b8ee5dec78a608ef73b81c15cf1a36bd695d5596'
const GOLDEN_DOCKER = '5d4ac02a4de21de1063b9a6b4683e576bcad54d4605f677756a57906312ee1e2'
