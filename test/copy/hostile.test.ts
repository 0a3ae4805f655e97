import { afterAll, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hexOf, sha256 } from '../../src/oci/digest.ts'
import { Sandbox } from '../run/command.ts'

const sandbox = new Sandbox('hostile')
afterAll(() => sandbox.dispose())

const EVIL = '\u001b[2J\u001b]0;title\u0007\u009b31m\r\n'

/** A layout in which everything that can be a text moves the cursor. */
function layout(name: string): string {
  const folder = join(sandbox.folder, name)
  mkdirSync(join(folder, 'blobs', 'sha256'), { recursive: true })
  const put = (json: object, mediaType: string) => {
    const bytes = Buffer.from(JSON.stringify(json))
    const digest = sha256(bytes)
    writeFileSync(join(folder, 'blobs', 'sha256', hexOf(digest)), bytes)
    return { mediaType, digest, size: bytes.length }
  }
  const type = (what: string) => `application/vnd.oci.image.${what}.v1+json`
  const annotations = { [`a${EVIL}`]: EVIL }
  const image = (architecture: string, variant?: string) => {
    const of = { architecture, os: 'linux', ...(variant === undefined ? {} : { variant }) }
    const config = {
      ...of,
      ...{ author: EVIL, rootfs: { type: 'layers', diff_ids: [] }, history: [{ created_by: EVIL, empty_layer: true }] },
      config: { Labels: { [EVIL]: EVIL }, Env: [`A=${EVIL}`], User: EVIL, Cmd: [EVIL] },
    }
    const manifest = { schemaVersion: 2, mediaType: type('manifest'), config: put(config, type('config')), layers: [] }
    return { ...put({ ...manifest, annotations }, type('manifest')), platform: of, annotations }
  }
  const manifests = [image('amd64'), image(`arm64${EVIL}`), image('arm64', `v8${EVIL}`)]
  const index = put({ schemaVersion: 2, mediaType: type('index'), manifests, annotations }, type('index'))
  const named = ['v1', `t${EVIL}`].map(tag => ({
    ...index,
    annotations: { 'org.opencontainers.image.ref.name': tag },
  }))
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: named }))
  return folder
}

test('texts out of images and layouts move no cursor', async () => {
  const from = layout('texts')
  const to = join(sandbox.folder, 'to')
  const commands = [
    ['inspect', `oci:${from}:v1`],
    ['inspect', '--json', `oci:${from}:v1`],
    ['inspect', `oci:${from}:v2`],
    ['ls', `oci:${from}`],
    ['ls', '--digests', `oci:${from}`],
    ['copy', '--dry-run', '--json', '-a', `oci:${from}`, `oci:${to}`],
    ['copy', '--json', '-a', `oci:${from}`, `oci:${to}`],
    ['copy', `oci:${from}:v1`, `docker-archive:${to}.tar`],
    ['copy', '--platform', 'linux/s390x', `oci:${from}:v1`, `oci:${to}`],
    ['copy', `oci:${from}:v1`, 'store:evil:1'],
    ['ls'],
    ['verify', 'evil:1'],
    ['manifest', 'create', 'list:1', `oci:${from}:v1`],
    ['manifest', 'ls'],
    ['manifest', 'ls', '--json'],
    ['manifest', 'inspect', 'list:1'],
    ['manifest', 'annotate', 'list:1', 'linux/s390x', '--variant', 'v1'],
    ['mutate', `oci:${from}:v1`, '--label', 'a=b', '-t', `oci:${to}:v2`],
  ]
  for (const command of commands) {
    const { stdout, stderr } = await sandbox.run(command)
    const raw = /[\x00-\x09\x0b-\x1f\x7f-\x9f]/.exec(stdout + stderr)
    expect([command.slice(0, 3).join(' '), raw]).toEqual([command.slice(0, 3).join(' '), null])
  }
})

const OCI = 'application/vnd.oci.image.manifest.v1+json'
const INDEX = 'application/vnd.oci.image.index.v1+json'

