import { userCredential } from '../registry/credentials.ts'
import type { HostOptions } from '../registry/registry.ts'
import { every, type SyncEntry, type SyncFile } from './entry.ts'
import type { Fields } from './fields.ts'
import { versionRange } from './version.ts'

const KNOWN = ['images', 'images-by-tag-regex', 'images-by-semver', 'credentials', 'tls-verify', 'cert-dir']

/** The YAML of `skopeo sync --src yaml`: registries, with what to take of each. Throws CONFIG_INVALID. */
export function readSkopeoFile(file: Fields): SyncFile {
  const entries: SyncEntry[] = []
  const hosts: Record<string, HostOptions> = {}
  const warnings: string[] = []
  for (const registry of file.keys) {
    const fields = file.map(registry)
    fields.only(KNOWN, registry)
    const host = hostOptions(fields)
    if (Object.keys(host).length > 0) hosts[registry] = host
    const before = entries.length
    const add = (name: string, at: Fields, more: Partial<SyncEntry>): void => {
      const common = { tags: every, repositories: every, options: {} }
      entries.push({ place: at.place(name), kind: 'repository', source: `${registry}/${name}`, ...common, ...more })
    }
    const images = fields.map('images')
    for (const name of images.keys) {
      const names = images.list(name) ?? []
      add(name, images, names.length === 0 ? {} : { names })
    }
    const byPattern = fields.map('images-by-tag-regex')
    for (const name of byPattern.keys) {
      const pattern = byPattern.pattern(name, byPattern.text(name) ?? '', false)
      add(name, byPattern, { tags: tag => pattern.test(tag) })
    }
    const byVersion = fields.map('images-by-semver')
    for (const name of byVersion.keys)
      add(name, byVersion, { tags: versionRange(byVersion.text(name) ?? '', 'skopeo') })
    if (entries.length === before) warnings.push(`${registry}: no images are named`)
  }
  return { entries, hosts, ownCredentialsOnly: false, warnings }
}

function hostOptions(fields: Fields): HostOptions {
  const credentials = fields.map('credentials')
  credentials.only(['username', 'password'], 'credentials')
  const [username, password] = [credentials.text('username'), credentials.text('password')]
  const tlsVerify = fields.flag('tls-verify')
  const certDir = fields.text('cert-dir')
  return {
    ...(username === undefined ? {} : { credential: userCredential(username, password ?? '') }),
    // True is skopeo's default, and not more than that.
    ...(tlsVerify === false ? { tlsVerify } : {}),
    ...(certDir === undefined ? {} : { certDir }),
  }
}
