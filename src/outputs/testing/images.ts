import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { sha256 } from '../../oci/digest.ts'
import { type Descriptor, describe, encodeImageManifest, encodeIndex } from '../../oci/manifest.ts'
import { OCI } from '../../oci/media-types.ts'
import { parsePlatform } from '../../oci/platform.ts'
import { parseReference } from '../../oci/reference.ts'
import { openStore, type Store } from '../../store/store.ts'
import { removeTree } from '../../sys/remove-tree.ts'
import type { TarEntry } from '../../tar/entry.ts'
import { END_OF_ARCHIVE, encodeHeader, padding } from '../../tar/writer.ts'
import type { OutputImage, OutputTools } from '../image.ts'

/** One entry of a layer: a file with this text unless `type` says something else. */
export type Item = { readonly path: string; readonly text?: string } & Partial<TarEntry>

export interface Bench extends AsyncDisposable {
  readonly folder: string
  readonly store: Store
  readonly warnings: string[]
  readonly tools: OutputTools
  /** An image with these layers for each platform. */
  image(layers: Readonly<Record<string, readonly (readonly Item[])[]>>, options?: ImageOptions): OutputImage
}

export interface ImageOptions {
  readonly service?: string
  readonly names?: readonly string[]
  readonly mediaType?: string
}

/** A store in a temporary folder, and images made by hand: no other room has a say in what they contain. */
export function openBench(): Bench {
  const folder = mkdtempSync(join(tmpdir(), 'archimage-outputs-'))
  const store = openStore({ home: join(folder, 'store') })
  const warnings: string[] = []
  const put = (bytes: Uint8Array, mediaType: string): Descriptor => ({
    mediaType,
    digest: store.put(bytes),
    size: bytes.length,
  })
  return {
    folder,
    store,
    warnings,
    tools: {
      store,
      fetch: async () => {},
      signal: new AbortController().signal,
      stdout: { isTTY: false },
      emit: { warning: message => warnings.push(message) },
      directory: folder,
      env: {},
    },
    image(layers, { service = 'app', names = ['app:1.0'], mediaType = OCI.layerGzip } = {}) {
      const members = Object.entries(layers).map(([name, list]) => {
        const platform = parsePlatform(name)
        const tars = list.map(tarOf)
        const descriptors = tars.map(tar => put(mediaType === OCI.layer ? tar : gzipSync(tar), mediaType))
        const config = JSON.stringify({
          created: '1980-02-01T00:00:00Z',
          ...platform,
          config: {},
          rootfs: { type: 'layers', diff_ids: tars.map(tar => sha256(tar)) },
        })
        const manifest = encodeImageManifest({
          docker: false,
          config: put(Buffer.from(config), OCI.config),
          layers: descriptors,
        })
        store.put(manifest.raw)
        return { platform, manifest }
      })
      const index = encodeIndex({
        docker: false,
        manifests: members.map(({ platform, manifest }) => describe(manifest, platform)),
      })
      store.put(index.raw)
      return { service, names: names.map(parseReference), index, members }
    },
    [Symbol.asyncDispose]: async () => {
      store.close()
      removeTree(folder)
    },
  }
}

function tarOf(items: readonly Item[]): Buffer {
  const parts = items.flatMap(({ text, ...item }) => {
    const bytes = Buffer.from(text ?? '')
    const size = bytes.length
    const entry: TarEntry = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 1_000_000_000, ...item, size }
    return [encodeHeader(entry), bytes, Buffer.alloc(padding(size))]
  })
  return Buffer.concat([...parts, END_OF_ARCHIVE])
}
