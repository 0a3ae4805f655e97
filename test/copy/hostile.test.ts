import { afterAll, expect, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
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
