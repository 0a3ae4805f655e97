import { type ArchimageError, isArchimageError } from '../errors/error.ts'
import { configPlatform, parseImageConfig } from '../oci/config.ts'
import type { Digest } from '../oci/digest.ts'
import { type Descriptor, type ImageManifest, isAttestation, type Manifest } from '../oci/manifest.ts'
import { isForeignLayer } from '../oci/media-types.ts'
import { formatPlatform, type Platform, samePlatform } from '../oci/platform.ts'
import type { Transport } from '../transports/transport.ts'

export interface Expectation {
  readonly platforms: readonly Platform[]
  /** What the name should lead to, when it is known. */
  readonly digest?: Digest
}

export interface Verification {
  readonly digest?: Digest
  /** By `formatPlatform`: the digest of the image that is right. */
  readonly cells: Readonly<Record<string, Digest>>
  /** Sentences, each with what it is about. Empty: everything holds. */
  readonly problems: readonly string[]
}

/**
 * Looks an image up where it should be: index, each platform's manifest and config agree on the platform, every blob is
 * there with its size. Layers are asked for, not downloaded. Only failures to reach the place are thrown.
 */
export async function verifyImage(
  transport: Transport,
  name: string,
  expected: Expectation,
  options: { readonly signal?: AbortSignal } = {},
): Promise<Verification> {
  /** Platforms share layers: each is asked for once. */
  const asked = new Map<Digest, Promise<boolean>>()
  const problems: string[] = []
  const cells: Record<string, Digest> = {}
  const top = await attempt(() => transport.manifest(name, options), `"${name}"`, problems)
  if (top === undefined) {
    if (problems.length === 0) problems.push(`"${name}" is not there`)
    return { cells, problems }
  }
  // Something else: what is behind it is not what the question was about.
  if (expected.digest !== undefined && top.digest !== expected.digest)
    return { digest: top.digest, cells, problems: [`"${name}" is ${top.digest}, expected ${expected.digest}`] }
  const children = top.kind === 'index' ? top.manifests.filter(child => !isAttestation(child)) : [undefined]
  const checked = await Promise.all(children.map(child => verifyChild(child, top)))
  for (const { platform, digest, problems: found } of checked) {
    problems.push(...found)
    const key = platform && formatPlatform(platform)
    if (key === undefined || digest === undefined || found.length > 0) continue
    if (key in cells) problems.push(`${key} is in the index twice`)
    cells[key] = digest
  }
  for (const platform of expected.platforms) {
    const there = checked.some(child => child.platform && samePlatform(platform, child.platform))
    if (!there) problems.push(`${formatPlatform(platform)} is missing`)
  }
  return { digest: top.digest, cells, problems }

  function hasBlob(layer: Descriptor): Promise<boolean> {
    const running = asked.get(layer.digest) ?? transport.hasBlob(layer, options)
    asked.set(layer.digest, running)
    return running
  }

  async function verifyChild(
    descriptor: Descriptor | undefined,
    index: Manifest,
  ): Promise<{ platform?: Platform; digest?: Digest; problems: string[] }> {
    const found: string[] = []
    const what = descriptor?.platform ? formatPlatform(descriptor.platform) : (descriptor?.digest ?? 'the image')
    let manifest: Manifest | undefined = index
    if (descriptor) {
      manifest = await attempt(() => transport.manifest(descriptor.digest, options), what, found)
      if (manifest === undefined) {
        if (found.length === 0) found.push(`${what}: its manifest ${descriptor.digest} is not there`)
        return { ...(descriptor.platform ? { platform: descriptor.platform } : {}), problems: found }
      }
      if (manifest.raw.byteLength !== descriptor.size)
        found.push(`${what}: its manifest has ${manifest.raw.byteLength} bytes, the index says ${descriptor.size}`)
    }
    if (manifest.kind !== 'image') return { problems: [`${what}: an index inside an index is no image`] }
    const platform = await configOf(manifest, descriptor, what, found)
    await Promise.all(
      manifest.layers
        .filter(layer => !isForeignLayer(layer.mediaType))
        .map(async layer => {
          const there = await attempt(() => hasBlob(layer), `${what}: layer ${layer.digest}`, found)
          if (there === false) found.push(`${what}: layer ${layer.digest} (${layer.size} bytes) is not there`)
        }),
    )
    const have = descriptor?.platform ?? platform
    return { ...(have ? { platform: have } : {}), digest: manifest.digest, problems: found }
  }

  async function configOf(
    manifest: ImageManifest,
    descriptor: Descriptor | undefined,
    what: string,
    found: string[],
  ): Promise<Platform | undefined> {
    const raw = await attempt(
      async () => collect(await transport.blob(manifest.config, options), manifest.config.size),
      `${what}: config`,
      found,
    )
    if (raw === undefined) return undefined
    const config = await attempt(
      async () => parseImageConfig(raw, `${what}: config ${manifest.config.digest}`),
      what,
      found,
    )
    if (config === undefined) return undefined
    const platform = configPlatform(config)
    if (descriptor?.platform && !samePlatform(descriptor.platform, platform))
      found.push(
        `${what}: the index says ${formatPlatform(descriptor.platform)}, the config says ${formatPlatform(platform)}`,
      )
    if (config.rootfs.diff_ids.length !== manifest.layers.length)
      found.push(`${what}: ${manifest.layers.length} layers, but the config names ${config.rootfs.diff_ids.length}`)
    return platform
  }
}

async function attempt<T>(work: () => Promise<T>, what: string, problems: string[]): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (!isArchimageError(error) || error.exit === 130 || error.exit === 3) throw error
    problems.push(`${what}: ${(error as ArchimageError).message}`)
    return undefined
  }
}

async function collect(stream: ReadableStream<Uint8Array>, size: number): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks, size)
}
