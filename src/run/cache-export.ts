import { closeSync, mkdirSync, openSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { encodeCache, type StepCache } from '../engines/cached-steps.ts'
import { ArchimageError, isArchimageError, systemError } from '../errors/error.ts'
import { algorithmOf, hexOf } from '../oci/digest.ts'
import { encodeJson, MAX_JSON } from '../oci/json.ts'
import { type Descriptor, describe, encodeIndex, parseManifest } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { makeDir, readRegularFile, removeFile, temporaryName, writeAll, writeFileAtomic } from '../sys/files.ts'
import { waitForLock } from '../sys/locks.ts'
import type { CacheName } from './cache-places.ts'
import { type PublishTools, repositoryOf, target } from './publication.ts'
import { upload } from './upload.ts'

/** As tools name images in the index of a layout. */
const REF_NAME = 'org.opencontainers.image.ref.name'

/** Writes the cache of one service and platform; what is there already is not sent again. The name appears last. */
export async function exportCache(name: CacheName, cache: StepCache, tools: PublishTools): Promise<void> {
  const { manifest, config } = encodeCache(cache)
  tools.store.put(config)
  tools.store.put(manifest.raw)
  if (name.kind === 'local') return writeLayout(name, manifest, tools)
  const { reference } = name
  const publication = { service: name.text, children: [], tags: [{ reference, manifest }] }
  await upload(publication, repositoryOf(reference), false, tools)
  const remote = target(reference, tools)
  const there = await remote.head(reference.tag, { signal: tools.signal })
  if (there?.digest !== manifest.digest) await remote.putManifest(manifest, reference.tag, { signal: tools.signal })
}

async function writeLayout(
  { folder, name }: CacheName & { readonly kind: 'local' },
  manifest: ReturnType<typeof encodeCache>['manifest'],
  tools: PublishTools,
): Promise<void> {
  try {
    makeFolder(folder)
    // blobs are seen only through the index: they come first
    for (const blob of [manifest.config, ...manifest.layers, describe(manifest)]) await writeBlob(folder, blob, tools)
    const lock = await waitForLock(join(folder, 'index.lock'), 'exclusive', tools.signal)
    try {
      const others = entriesOf(folder).filter(entry => entry.annotations?.[REF_NAME] !== name)
      const own = { ...describe(manifest), artifactType: manifest.artifactType!, annotations: { [REF_NAME]: name } }
      writeFileAtomic(join(folder, 'oci-layout'), encodeJson({ imageLayoutVersion: '1.0.0' }))
      const manifests = [...others, own].sort((a, b) => (order(a) < order(b) ? -1 : 1))
      writeFileAtomic(join(folder, 'index.json'), encodeIndex({ docker: false, manifests }).raw)
    } finally {
      lock.release()
    }
  } catch (error) {
    throw isArchimageError(error) ? error : systemError(error, `writing the cache ${folder}`)
  }
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EEXIST' && code !== 'ENOTDIR') throw error
    throw new ArchimageError('USAGE', `${folder} is no folder, nor can it become one`, {
      hint: 'choose another folder for the cache',
    })
  }
}

const order = ({ annotations }: Descriptor): string => annotations?.[REF_NAME] ?? ''

function entriesOf(folder: string): readonly Descriptor[] {
  const path = join(folder, 'index.json')
  const bytes = readRegularFile(path, MAX_JSON)
  if (bytes === undefined) return []
  const index = typeof bytes === 'string' ? undefined : parseManifest(bytes, OCI.index, path)
  if (index?.kind !== 'index')
    throw new ArchimageError('USAGE', `${folder} is no OCI layout: its index.json is none`, {
      hint: 'choose another folder for the cache',
    })
  return index.manifests
}

async function writeBlob(folder: string, blob: Descriptor, { store, blobs, signal }: PublishTools): Promise<void> {
  const directory = join(folder, 'blobs', algorithmOf(blob.digest))
  const path = join(directory, hexOf(blob.digest))
  if (statSync(path, { throwIfNoEntry: false })?.size === blob.size) return
  await blobs.ensure(blob, signal)
  makeDir(join(folder, 'blobs'))
  makeDir(directory)
  const temporary = join(directory, temporaryName())
  const fd = openSync(temporary, 'wx', 0o644)
  try {
    try {
      for await (const chunk of store.open(blob)) writeAll(fd, chunk)
    } finally {
      closeSync(fd)
    }
    renameSync(temporary, path)
  } catch (error) {
    removeFile(temporary)
    throw error
  }
}
