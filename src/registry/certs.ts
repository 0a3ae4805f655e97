import { readdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { ArchimageError, systemError } from '../errors/error.ts'
import type { Environment } from './config.ts'

/** PEM texts for one host. */
export interface HostCertificates {
  readonly ca: readonly string[]
  readonly cert?: string
  readonly key?: string
}

/**
 * What `certs.d/HOST[:PORT]` holds for a registry: `*.crt` are authorities, `NAME.cert` with `NAME.key` is the client's
 * certificate (docker's and podman's convention). The user's folder comes first. Throws CREDENTIALS for half a pair.
 */
export function readCertificates(registry: string, env: Environment): HostCertificates | undefined {
  if (!/^[A-Za-z0-9.:[\]-]+$/.test(registry) || registry.startsWith('.')) return undefined
  const user = join(env['XDG_CONFIG_HOME'] || join(env['HOME'] || homedir(), '.config'), 'containers/certs.d')
  for (const folder of [user, '/etc/containers/certs.d', '/etc/docker/certs.d']) {
    const found = readFolder(join(folder, registry))
    if (found !== undefined) return found
  }
  return undefined
}

function readFolder(folder: string): HostCertificates | undefined {
  let names: string[]
  try {
    names = readdirSync(folder).sort()
  } catch {
    return undefined
  }
  const read = (name: string): string => {
    try {
      return readFileSync(join(folder, name), 'utf8')
    } catch (error) {
      throw systemError(error, `reading ${join(folder, name)}`)
    }
  }
  const ca = names.filter(name => name.endsWith('.crt')).map(read)
  const cert = names.find(name => name.endsWith('.cert'))
  const key = names.find(name => name.endsWith('.key'))
  if (cert === undefined && key === undefined) return ca.length === 0 ? undefined : { ca }
  const base = cert?.slice(0, -'.cert'.length)
  if (cert === undefined || !names.includes(`${base}.key`))
    throw new ArchimageError('CREDENTIALS', `${folder}: ${cert ?? key} has no counterpart`, {
      hint: 'a client certificate is a pair: NAME.cert and NAME.key',
    })
  return { ca, cert: read(cert), key: read(`${base}.key`) }
}