/** An index with one image, of which its entry says `more`. */
function lying(name: string, more: object, nested = ''): string {
  const folder = join(sandbox.folder, name)
  mkdirSync(join(folder, 'blobs', 'sha256'), { recursive: true })
  const put = (text: string, mediaType: string) => {
    const bytes = Buffer.from(text)
    writeFileSync(join(folder, 'blobs', 'sha256', hexOf(sha256(bytes))), bytes)
    return { mediaType, digest: sha256(bytes), size: bytes.length }
  }
  const own = { architecture: 'amd64', os: 'linux' }
  const config = put(
    JSON.stringify({ ...own, rootfs: { type: 'layers', diff_ids: [] }, history: [null] }),
    'application/vnd.oci.image.config.v1+json',
  )
  const image = put(JSON.stringify({ schemaVersion: 2, mediaType: OCI, config, layers: [] }), OCI)
  const document = { schemaVersion: 2, mediaType: INDEX, manifests: [{ ...image, platform: own, ...more }] }
  const index = put(`${JSON.stringify(document).slice(0, -1)}${nested}}`, INDEX)
  const entry = { ...index, annotations: { 'org.opencontainers.image.ref.name': 'v1' } }
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }))
  return folder
}

test('an index that says what is not so of its images is not copied', async () => {
  for (const [more, message] of [
    [{ size: 7 }, 'bytes, and what leads to it says 7'],
    [{ mediaType: INDEX }, 'is an image, and what leads to it says'],
  ] as const) {
    const from = lying(`lie-${message.length}`, more)
    for (const flags of [[], ['--platform', 'linux/amd64']]) {
      const { code, stderr } = await sandbox.run(['copy', ...flags, `oci:${from}:v1`, `oci:${from}-to`])
      expect([code, stderr]).toEqual([1, expect.stringContaining(message)])
    }
  }
})

test('JSON that nests without end, and a history of nothing, are errors of the image', async () => {
  const deep = `,"x":${'['.repeat(100_000)}${']'.repeat(100_000)}`
  for (const from of [lying('deep', {}, deep), lying('history', {})])
    for (const command of [['inspect'], ['mutate', '--label', 'a=b', '-t', 'store:x:1']]) {
      const { stdout, stderr } = await sandbox.run([command[0]!, `oci:${from}:v1`, ...command.slice(1)])
      expect(stdout + stderr).toMatch(/nests more than 500 deep|history is not a list of steps/)
      expect(stderr).not.toContain('a bug')
    }
})

test.skipIf(process.platform === 'win32')(
  'a lock that is a pipe or a link is neither waited for nor followed',
  async () => {
    const good = lying('good', {})
    for (const kind of ['pipe', 'link']) {
      const to = lying(`lock-${kind}`, {})
      const lock = join(to, 'index.lock')
      if (kind === 'link') symlinkSync(join(sandbox.folder, 'outside'), lock)
      else execFileSync('mkfifo', [lock])
      const { code, stderr } = await sandbox.run(['copy', `oci:${good}:v1`, `oci:${to}:v2`])
      expect([code, stderr]).toEqual([3, expect.stringContaining('is a link or a pipe')])
    }
    expect(existsSync(join(sandbox.folder, 'outside'))).toBe(false)
  },
)

test('aliases of aliases are a mistake of the file', async () => {
  const file = join(sandbox.folder, 'bomb.yaml')
  const level = (name: string, of: string) => `${name}: &${name} [${Array(9).fill(of).join(',')}]\n`
  writeFileSync(
    file,
    `${level('a', 'x')}${['b', 'c', 'd', 'e', 'f'].map((name, i) => level(name, `*${'abcde'[i]}`)).join('')}image: x\n`,
  )
  const { code, stderr } = await sandbox.run(['manifest', 'from-spec', file])
  expect([code, stderr]).toEqual([2, expect.stringContaining('alias')])
  expect(stderr).not.toContain('a bug')
})

test('files without an end are not read to it', async () => {
  for (const args of [
    ['sync', '/dev/zero', 'localhost:1/x'],
    ['manifest', 'from-spec', '/dev/zero'],
  ]) {
    const { code, stderr } = await sandbox.run(args, { cwd: sandbox.folder })
    expect([args[0], code, stderr]).toEqual([args[0], 2, expect.stringContaining('/dev/zero has more than')])
  }
})
