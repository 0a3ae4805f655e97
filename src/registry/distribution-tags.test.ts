import { expect } from 'bun:test'
import { startRegistry } from '../../test/peers/index.ts'
import { requirePeers } from '../../test/peers/require.ts'
import { sha256 } from '../oci/digest.ts'
import { encodeImageManifest, parseManifest } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { failure, quickRegistry } from './test-server.ts'

const real = requirePeers('docker-registry')

const CONFIG = Buffer.from('{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}')
const config = { mediaType: OCI.config, digest: sha256(CONFIG), size: CONFIG.byteLength }
const IMAGE = encodeImageManifest({ docker: false, config, layers: [] })

async function filled(host: string) {
  const app = quickRegistry().repository(`${host}/team/app`)
  await app.putBlob(config, () => new Blob([CONFIG]).stream())
  for (const tag of ['1.0', '1.1']) await app.putManifest(IMAGE, tag)
  return app
}

real("distribution's registry deletes by digest: one tag goes, the others stay", async () => {
  await using server = await startRegistry()
  const app = await filled(server.host)
  expect(await app.deleteTag('1.0')).toBe(true)
  expect(await Array.fromAsync(app.tags())).toEqual(['1.1'])
  expect((await quickRegistry().repository(`${server.host}/team/app`).manifest('1.1'))?.digest).toBe(IMAGE.digest)
  expect(await app.deleteTag('1.0')).toBe(false)
  // And again under the same name.
  await app.putManifest(IMAGE, '1.0')
  expect(await app.deleteTag('1.0')).toBe(true)
  expect(await app.deleteTag('1.1')).toBe(true)
  expect((await app.manifest(IMAGE.digest))?.digest).toBe(IMAGE.digest)
})

real('without REGISTRY_STORAGE_DELETE_ENABLED nothing changes', async () => {
  await using server = await startRegistry({ noDelete: true })
  const app = await filled(server.host)
  const error = await failure(app.deleteTag('1.0'))
  expect([error.code, error.hint]).toEqual(['UNSUPPORTED', expect.stringContaining('REGISTRY_STORAGE_DELETE_ENABLED')])
  expect((await Array.fromAsync(app.tags())).sort()).toEqual(['1.0', '1.1'])
  expect((await app.manifest('1.0'))?.digest).toBe(IMAGE.digest)
})

real('it has no referrers API: the tag of the spec lists them', async () => {
  await using server = await startRegistry()
  const app = await filled(server.host)
  const json = JSON.parse(Buffer.from(IMAGE.raw).toString())
  const subject = { mediaType: IMAGE.mediaType, digest: IMAGE.digest, size: IMAGE.raw.byteLength }
  const made = parseManifest(Buffer.from(JSON.stringify({ ...json, artifactType: 'application/x', subject })))
  await app.putManifest(made)
  expect((await Array.fromAsync(app.tags())).includes(`sha256-${IMAGE.digest.slice(7)}`)).toBe(true)
  const fresh = quickRegistry().repository(`${server.host}/team/app`)
  expect((await Array.fromAsync(fresh.referrers(IMAGE.digest))).map(entry => entry.digest)).toEqual([made.digest])
  expect(await Array.fromAsync(fresh.referrers(IMAGE.digest, { artifactType: 'application/y' }))).toEqual([])
  expect(await Array.fromAsync(fresh.referrers(sha256('nothing')))).toEqual([])
})
