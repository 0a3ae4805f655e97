import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { resultOf, Sandbox, states } from './command.ts'
import { putBase, Remote, sha256, tarOf } from './images.ts'

const sandbox = new Sandbox('bases')
let registry: FaultyRegistry

beforeAll(async () => {
  registry = await startFaultyRegistry()
  sandbox.mirror(registry.address)
  await putBase(new Remote(registry, 'library/alpine'), '3')
})
afterAll(async () => {
  await registry.close()
  await sandbox.dispose()
})

const remote = (name: string): Remote => new Remote(registry, name)
const push = (name: string, ...more: string[]): string[] => [
  ...['build', '--push', '--registry', `${registry.address}/${name}`, '--platform', 'linux/amd64'],
  ...more,
]
const store = (name: string): { ARCHIMAGE_HOME: string } => ({ ARCHIMAGE_HOME: join(sandbox.folder, `store-${name}`) })
const noise = (size: number, seed: string): Buffer => {
  const blocks: Buffer[] = []
  for (let i = 0; i * 64 < size; i++) blocks.push(createHash('sha512').update(`${seed} ${i}`).digest())
  return Buffer.concat(blocks).subarray(0, size)
}

describe('a layer of ours as a base', () => {
  for (const compression of ['gzip', 'zstd'])
    test(`COPY --from of the last file of 5 MiB, ${compression}`, async () => {
      const last = noise(1_300_000, 'last')
      const base = sandbox.project(`base-${compression}`, {
        'src/data/Dockerfile': 'FROM scratch\nCOPY files /data/\n',
        'src/data/files/a': noise(2_500_000, 'a'),
        'src/data/files/b': noise(1_500_000, 'b'),
        'src/data/files/z': last,
      })
      const name = `ours${compression}`
      const output = `type=registry,compression=${compression}`
      await sandbox.must(push(name, '-o', output), { cwd: base, env: store('one') })
      const image = await remote(`${name}/data`).manifest(
        (await remote(`${name}/data`).entry('latest', 'linux/amd64')).digest,
      )
      expect(image.layers![0]!.mediaType).toBe(`application/vnd.oci.image.layer.v1.tar+${compression}`)
      const user = sandbox.project(`user-${compression}`, {
        'src/app/Dockerfile': `FROM scratch\nCOPY --from=${registry.address}/${name}/data /data/z /z\n`,
        'src/again/Dockerfile': `FROM ${registry.address}/${name}/data\nWORKDIR /data/below\n`,
      })
      // The store that wrote it, and one that never saw it.
      for (const where of ['one', `two-${compression}`]) {
        await sandbox.must(push(`user${where}`, '--force'), { cwd: user, env: store(where) })
        const app = remote(`user${where}/app`)
        const layer = (await app.manifest((await app.entry('latest', 'linux/amd64')).digest)).layers![0]!
        const tar = gunzipSync(await app.blob(layer.digest))
        const at = tar.indexOf('z\0')
        expect(sha256(tar.subarray(at + 512, at + 512 + last.length))).toBe(sha256(last))
      }
    })
})

