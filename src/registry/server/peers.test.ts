import { afterAll, beforeAll, expect, test } from 'bun:test'
import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { peer, peerOrThrow } from '../../../test/peers/locate.ts'
import { type Registry, startRegistry } from './start.ts'

const run = promisify(execFile)

/** The program, or undefined where it is not installed; in CI that is an error. */
function find(name: 'skopeo' | 'crane'): string | undefined {
  if (process.env['CI']) return peerOrThrow(name)
  const file = peer(name)
  if (file === undefined) console.error(`skipped: ${name} is not installed`)
  return file
}

const skopeo = find('skopeo')
const crane = find('crane')
const conformance = process.env['OCI_CONFORMANCE']

let registry: Registry
let dir: string
beforeAll(async () => {
  registry = await startRegistry({ port: 0 })
  dir = mkdtempSync(join(tmpdir(), 'archimage-test-'))
  writeLayout(join(dir, 'layout'))
})
afterAll(async () => {
  await registry.close()
  rmSync(dir, { recursive: true })
})

/** The content's length is a multiple of 512. */
function oneFileTar(name: string, content: Uint8Array): Buffer {
  const header = Buffer.alloc(512)
  header.write(name, 0)
  header.write('0000644\x000000000\x000000000\x00', 100)
  header.write(content.byteLength.toString(8).padStart(11, '0'), 124)
  header.write('00000000000\x00        0', 136)
  header.write('ustar\x0000', 257)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\x00 `, 148)
  return Buffer.concat([header, content, Buffer.alloc(1024)])
}

/** An OCI layout of an index with two images that share a layer. */
function writeLayout(layout: string): void {
  mkdirSync(join(layout, 'blobs/sha256'), { recursive: true })
  const put = (mediaType: string, bytes: Uint8Array | string, rest: object = {}) => {
    const hex = createHash('sha256').update(bytes).digest('hex')
    writeFileSync(join(layout, 'blobs/sha256', hex), bytes)
    return { mediaType, digest: `sha256:${hex}`, size: Buffer.byteLength(bytes), ...rest }
  }
  const type = (name: string) => `application/vnd.oci.image.${name}`
  const tar = oneFileTar('random', randomBytes(512 * 6000))
  const layer = put(type('layer.v1.tar+gzip'), gzipSync(tar, { level: 1 }))
  const diffId = `sha256:${createHash('sha256').update(tar).digest('hex')}`
  const manifests = ['amd64', 'arm64'].map(architecture => {
    const rootfs = { type: 'layers', diff_ids: [diffId] }
    const config = put(type('config.v1+json'), JSON.stringify({ architecture, os: 'linux', config: {}, rootfs }))
    const manifest = { schemaVersion: 2, mediaType: type('manifest.v1+json'), config, layers: [layer] }
    return put(type('manifest.v1+json'), JSON.stringify(manifest), { platform: { architecture, os: 'linux' } })
  })
  const mediaType = type('index.v1+json')
  const index = put(mediaType, JSON.stringify({ schemaVersion: 2, mediaType, manifests }))
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [index] }))
}

const topDigest = (layout: string) =>
  (JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as { manifests: { digest: string }[] }).manifests[0]!
    .digest

async function startSparse() {
  const registry = await startRegistry({ port: 0, sparse: true })
  return { address: registry.address, [Symbol.asyncDispose]: () => registry.close() }
}

const PLAIN = ['--src-tls-verify=false', '--dest-tls-verify=false']

test.skipIf(!skopeo)(
  'skopeo pushes, copies and pulls',
  async () => {
    const copy = (...args: string[]) => run(skopeo!, ['copy', '--insecure-policy', '--all', ...args])
    const remote = (name: string) => `docker://${registry.address}/${name}`
    await copy('--dest-tls-verify=false', `oci:${dir}/layout`, remote('team/app:v1'))
    await copy(...PLAIN, remote('team/app:v1'), remote('other/app:v1'))
    await copy('--src-tls-verify=false', remote('other/app:v1'), `oci:${dir}/pulled`)
    expect(topDigest(`${dir}/pulled`)).toBe(topDigest(`${dir}/layout`))
  },
  30_000,
)

test.skipIf(!crane)(
  'crane pushes, validates, copies; 16 at once',
  async () => {
    const remote = (name: string) => `${registry.address}/${name}`
    const call = async (...args: string[]) => (await run(crane!, [...args, '--insecure'])).stdout.trim()
    await Promise.all(
      Array.from({ length: 16 }, (_, i) => call('push', '--index', `${dir}/layout`, remote(`crane/r${i % 4}:t${i}`))),
    )
    const digest = await call('digest', remote('crane/r0:t0'))
    for (let i = 0; i < 16; i++) expect(await call('digest', remote(`crane/r${i % 4}:t${i}`))).toBe(digest)
    await call('validate', '--remote', remote('crane/r3:t3'))
    await call('copy', remote('crane/r0:t0'), remote('crane/copy:v1'))
    expect(await call('ls', remote('crane/copy'))).toBe('v1')
    expect((await call('catalog', registry.address)).split('\n')).toContain('crane/copy')
  },
  30_000,
)

test.skipIf(!conformance)(
  'the conformance suite of the distribution spec (OCI_CONFORMANCE names its program)',
  async () => {
    await using sparse = await startSparse()
    const env: Record<string, string | undefined> = {
      ...process.env,
      OCI_REGISTRY: sparse.address,
      OCI_TLS: 'disabled',
      OCI_VERSION: 'dev',
    }
    // What the suite leaves out unless it is asked.
    for (const name of ['BLOBS_DIGEST_HEADER', 'BLOBS_UPLOAD_CANCEL', 'MANIFESTS_DIGEST_HEADER', 'MANIFESTS_TAG_PARAM'])
      env[`OCI_API_${name}`] = 'true'
    env['OCI_DATA_SPARSE'] = 'true'
    await run(conformance!, { cwd: dir, env, maxBuffer: 1 << 26 })
    const results = readFileSync(join(dir, 'results/junit.xml'), 'utf8')
    expect(results).toMatch(/<testsuites [^>]*tests="\d{4,}"/)
    expect(results).not.toMatch(/ (?:failures|errors|disabled)="[1-9]/)
  },
  60_000,
)
