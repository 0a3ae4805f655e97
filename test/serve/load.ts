import { createHash, randomBytes, randomInt } from 'node:crypto'

export interface LoadOptions {
  /** `http://127.0.0.1:5000` */
  readonly url: string
  readonly pulls: number
  readonly pushes: number
  readonly milliseconds: number
  /** Bytes of the layer that each push brings along. */
  readonly layer?: number
}

export interface Load {
  readonly pulled: number
  readonly pushed: number
  readonly bytesPulled: number
  readonly bytesPushed: number
  /** Whatever did not go as it should; with none of them nothing was lost. */
  readonly errors: readonly string[]
}

interface Layer {
  readonly digest: string
  readonly size: number
  readonly bytes: Uint8Array<ArrayBuffer>
}

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const REPOSITORIES = 4
const TAGS = 8

const sha = (bytes: Uint8Array | string) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

/**
 * Pulls and pushes images in parallel for a time: each push brings one new layer (in one request, streamed, or in chunks), shares
 * another with all repositories, and moves a tag; each pull takes a tag that was pushed before and hashes all that it gets.
 * At the end every tag must be what was pushed last, with all of its blobs.
 */
export async function runLoad({ url, pulls, pushes, milliseconds, layer = 1 << 18 }: LoadOptions): Promise<Load> {
  const tally = { pulled: 0, pushed: 0, bytesPulled: 0, bytesPushed: 0 }
  const errors: string[] = []
  const tags = new Map<string, string>()
  const shared = layerOf(randomBytes(1 << 20))
  const end = performance.now() + milliseconds

  const call = async (what: string, path: string, status: number | readonly number[], init: RequestInit = {}) => {
    const response = await fetch(path.startsWith('http') ? path : url + path, { redirect: 'manual', ...init })
    const wanted = [status].flat()
    if (wanted.includes(response.status)) return response
    throw new Error(`${what}: ${response.status} ${(await response.text()).slice(0, 300)}`)
  }
  const read = async (what: string, path: string, digest?: string): Promise<Uint8Array> => {
    const response = await call(what, path, 200, { headers: { accept: MANIFEST } })
    const bytes = await response.bytes()
    tally.bytesPulled += bytes.length
    const found = sha(bytes)
    const wanted = digest ?? response.headers.get('docker-content-digest')
    if (found !== wanted) throw new Error(`${what}: ${found} instead of ${wanted}`)
    return bytes
  }
  const upload = async (repository: string, { digest, bytes }: Layer, way: number): Promise<void> => {
    const opened = await call('POST', `/v2/${repository}/blobs/uploads/`, 202, { method: 'POST' })
    let location = opened.headers.get('location')!
    const withDigest = () => `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`
    if (way === 0) {
      await call('PUT', withDigest(), 201, { method: 'PUT', body: bytes })
      return
    }
    for (let at = 0; at < bytes.length; ) {
      const to = way === 1 ? bytes.length : Math.min(bytes.length, at + (1 << 16))
      const body = bytes.slice(at, to)
      const headers = way === 1 ? {} : { 'content-range': `${at}-${to - 1}` }
      const patched = await call('PATCH', location, 202, { method: 'PATCH', body, headers })
      location = patched.headers.get('location')!
      at = to
    }
    await call('PUT', withDigest(), 201, { method: 'PUT' })
  }
  const need = async (repository: string, blob: Layer, way: number): Promise<void> => {
    const there = await call('HEAD', `/v2/${repository}/blobs/${blob.digest}`, [200, 404], { method: 'HEAD' })
    if (there.status === 200) return
    await upload(repository, blob, way)
    tally.bytesPushed += blob.size
  }
  const push = async (worker: number, round: number): Promise<void> => {
    const repository = `load/r${worker % REPOSITORIES}`
    const bytes = randomBytes(layer + randomInt(layer))
    const own = layerOf(bytes)
    const config = layerOf(
      Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64', worker, round: round % 50 })),
    )
    await need(repository, shared, 0)
    await need(repository, config, 1)
    await need(repository, own, round % 3)
    const describe = ({ digest, size }: Layer, mediaType: string) => ({ mediaType, digest, size })
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: describe(config, 'application/vnd.oci.image.config.v1+json'),
      layers: [shared, own].map(each => describe(each, 'application/vnd.oci.image.layer.v1.tar')),
    })
    const tag = `w${worker}-${round % TAGS}`
    const headers = { 'content-type': MANIFEST }
    await call('PUT manifest', `/v2/${repository}/manifests/${tag}`, 201, { method: 'PUT', body: manifest, headers })
    tags.set(`${repository}/manifests/${tag}`, sha(manifest))
    tally.pushed++
  }
  const pull = async (path: string, digest?: string): Promise<void> => {
    const manifest = await read('GET manifest', `/v2/${path}`, digest)
    const { config, layers } = JSON.parse(Buffer.from(manifest).toString()) as { config: Layer; layers: Layer[] }
    const repository = path.slice(0, path.indexOf('/manifests/'))
    for (const blob of [config, ...layers])
      await read('GET blob', `/v2/${repository}/blobs/${blob.digest}`, blob.digest)
    tally.pulled++
  }
  const loop = async (work: (round: number) => Promise<void>): Promise<void> => {
    for (let round = 0; performance.now() < end && errors.length < 20; round++)
      await work(round).catch(error => errors.push(String(error)))
  }
  await push(0, 0)
  await Promise.all([
    ...Array.from({ length: pushes }, (_, worker) => loop(round => push(worker, round))),
    ...Array.from({ length: pulls }, () =>
      loop(() => {
        const all = [...tags.keys()]
        return pull(all[randomInt(all.length)]!)
      }),
    ),
  ])
  const counted = { ...tally }
  for (const [path, digest] of tags)
    await pull(path, digest).catch(error => errors.push(`at the end, ${path}: ${error}`))
  return { ...counted, errors }
}

function layerOf(bytes: Uint8Array): Layer {
  return { digest: sha(bytes), size: bytes.length, bytes: bytes as Uint8Array<ArrayBuffer> }
}
