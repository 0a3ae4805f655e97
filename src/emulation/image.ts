import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import { ArchimageError, systemError } from '../errors/error.ts'
import { type Digest, hexOf } from '../oci/digest.ts'
import type { Descriptor, Manifest } from '../oci/manifest.ts'
import { compressionOf } from '../oci/media-types.ts'
import { buildPlatform, formatPlatform, selectPlatform } from '../oci/platform.ts'
import { decompress } from '../sys/compress.ts'
import { writeAll } from '../sys/files.ts'
import type { TarEntry } from '../tar/entry.ts'
import { type TarHandler, TarReader } from '../tar/reader.ts'
import { elfAt, QEMU_NAMES, unfitness } from './qemu.ts'

/**
 * Where emulators come from when nothing else is said: the image that docker's documentation names, of QEMU 10.2.3, by the
 * digest of its index.
 */
export const EMULATOR_IMAGE =
  'docker.io/tonistiigi/binfmt:qemu-v10.2.3@sha256:400a4873b838d1b89194d982c45e5fb3cda4593fbfd7e08a02e76b03b21166f0'

/** A repository that images can be read from; checks digests itself, as those of registry/ and transports/ do. */
export interface ImageSource {
  manifest(digest: string, options?: { signal?: AbortSignal }): Promise<Manifest | undefined>
  blob(descriptor: Descriptor, options?: { signal?: AbortSignal }): Promise<ReadableStream<Uint8Array>>
}

/** Most bytes of one emulator, and of all that is unpacked: QEMU's are below 20 MB each. */
const MAX_FILE = 256 << 20
const MAX_LAYER = 2 ** 32
const FILE = new RegExp(`(?:^|/)qemu-(${Object.values(QEMU_NAMES).join('|')})(?:-static)?$`)

/**
 * Takes the QEMU binaries out of an image for this machine's platform and keeps them below `home`, in a folder named by the
 * image's digest; nothing is fetched when it is there. Gives that folder. Throws NOT_FOUND, PLATFORM_MISSING,
 * EMULATOR_MISSING when no emulator for this machine is in the image, and what the source throws.
 */
export async function fetchEmulators(
  source: ImageSource,
  digest: Digest,
  home: string,
  options: { readonly name?: string; readonly signal?: AbortSignal } = {},
): Promise<string> {
  const { name = digest, signal } = options
  const folder = keptFolder(home, digest)
  if (existsSync(folder)) return folder
  const signals = signal === undefined ? {} : { signal }
  const manifest = await hostManifest(source, digest, name, signals)
  mkdirSync(home, { recursive: true, mode: 0o700 })
  removeOld(home)
  const work = mkdtempSync(join(home, '.fetching-'))
  try {
    const extractor = new Extractor(work)
    for (const layer of manifest.layers) {
      const blob = await source.blob(layer, signals)
      const what = `layer ${layer.digest} of ${name}`
      const reader = new TarReader(extractor, { name: what, endOptional: true })
      const format = compressionOf(layer.mediaType) ?? 'none'
      for await (const chunk of decompress(format, blob, { name: what, limit: MAX_LAYER, ...signals }))
        reader.push(chunk)
      reader.finish()
    }
    if (extractor.kept === 0)
      throw new ArchimageError('EMULATOR_MISSING', `there is no emulator for this machine in ${name}`, {
        hint: `it needs statically linked files qemu-aarch64 and the like; the default is ${EMULATOR_IMAGE}`,
      })
    try {
      renameSync(work, folder)
    } catch (error) {
      // Another process was faster.
      if (!existsSync(folder)) throw systemError(error, `keeping emulators in ${folder}`)
    }
    return folder
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** Where the emulators of an image are, or would be. */
export function keptFolder(home: string, digest: Digest): string {
  return join(home, hexOf(digest).slice(0, 32))
}

/** What processes left that were killed. */
function removeOld(home: string): void {
  for (const name of readdirSync(home)) {
    const path = join(home, name)
    if (name.startsWith('.fetching-') && Date.now() - statSync(path).mtimeMs > 3600_000)
      rmSync(path, { recursive: true, force: true })
  }
}

async function hostManifest(source: ImageSource, digest: Digest, name: string, signals: { signal?: AbortSignal }) {
  let manifest = await source.manifest(digest, signals)
  if (manifest?.kind === 'index') {
    const own = buildPlatform()
    const chosen = selectPlatform(
      own,
      manifest.manifests.map(({ platform }) => platform),
    )
    if (chosen === undefined)
      throw new ArchimageError(
        'PLATFORM_MISSING',
        `${name} has nothing for ${formatPlatform(own)}, which this machine is`,
      )
    manifest = await source.manifest(manifest.manifests[chosen.index]!.digest, signals)
  }
  if (manifest === undefined) throw new ArchimageError('NOT_FOUND', `${name} does not exist`)
  if (manifest.kind === 'index') throw new ArchimageError('MANIFEST_INVALID', `${name} is an index in an index`)
  return manifest
}

/** Writes the files that are emulators of this machine; whatever else is in the archive is passed over. */
class Extractor implements TarHandler {
  readonly #folder: string
  #open: { readonly fd: number; readonly path: string } | undefined
  #kept = new Set<string>()

  constructor(folder: string) {
    this.#folder = folder
  }

  get kept(): number {
    return this.#kept.size
  }

  entry({ path, type, size }: TarEntry): void {
    const [, name] = FILE.exec(path) ?? []
    if (name === undefined || type !== 'file' || size > MAX_FILE) return
    const file = join(this.#folder, `qemu-${name}`)
    this.#open = { fd: openSync(file, 'w', 0o755), path: file }
  }

  data(chunk: Uint8Array): void {
    if (this.#open !== undefined) writeAll(this.#open.fd, chunk)
  }

  end(): void {
    if (this.#open === undefined) return
    const { fd, path } = this.#open
    closeSync(fd)
    this.#open = undefined
    const elf = elfAt(path)
    if (elf !== undefined && unfitness(elf) === undefined) this.#kept.add(path)
    else {
      this.#kept.delete(path)
      rmSync(path)
    }
  }
}
