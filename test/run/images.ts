import { createHash } from 'node:crypto'
import { gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib'

const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'
const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const DOCKER_INDEX = 'application/vnd.docker.distribution.manifest.list.v2+json'
const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
const ACCEPT = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST].join(', ')

type Json = Record<string, unknown>

export interface RemoteDescriptor {
  mediaType: string
  digest: string
  size: number
  platform?: { os: string; architecture: string; variant?: string; 'os.version'?: string }
  annotations?: Record<string, string>
}

export interface RemoteManifest {
  mediaType: string
  manifests?: RemoteDescriptor[]
  config?: RemoteDescriptor
  layers?: RemoteDescriptor[]
  annotations?: Record<string, string>
}

export function sha256(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/** A ustar archive of files (text, or undefined for a directory), written by hand so that it does not depend on ours. */
export function tarOf(files: Readonly<Record<string, string | undefined>>): Buffer {
  const blocks: Buffer[] = []
  for (const [name, content] of Object.entries(files)) {
    const data = Buffer.from(content ?? '')
    const header = Buffer.alloc(512)
    header.write(content === undefined ? `${name}/` : name, 0)
    header.write(content === undefined ? '0000755\0' : '0000644\0', 100)
    header.write('0000000\0', 108)
    header.write('0000000\0', 116)
    header.write(`${data.length.toString(8).padStart(11, '0')}\0`, 124)
    header.write('00000000000\0', 136)
    header.write('        ', 148)
    header.write(content === undefined ? '5' : '0', 156)
    header.write('ustar\x0000', 257)
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
    blocks.push(header, data, Buffer.alloc((512 - (data.length % 512)) % 512))
  }
  return Buffer.concat([...blocks, Buffer.alloc(1024)])
}

/** The files of an archive by name, as far as these tests need it: ustar, and PAX paths. */
export function untar(archive: Uint8Array): Record<string, string> {
  const files: Record<string, string> = {}
  const bytes = Buffer.from(archive)
  for (let at = 0; at + 512 <= bytes.length && bytes[at] !== 0; ) {
    const text = (from: number, length: number): string =>
      bytes
        .subarray(at + from, at + from + length)
        .toString('latin1')
        .replace(/\0.*$/s, '')
    const size = Number.parseInt(text(124, 12), 8) || 0
    const type = text(156, 1)
    if (type === '0' || type === '') files[text(0, 100)] = bytes.subarray(at + 512, at + 512 + size).toString()
    at += 512 + Math.ceil(size / 512) * 512
  }
  return files
}

/** What a registry holds, read by plain HTTP. */
export class Remote {
  readonly url: string
  readonly repository: string

  constructor(registry: { readonly url: string }, repository: string) {
    this.url = registry.url
    this.repository = repository
  }

  /** Bytes of a manifest; undefined when there is none. */
  async raw(reference: string): Promise<Buffer | undefined> {
    const answer = await fetch(`${this.url}/v2/${this.repository}/manifests/${reference}`, {
      headers: { accept: ACCEPT },
    })
    return answer.ok ? Buffer.from(await answer.arrayBuffer()) : undefined
  }

  async manifest(reference: string): Promise<RemoteManifest> {
    const raw = await this.raw(reference)
    if (!raw) throw new Error(`${this.repository}:${reference} is not there`)
    return JSON.parse(raw.toString()) as RemoteManifest
  }

  async digest(reference: string): Promise<string | undefined> {
    const raw = await this.raw(reference)
    return raw && sha256(raw)
  }

  async tags(): Promise<string[]> {
    const answer = await fetch(`${this.url}/v2/${this.repository}/tags/list`)
    return answer.ok ? (((await answer.json()) as { tags: string[] | null }).tags ?? []) : []
  }

  async blob(digest: string): Promise<Buffer> {
    const answer = await fetch(`${this.url}/v2/${this.repository}/blobs/${digest}`)
    if (!answer.ok) throw new Error(`${digest} is not there: ${answer.status}`)
    return Buffer.from(await answer.arrayBuffer())
  }

  /** The config of one platform's image. */
  async config(reference: string): Promise<Json & { config?: Json & { Labels?: Json; Env?: string[] } }> {
    const { config } = await this.manifest(reference)
    return JSON.parse((await this.blob(config!.digest)).toString())
  }

  /** The index entry of a platform, written `linux/amd64`. */
  async entry(tag: string, platform: string): Promise<RemoteDescriptor> {
    const entries = (await this.manifest(tag)).manifests ?? []
    const entry = entries.find(
      ({ platform: p }) => [p?.os, p?.architecture, p?.variant].filter(Boolean).join('/') === platform,
    )
    if (!entry) throw new Error(`${tag} has no ${platform}`)
    return entry
  }

  /** All files of one platform's image; later layers win, whiteouts do not occur here. */
  async files(tag: string, platform: string): Promise<Record<string, string>> {
    const { layers } = await this.manifest((await this.entry(tag, platform)).digest)
    const out: Record<string, string> = {}
    for (const layer of layers!) Object.assign(out, untar(unpack(await this.blob(layer.digest))))
    return out
  }

  async putBlob(bytes: Uint8Array): Promise<string> {
    const digest = sha256(bytes)
    const answer = await fetch(`${this.url}/v2/${this.repository}/blobs/uploads/?digest=${digest}`, {
      method: 'POST',
      body: bytes as Uint8Array<ArrayBuffer>,
    })
    if (answer.status !== 201) throw new Error(`blob: ${answer.status} ${await answer.text()}`)
    return digest
  }

  async putManifest(reference: string, document: Json): Promise<string> {
    const body = JSON.stringify(document)
    const answer = await fetch(`${this.url}/v2/${this.repository}/manifests/${reference}`, {
      method: 'PUT',
      body,
      headers: { 'content-type': String(document['mediaType']) },
    })
    if (answer.status !== 201) throw new Error(`manifest: ${answer.status} ${await answer.text()}`)
    return sha256(body)
  }

  async delete(what: 'manifests' | 'blobs', reference: string): Promise<void> {
    const answer = await fetch(`${this.url}/v2/${this.repository}/${what}/${reference}`, { method: 'DELETE' })
    if (answer.status !== 202) throw new Error(`delete: ${answer.status}`)
  }
}

function unpack(bytes: Buffer): Buffer {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return gunzipSync(bytes)
  return bytes
}

export interface ImageParts {
  readonly platform: { readonly os: string; readonly architecture: string; readonly variant?: string }
  /** What the config says, when it is not the platform. */
  readonly configPlatform?: ImageParts['platform']
  readonly files: Readonly<Record<string, string | undefined>>
  readonly config?: Json
  readonly docker?: boolean
  readonly zstd?: boolean
}

/** Puts an image of one layer; gives its descriptor. */
export async function putImage(remote: Remote, parts: ImageParts): Promise<RemoteDescriptor> {
  const tar = tarOf(parts.files)
  const layer = parts.zstd ? zstdCompressSync(tar) : gzipSync(tar)
  const config = Buffer.from(
    JSON.stringify({
      created: '2020-01-01T00:00:00Z',
      ...(parts.configPlatform ?? parts.platform),
      config: { Env: ['PATH=/bin'], ...parts.config },
      rootfs: { type: 'layers', diff_ids: [sha256(tar)] },
      history: [{ created_by: 'by hand' }],
    }),
  )
  const kind = parts.docker
    ? 'vnd.docker.image.rootfs.diff.tar.gzip'
    : `vnd.oci.image.layer.v1.tar+${parts.zstd ? 'zstd' : 'gzip'}`
  const mediaType = parts.docker ? DOCKER_MANIFEST : OCI_MANIFEST
  const document = {
    schemaVersion: 2,
    mediaType,
    config: {
      mediaType: parts.docker
        ? 'application/vnd.docker.container.image.v1+json'
        : 'application/vnd.oci.image.config.v1+json',
      digest: await remote.putBlob(config),
      size: config.length,
    },
    layers: [{ mediaType: `application/${kind}`, digest: await remote.putBlob(layer), size: layer.length }],
  }
  const digest = await remote.putManifest(sha256(JSON.stringify(document)), document)
  return { mediaType, digest, size: JSON.stringify(document).length, platform: parts.platform }
}

/** Puts an index of such images under a tag. */
export async function putIndex(remote: Remote, tag: string, images: readonly ImageParts[]): Promise<string> {
  const manifests: RemoteDescriptor[] = []
  for (const image of images) manifests.push(await putImage(remote, image))
  const docker = images.every(image => image.docker)
  return remote.putManifest(tag, { schemaVersion: 2, mediaType: docker ? DOCKER_INDEX : OCI_INDEX, manifests })
}

/** A base for the usual platforms whose /etc/base names its platform. */
export async function putBase(
  remote: Remote,
  tag: string,
  platforms: readonly string[] = ['linux/amd64', 'linux/arm64'],
  more: Partial<ImageParts> = {},
): Promise<string> {
  return putIndex(
    remote,
    tag,
    platforms.map(text => {
      const [os, architecture, variant] = text.split('/') as [string, string, string?]
      const files = { etc: undefined, 'etc/base': `${remote.repository}:${tag} ${text}\n` }
      return { platform: { os, architecture, ...(variant ? { variant } : {}) }, files, ...more }
    }),
  )
}
