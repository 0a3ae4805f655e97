import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

interface Entry {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly annotations?: Readonly<Record<string, string>>
}

/**
 * An OCI layout read by the letter of the image spec (image-layout.md), with nothing of the store's own code. Throws at the
 * first thing that is wrong; returns the names with their digests, and the digests of all blobs.
 */
export function readLayout(root: string) {
  const must = (condition: boolean, message: string): void => {
    if (!condition) throw new Error(message)
  }
  const layout = JSON.parse(readFileSync(join(root, 'oci-layout'), 'utf8'))
  must(layout.imageLayoutVersion === '1.0.0', 'oci-layout')
  const blobs = new Map<string, Buffer>()
  for (const name of readdirSync(join(root, 'blobs', 'sha256'))) {
    const bytes = readFileSync(join(root, 'blobs', 'sha256', name))
    must(/^[0-9a-f]{64}$/.test(name), `a blob is named ${name}`)
    must(createHash('sha256').update(bytes).digest('hex') === name, `blob ${name} is damaged`)
    blobs.set(`sha256:${name}`, bytes)
  }
  const index = JSON.parse(readFileSync(join(root, 'index.json'), 'utf8'))
  must(index.schemaVersion === 2 && Array.isArray(index.manifests), 'index.json')
  const names = new Map<string, string>()
  const follow = (entry: Entry, why: string): void => {
    const bytes = blobs.get(entry.digest)
    must(bytes !== undefined, `${why}: ${entry.digest} is missing`)
    must(bytes!.length === entry.size, `${why}: ${entry.digest} has ${bytes!.length} bytes instead of ${entry.size}`)
    if (!/\.image\.(index|manifest)\.v1\+json$/.test(entry.mediaType)) return
    const json = JSON.parse(bytes!.toString())
    const children = [...(json.manifests ?? []), ...(json.layers ?? []), ...(json.config?.digest ? [json.config] : [])]
    for (const child of children) follow(child, `${why} > ${entry.digest.slice(7, 19)}`)
  }
  for (const entry of index.manifests as Entry[]) {
    const name = entry.annotations?.['org.opencontainers.image.ref.name'] ?? ''
    must(!names.has(name), `${name} is named twice`)
    names.set(name, entry.digest)
    follow(entry, name)
  }
  return { names, blobs: new Set(blobs.keys()) }
}