describe('a base whose layers have no entries for directories', () => {
  test('keeps the modes of /tmp and /root when something is copied into them', async () => {
    const image = remote('library/implied')
    const modes = tarOf({ tmp: undefined, root: undefined })
    // 1777 and 0700, with the checksums of the headers made anew.
    for (const [i, mode] of ['0001777', '0000700'].entries()) {
      const header = modes.subarray(i * 512, i * 512 + 512)
      header.write(`${mode}\0`, 100)
      header.write('        ', 148)
      const sum = header.reduce((total, byte) => total + byte, 0)
      header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
    }
    const layers = [modes, tarOf({ 'tmp/one': '1\n', 'root/two': '2\n' })]
    const config = Buffer.from(
      JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: layers.map(sha256) } }),
    )
    const type = 'application/vnd.oci.image'
    await image.putManifest('1', {
      schemaVersion: 2,
      mediaType: `${type}.manifest.v1+json`,
      config: { mediaType: `${type}.config.v1+json`, digest: await image.putBlob(config), size: config.length },
      layers: await Promise.all(
        layers.map(async tar => ({
          mediaType: `${type}.layer.v1.tar`,
          digest: await image.putBlob(tar),
          size: tar.length,
        })),
      ),
    })
    const project = sandbox.project('implied', {
      'src/app/Dockerfile': 'FROM implied:1\nCOPY a /tmp/a\nCOPY a /root/deeper/a\n',
      'src/app/a': 'a\n',
    })
    await sandbox.must(push('implied'), { cwd: project })
    const app = remote('implied/app')
    const manifest = await app.manifest((await app.entry('latest', 'linux/amd64')).digest)
    const found: Record<string, string> = {}
    for (const { digest } of manifest.layers!.slice(2)) {
      const tar = gunzipSync(await app.blob(digest))
      for (let at = 0; at < tar.length && tar[at] !== 0; at += 512 + Math.ceil(size(tar, at) / 512) * 512)
        found[
          tar
            .subarray(at, at + 100)
            .toString()
            .replace(/\0.*$/s, '')
        ] = tar.subarray(at + 100, at + 107).toString()
    }
    expect(found).toMatchObject({ 'tmp/': '0001777', 'root/': '0000700', 'root/deeper/': '0000755' })
  })
})

const size = (tar: Buffer, at: number): number => Number.parseInt(tar.subarray(at + 124, at + 135).toString(), 8)

describe('layers that nobody reads', () => {
  const files = { 'src/app/Dockerfile': 'FROM alpine:3\nENV A=b\nLABEL c=d\n' }
  const layerOf = async (): Promise<string> =>
    (await remote('library/alpine').manifest((await remote('library/alpine').entry('3', 'linux/amd64')).digest))
      .layers![0]!.digest
  const reads = (digest: string): number =>
    registry.requests.filter(request => request.method === 'GET' && request.path.endsWith(digest)).length

  test('are not fetched, mounted where the registry is the same, and count as there', async () => {
    const project = sandbox.project('unread', files)
    const env = store('unread')
    registry.requests.length = 0
    await sandbox.must(['build', '--platform', 'linux/amd64'], { cwd: project, env })
    await sandbox.must(['verify', '--platform', 'linux/amd64'], { cwd: project, env })
    await sandbox.must(push('unread', '--registry', `${registry.address}/unread`), { cwd: project, env })
    await sandbox.must(['build', '--platform', 'linux/amd64'], { cwd: project, env })
    expect(states(project)).toEqual({ 'app linux/amd64': 'unchanged' })
    // docker.io is a mirror here, so that this registry is not known to be where the layer is: it is fetched once, to be sent.
    expect(reads(await layerOf())).toBeLessThanOrEqual(1)
    const direct = sandbox.project('direct', {
      'src/app/Dockerfile': `FROM ${registry.address}/library/alpine:3\nENV A=c\n`,
    })
    registry.requests.length = 0
    await sandbox.must(push('direct'), { cwd: direct, env: store('direct') })
    expect(reads(await layerOf())).toBe(0)
    expect(registry.requests.some(request => request.path.includes('mount='))).toBe(true)
  })

  test('are fetched once when they have to go elsewhere', async () => {
    const second = await startFaultyRegistry()
    const project = sandbox.project('elsewhere', {
      'src/a/Dockerfile': `FROM ${registry.address}/library/alpine:3\nENV A=a\n`,
      'src/b/Dockerfile': `FROM ${registry.address}/library/alpine:3\nENV A=b\n`,
    })
    registry.requests.length = 0
    const flags = ['build', '--push', '--registry', `${second.address}/team`, '--platform', 'linux/amd64']
    await sandbox.must(flags, { cwd: project, env: store('elsewhere') })
    expect(reads(await layerOf())).toBe(1)
    expect(resultOf(project).services.every(service => service.verified[0]!.ok)).toBe(true)
    await second.close()
  })
})

