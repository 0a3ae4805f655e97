import { afterAll, describe, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { requirePeers } from '../../test/peers/require.ts'
import { encodePath } from '../tar/path-bytes.ts'
import { parseOutput } from './parse.ts'
import { type Item, openBench } from './testing/images.ts'
import { writeOutputs } from './write.ts'

const bench = openBench()
afterAll(() => bench[Symbol.asyncDispose]())
const { tools, folder } = bench
const at = (name: string): string => join(folder, name)
const text = (name: string): string => readFileSync(at(name), 'utf8')
const write = (spec: string, image: ReturnType<typeof bench.image>): Promise<void> =>
  writeOutputs([parseOutput(spec)], [image], tools)
const amd64 = (...layers: Item[][]): ReturnType<typeof bench.image> => bench.image({ 'linux/amd64': layers })
const dir = (path: string, mode = 0o755): Item => ({ path, type: 'dir', mode })

const rich = amd64(
  [
    dir('bin'),
    { path: 'bin/tool', text: 'tool', mode: 0o4755, uid: 1234, gid: 5 },
    { path: 'bin/again', type: 'hardlink', link: 'bin/tool', mode: 0o4755, uid: 1234, gid: 5 },
    { path: 'gone', text: 'covered by a whiteout' },
    { path: 'link', type: 'symlink', link: '/etc/passwd', mode: 0o777 },
    dir('closed', 0o555),
    { path: 'closed/inside', text: 'i' },
    { path: 'old', text: 'o', mtime: -86_400 },
    { path: 'pipe', type: 'fifo', mode: 0o620 },
    { path: 'caf\udce9', text: 'latin-1' },
  ],
  [{ path: '.wh.gone' }, { path: 'bin/new', text: 'n', mtime: 1_500_000_000 }],
)

describe('one platform', () => {
  test('modes, times, links and names are those of the image; the owner is the caller', async () => {
    await write('type=local,dest=rich', rich)
    expect(lstatSync(at('rich/bin/tool')).mode & 0o7777).toBe(0o4755)
    expect(lstatSync(at('rich/bin/tool')).uid).toBe(process.getuid!())
    expect(lstatSync(at('rich/bin/again')).ino).toBe(lstatSync(at('rich/bin/tool')).ino)
    expect(readlinkSync(at('rich/link'))).toBe('/etc/passwd')
    expect(lstatSync(at('rich/link')).mtimeMs).toBe(1_000_000_000_000)
    expect(lstatSync(at('rich/closed')).mode & 0o7777).toBe(0o555)
    expect(lstatSync(at('rich/closed')).mtimeMs).toBe(1_000_000_000_000)
    expect(lstatSync(at('rich/bin/new')).mtimeMs).toBe(1_500_000_000_000)
    if (process.platform === 'linux') expect(lstatSync(at('rich/old')).mtimeMs).toBe(-86_400_000)
    expect(lstatSync(at('rich/pipe')).isFIFO()).toBe(true)
    expect(existsSync(at('rich/gone'))).toBe(false)
    expect(readdirSync(at('rich'), { encoding: 'buffer' }).some(name => name.equals(encodePath('caf\udce9')))).toBe(
      true,
    )
  })

  test('devices are made by root, and left out with a warning by others', async () => {
    await write(
      'type=local,dest=devices',
      amd64([{ path: 'null', type: 'char', major: 1, minor: 3, mode: 0o666 }, { path: 'f' }]),
    )
    const root = process.platform === 'linux' && process.getuid!() === 0
    expect(existsSync(at('devices/null'))).toBe(root)
    if (root) expect(lstatSync(at('devices/null')).rdev).toBe(0x103)
    expect(bench.warnings.filter(text => text.includes('devices of the image (1) were left out')).length).toBe(
      root ? 0 : 1,
    )
    expect(existsSync(at('devices/f'))).toBe(true)
  })

  requirePeers('tar')('a tar has the same files, with the owners of the image', async () => {
    await write('type=tar,dest=rich.tar', rich)
    const list = execFileSync('tar', ['tvf', at('rich.tar'), '--numeric-owner'], {
      encoding: 'utf8',
      env: { TZ: 'UTC' },
    })
    expect(list).toContain('-rwsr-xr-x 1234/5')
    expect(list).toContain('h')
    mkdirSync(at('untarred'))
    execFileSync('tar', ['xpf', at('rich.tar'), '-C', at('untarred'), '--no-same-owner'])
    expect(
      execFileSync('diff', ['-r', '--no-dereference', at('untarred/bin'), at('rich/bin')], { encoding: 'utf8' }),
    ).toBe('')
    const find = (name: string): string =>
      execFileSync('find', ['.', '-mindepth', '1', '-printf', '%P %y %m %T@ %l %n\n'], { cwd: at(name) })
        .toString('latin1')
        .split('\n')
        .sort()
        .join('\n')
    expect(find('untarred')).toBe(find('rich'))
  })

  test('a second time into the same folder: files are replaced, others stay; mode=delete removes them', async () => {
    writeFileSync(at('rich/mine'), 'mine')
    writeFileSync(at('rich/bin/new'), 'changed here')
    await write('type=local,dest=rich', rich)
    expect([text('rich/mine'), text('rich/bin/new')]).toEqual(['mine', 'n'])
    expect(lstatSync(at('rich/bin/again')).ino).toBe(lstatSync(at('rich/bin/tool')).ino)
    expect(readdirSync(at('rich/bin')).sort()).toEqual(['again', 'new', 'tool'])
    await write('type=local,dest=rich,mode=delete', rich)
    expect(existsSync(at('rich/mine'))).toBe(false)
    expect(text('rich/bin/tool')).toBe('tool')
    await write('type=local,dest=rich,mode=delete', amd64([{ path: 'only', text: 'o' }]))
    expect(readdirSync(at('rich'))).toEqual(['only'])
  })
})

describe('several platforms', () => {
  const both = bench.image({
    'linux/amd64': [
      [
        { path: 'same', text: 's' },
        { path: 'app', text: 'amd64' },
      ],
    ],
    'linux/arm/v7': [
      [
        { path: 'same', text: 's' },
        { path: 'app', text: 'arm' },
      ],
    ],
    'windows(10.0.20348.1)/amd64': [[dir('Files'), { path: 'Files/app.exe', text: 'exe' }, dir('Hives')]],
  })

  requirePeers('tar')("folders with buildx's names", async () => {
    await write('type=local,dest=both', both)
    expect(readdirSync(at('both')).sort()).toEqual(['linux_amd64', 'linux_arm_v7', 'windows_amd64'])
    expect(text('both/linux_arm_v7/app')).toBe('arm')
    expect(readdirSync(at('both/windows_amd64'))).toEqual(['app.exe'])
    await write('type=tar,dest=both.tar', both)
    const names = execFileSync('tar', ['tf', at('both.tar')], { encoding: 'utf8' })
      .trim()
      .split('\n')
    expect(names).toContain('linux_arm_v7/app')
    expect(names).toContain('windows_amd64/')
  })

  test('two versions of windows get folders of their own', async () => {
    const versions = bench.image({
      'windows(10.0.17763.1)/amd64': [[dir('Files'), { path: 'Files/a', text: '1' }]],
      'windows(10.0.20348.1)/amd64': [[dir('Files'), { path: 'Files/a', text: '2' }]],
    })
    await write('type=local,dest=versions', versions)
    expect(readdirSync(at('versions')).sort()).toEqual(['windows(10.0.17763.1)_amd64', 'windows(10.0.20348.1)_amd64'])
  })

  test('platform-split=false: one place for all, unless they differ', async () => {
    await expect(write('type=local,dest=merged,platform-split=false', both)).rejects.toMatchObject({
      code: 'OUTPUT_FAILED',
      message: expect.stringContaining('/app of linux/arm/v7 is not the one of linux/amd64'),
    })
    expect(existsSync(at('merged'))).toBe(false)
    const fit = bench.image({
      'linux/amd64': [
        [
          { path: 'same', text: 's' },
          { path: 'app-amd64', text: 'a' },
        ],
      ],
      'linux/arm64': [
        [
          { path: 'same', text: 's' },
          { path: 'app-arm64', text: 'b' },
        ],
      ],
    })
    await write('type=local,dest=merged,platform-split=false', fit)
    expect(readdirSync(at('merged')).sort()).toEqual(['app-amd64', 'app-arm64', 'same'])
  })

  test('platform-split=true: a folder also for one', async () => {
    await write('type=local,dest=split,platform-split=true', amd64([{ path: 'a', text: 'x' }]))
    expect(readdirSync(at('split'))).toEqual(['linux_amd64'])
  })
})

describe('hostile images', () => {
  const outside = at('outside')
  mkdirSync(outside)
  const untouched = (): void => expect(readdirSync(outside)).toEqual([])

  test('a file below a link to elsewhere stays inside', async () => {
    const hostile = amd64([
      { path: 'a', type: 'symlink', link: outside },
      { path: 'a/b', text: 'x' },
      { path: 'up', type: 'symlink', link: '../../outside' },
      { path: 'up/c', text: 'x' },
    ])
    for (const spec of ['type=local,dest=hostile', 'type=local,dest=hostile', 'type=tar,dest=hostile.tar']) {
      await write(spec, hostile)
      untouched()
    }
    expect(readlinkSync(at('hostile/a'))).toBe(outside)
    expect(text(`hostile${outside}/b`)).toBe('x')
    expect(text('hostile/outside/c')).toBe('x')
  })

  test('links that an earlier output left are no way out', async () => {
    await write(
      'type=local,dest=twice',
      amd64([
        { path: 'd', type: 'symlink', link: outside },
        { path: 'f', type: 'symlink', link: join(outside, 'f') },
      ]),
    )
    await write('type=local,dest=twice', amd64([dir('d'), { path: 'd/x', text: 'x' }, { path: 'f', text: 'f' }]))
    untouched()
    expect(text('twice/d/x')).toBe('x')
    expect(text('twice/f')).toBe('f')
    mkdirSync(at('kept'))
    writeFileSync(at('kept/precious'), 'p')
    symlinkSync(at('kept'), at('twice/elsewhere'))
    await write('type=local,dest=twice,mode=delete', amd64([{ path: 'f', text: 'f' }]))
    expect(readdirSync(at('twice'))).toEqual(['f'])
    expect(text('kept/precious')).toBe('p')
  })

  test('a file where a folder was, and the other way round', async () => {
    await write('type=local,dest=kinds', amd64([dir('x'), { path: 'x/y', text: '1' }, { path: 'z', text: '2' }]))
    await write('type=local,dest=kinds', amd64([{ path: 'x', text: 'file' }, dir('z'), { path: 'z/w', text: '3' }]))
    expect([text('kinds/x'), text('kinds/z/w')]).toEqual(['file', '3'])
  })

  test('".." in a layer is refused by the reader of tars', async () => {
    await expect(write('type=local,dest=dots', amd64([{ path: '../outside/e', text: 'x' }]))).rejects.toMatchObject({
      code: 'TAR_INVALID',
    })
    untouched()
    expect(existsSync(at('dots'))).toBe(false)
  })

  test('a damaged layer leaves no folder', async () => {
    const big = bench.image(
      { 'linux/amd64': [[{ path: 'a', text: 'a'.repeat(5000) }]] },
      { mediaType: 'application/vnd.oci.image.layer.v1.tar' },
    )
    await write('type=tar,dest=fine.tar', big)
    const layer = big.members[0]!.manifest.layers[0]!
    const bytes = readFileSync(bench.store.blobPath(layer.digest))
    bytes[1000]! ^= 1
    writeFileSync(bench.store.blobPath(layer.digest), bytes)
    await expect(write('type=local,dest=damaged', big)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' })
    expect(existsSync(at('damaged'))).toBe(false)
    expect(readdirSync(folder).filter(name => name.endsWith('.tmp'))).toEqual([])
  })
})