describe('an image that this store built', () => {
  test('serves as a base in another project, and the registry is not asked', async () => {
    const env = store('local')
    const first = sandbox.project('first', {
      'src/shared/Dockerfile': 'FROM scratch\nCOPY <<EOF /from\nthe store\nEOF\n',
    })
    await sandbox.must(['build', '-t', 'v1', '--platform', 'linux/amd64'], { cwd: first, env })
    const second = sandbox.project('second', { 'src/app/Dockerfile': 'FROM shared:v1\nENV A=b\n' })
    registry.requests.length = 0
    await sandbox.must(['build', '--platform', 'linux/amd64'], { cwd: second, env })
    expect(registry.requests).toEqual([])
  })

  test('does not stand in for the registry’s under the name of a service of the same project', async () => {
    await putBase(remote('library/redis'), 'latest', ['linux/amd64'])
    const env = store('self')
    const project = sandbox.project('self', { 'src/redis/Dockerfile': 'FROM redis\nCOPY a /\n', 'src/redis/a': 'a\n' })
    const first = await sandbox.must(['build', '--platform', 'linux/amd64'], { cwd: project, env })
    const second = await sandbox.must(['build', '--platform', 'linux/amd64'], { cwd: project, env })
    expect(second.stdout).toBe(first.stdout)
    expect(states(project)).toEqual({ 'redis linux/amd64': 'unchanged' })
  })
})

describe('flags of one image in a project', () => {
  test('-f is the Dockerfile of the service that is named, --build-context counts, folders from archimage.yaml too', async () => {
    const project = sandbox.project('flags', {
      'archimage.yaml': 'services:\n  app:\n    build-contexts: { shared: common }\n',
      'src/app/Dockerfile': 'FROM scratch\nCOPY --from=shared file /file\n',
      'src/app/Other': 'FROM scratch\nCOPY --from=shared file /other\nCOPY --from=more file /more\n',
      'src/web/Dockerfile': 'FROM scratch\n',
      'common/file': 'common\n',
      'more/file': 'more\n',
      'else/nothing': '',
    })
    // From another directory: paths of the file are relative to the file.
    await sandbox.must(['build', 'app', '--project', '../archimage.yaml', ...push('flags').slice(1)], {
      cwd: join(project, 'else'),
    })
    expect(await remote('flags/app').files('latest', 'linux/amd64')).toEqual({ file: 'common\n' })
    const flags = ['app', '-f', 'src/app/Other', '--build-context', 'more=more', '-t', 'other']
    await sandbox.must([...push('flags'), ...flags], { cwd: project })
    expect(await remote('flags/app').files('other', 'linux/amd64')).toEqual({ other: 'common\n', more: 'more\n' })
    const { code, stderr } = await sandbox.run(['build', '-f', 'src/app/Other'], { cwd: project })
    expect([code, stderr]).toEqual([2, expect.stringContaining('--file is for one image')])
  })
})

test('links that lead out of the context are copied as links, and what they point to is never read', async () => {
  const project = sandbox.project('outside', {
    'src/app/Dockerfile': 'FROM scratch\nCOPY . /all/\n',
    'src/app/inside/a': 'a\n',
    'secret.txt': 'not for you\n',
  })
  symlinkSync('../../../secret.txt', join(project, 'src/app/inside/up'))
  symlinkSync('/etc/passwd', join(project, 'src/app/absolute'))
  symlinkSync('../..', join(project, 'src/app/folder'))
  await sandbox.must(push('outside'), { cwd: project })
  const app = remote('outside/app')
  const { layers } = await app.manifest((await app.entry('latest', 'linux/amd64')).digest)
  const tar = gunzipSync(await app.blob(layers![0]!.digest))
  const links: Record<string, string> = {}
  for (let at = 0; at < tar.length && tar[at] !== 0; at += 512 + Math.ceil(size(tar, at) / 512) * 512) {
    const text = (from: number): string =>
      tar
        .subarray(at + from, at + from + 100)
        .toString()
        .replace(/\0.*$/s, '')
    if (tar[at + 156] === 0x32) links[text(0)] = text(157)
  }
  expect(links).toEqual({
    'all/inside/up': '../../../secret.txt',
    'all/absolute': '/etc/passwd',
    'all/folder': '../..',
  })
  expect(tar.includes('not for you')).toBe(false)
  expect(tar.includes('root:')).toBe(false)
})
