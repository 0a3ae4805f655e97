import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  type Stats,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import { ArchimageError, cancelled, isArchimageError, systemError } from '../errors/error.ts'
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts'
import { MAX_JSON } from '../oci/json.ts'
import { describe, type Manifest, parseManifest } from '../oci/manifest.ts'
import { makeDirsInside, readRegularFile, removeFile, temporaryName, writeAll, writeFileAtomic } from '../sys/files.ts'
import { waitForLock } from '../sys/locks.ts'
import { type Extent, fileExtent, readExtent } from './extent.ts'
import {
  EMPTY_INDEX,
  encodeIndexFile,
  entriesCalled,
  type IndexEntry,
  type IndexFile,
  LAYOUT_VERSION,
  namedEntry,
  parseIndexFile,
  withEntries,
} from './index-file.ts'
import { type NamingTransport, readingOf } from './layout-reading.ts'
import { receive } from './receive.ts'
import { referrersTag, withReferrer } from './referrers.ts'
import { Tops } from './tops.ts'
import type { Transport } from './transport.ts'

export type LayoutTransport = NamingTransport &
  Required<Pick<Transport, 'tags' | 'referrers' | 'deleteTag' | 'deleteManifest' | 'commit' | 'close'>>

const DAY = 86_400_000
/** What a process that was killed leaves behind. */
const TEMPORARY = /^\.[\w.-]+\.\d+-[0-9a-f]{12}\.tmp$/

/**
 * An OCI layout in a folder (image-spec, image-layout.md). What is written is there at once, each file by rename; several
 * processes may write to one layout. `commit` lists what was written by digest only and belongs to nothing else. Links in
 * it are followed for reading, as some tools build layouts of them: digests say what the bytes must be. `place` is
 * what it is called in messages. Reading throws NOT_FOUND where nothing is, MANIFEST_INVALID for what is no layout.
 */
export function layoutTransport(folder: string, place = `layout ${folder}`): LayoutTransport {
  const blobPath = (digest: Digest): string => join(folder, 'blobs', algorithmOf(digest), hexOf(digest))
  const size = (digest: Digest): number | undefined => {
    const stat = look(blobPath(digest))
    return stat?.isFile() ? stat.size : undefined
  }
  const open = (digest: Digest): Extent | undefined => openRegular(blobPath(digest), `${place}: blob ${digest}`)
  let seen: { readonly stat: Stats; readonly file: IndexFile } | undefined
  const index = (): IndexFile => {
    const stat = look(join(folder, 'index.json'))
    if (stat !== undefined && seen !== undefined && sameFile(stat, seen.stat)) return seen.file
    const file = readIndex(folder)
    if (file === undefined) throw noLayout(folder)
    // within the grain of file times two writes look like one
    seen = stat !== undefined && Math.abs(Date.now() - stat.mtimeMs) > 50 ? { stat, file } : undefined
    return file
  }

  let ready = false
  const algorithms = new Set<string>()
  /** Makes the folder a layout before the first write, and a place for the blob. */
  const prepare = (digest?: Digest): void => {
    if (digest !== undefined && !algorithms.has(algorithmOf(digest))) {
      prepare()
      makeDirsInside(folder, join('blobs', algorithmOf(digest)))
      algorithms.add(algorithmOf(digest))
    }
    if (ready) return
    makeFolder(folder)
    if (readRegularFile(join(folder, 'oci-layout'), MAX_JSON) === undefined)
      writeFileAtomic(join(folder, 'oci-layout'), LAYOUT_VERSION)
    ready = true
  }
  const change = (how: (file: IndexFile) => IndexFile, signal: AbortSignal | undefined): Promise<void> => {
    prepare()
    return changeIndex(folder, how, signal)
  }
  const tops = new Tops()
  const writeRaw = ({ digest, raw }: Manifest): void => {
    prepare(digest)
    if (size(digest) !== raw.byteLength) writeFileAtomic(blobPath(digest), raw, 0o644, folder)
  }
  /** With a manifest in the list of what refers to its subject. */
  const withListed = (file: IndexFile, manifest: Manifest, subject: Digest): IndexFile => {
    const tag = referrersTag(subject)
    const there = entriesCalled(file, tag)[0]?.descriptor
    const extent = there && open(there.digest)
    const list = extent && parseManifest(readExtent(extent, there.digest, place), there.mediaType, tag, there.digest)
    const index = withReferrer(list?.kind === 'index' ? list.manifests : [], manifest)
    if (index === undefined) return file
    writeRaw(index)
    return withEntries(file, [namedEntry(describe(index), tag)])
  }

  return {
    ...readingOf({ place, index, size, open }),
    putBlob: async (descriptor, body, options = {}) => {
      if (size(descriptor.digest) === descriptor.size) return 'exists'
      prepare(descriptor.digest)
      const temporary = join(folder, `.blob.${temporaryName()}`)
      let fd = -1
      try {
        fd = openSync(temporary, 'wx', 0o644)
        await receive(descriptor, body, chunk => writeAll(fd, chunk), options)
        closeSync(fd)
        fd = -1
        renameSync(temporary, blobPath(descriptor.digest))
        return 'uploaded'
      } catch (error) {
        if (fd >= 0) closeSync(fd)
        removeFile(temporary)
        throw isArchimageError(error) ? error : systemError(error, `writing blob ${descriptor.digest} into ${place}`)
      }
    },
    putManifest: async (manifest, name, { signal } = {}) => {
      if (signal?.aborted) throw cancelled(signal.reason)
      const { digest } = manifest
      writeRaw(manifest)
      const { subject } = manifest
      // as in registries without the API for it, so that others find it too
      if (name === undefined && subject !== undefined)
        await change(file => withListed(file, manifest, subject.digest), signal)
      else tops.put(manifest, name)
      if (name !== undefined) await change(file => withEntries(file, [namedEntry(describe(manifest), name)]), signal)
      return digest
    },
    deleteTag: async (name, { signal } = {}) => {
      const gone = entriesCalled(index(), name)
      if (gone.length === 0) return false
      await change(file => without(file, entriesCalled(file, name)), signal)
      return true
    },
    deleteManifest: async (tagOrDigest, { signal } = {}) => {
      const those = (file: IndexFile): readonly IndexEntry[] => {
        const digest = entriesCalled(file, tagOrDigest)[0]?.descriptor.digest ?? tagOrDigest
        return file.entries.filter(entry => entry.descriptor.digest === digest)
      }
      if (those(index()).length === 0) return false
      await change(file => without(file, those(file)), signal)
      return true
    },
    commit: async ({ signal } = {}) => {
      const bare = tops.unnamed().map(manifest => namedEntry(describeTop(manifest)))
      if (bare.length > 0) await change(file => withEntries(file, bare), signal)
      if (ready) removeOld(folder)
    },
    close: async () => {},
  }
}

function sameFile(a: Stats, b: Stats): boolean {
  return a.ino === b.ino && a.mtimeMs === b.mtimeMs && a.size === b.size
}

function readIndex(folder: string): IndexFile | undefined {
  const path = join(folder, 'index.json')
  const bytes = readRegularFile(path, MAX_JSON)
  if (typeof bytes === 'string') throw new ArchimageError('MANIFEST_INVALID', `${path} ${bytes}`)
  return bytes && parseIndexFile(bytes, path)
}

/** Writes index.json of a layout anew, under its lock and by rename. Throws MANIFEST_INVALID, UNSUPPORTED, CANCELLED. */
export async function changeIndex(
  folder: string,
  how: (file: IndexFile) => IndexFile,
  signal: AbortSignal = new AbortController().signal,
): Promise<void> {
  const lockPath = join(folder, 'index.lock')
  const lock = await waitForLock(lockPath, 'exclusive', signal)
  try {
    const bytes = encodeIndexFile(how(readIndex(folder) ?? EMPTY_INDEX))
    if (bytes.length > MAX_JSON)
      throw new ArchimageError('UNSUPPORTED', `${folder}: its index.json would have more than ${MAX_JSON} bytes`)
    writeFileAtomic(join(folder, 'index.json'), bytes)
  } finally {
    // who waits for it sees that the file is another one, and takes that
    removeFile(lockPath)
    lock.release()
  }
}

function without(file: IndexFile, gone: readonly IndexEntry[]): IndexFile {
  return { ...file, entries: file.entries.filter(entry => !gone.includes(entry)) }
}

/** Those who look for artifacts see their type without reading them. */
function describeTop(manifest: Manifest) {
  const { artifactType } = manifest
  return { ...describe(manifest), ...(artifactType === undefined ? {} : { artifactType }) }
}

function look(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOTDIR' || code === 'ELOOP') return undefined
    throw systemError(error, `looking at ${path}`)
  }
}

/** An open regular file, or undefined where there is none. A fifo or device in its place is not waited for. */
export function openRegular(path: string, what: string): Extent | undefined {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    if (code === 'ELOOP' || code === 'ENXIO') throw new ArchimageError('MANIFEST_INVALID', `${what} is not a file`)
    throw systemError(error, `reading ${what}`)
  }
  const stat = fstatSync(fd)
  if (stat.isFile()) return fileExtent(fd, 0, stat.size, () => closeSync(fd))
  closeSync(fd)
  throw new ArchimageError('MANIFEST_INVALID', `${what} is not a file`)
}

function noLayout(folder: string): ArchimageError {
  const stat = look(folder)
  if (stat === undefined)
    return new ArchimageError('NOT_FOUND', `there is no folder ${folder}`, {
      hint: 'check the path; an OCI layout is a folder with an index.json',
    })
  if (!stat.isDirectory())
    return new ArchimageError('USAGE', `${folder} is no folder`, { hint: `for an archive: oci-archive:${folder}` })
  // what a killed process began, or an empty folder, which a copy may fill
  if (stranger(folder) === undefined) return new ArchimageError('NOT_FOUND', `${folder} is no OCI layout: it is empty`)
  return new ArchimageError('MANIFEST_INVALID', `${folder} is no OCI layout: there is no index.json`, {
    hint: 'name a layout, or to write one a folder that is new or empty; an archive is oci-archive:FILE',
  })
}

/** Refuses a folder that holds other things, as files would be strewn among them. */
function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true })
    if (lstatSync(join(folder, 'index.json'), { throwIfNoEntry: false }) !== undefined) return
    const strange = stranger(folder)
    if (strange === undefined) return
    throw new ArchimageError('USAGE', `${folder} holds "${strange}" and is no OCI layout`, {
      hint: 'name another folder: a new one, an empty one, or a layout',
    })
  } catch (error) {
    if (isArchimageError(error)) throw error
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' || code === 'ENOTDIR')
      throw new ArchimageError('USAGE', `${folder} is no folder, nor can it become one`, {
        hint: 'name another one; for an archive: oci-archive:FILE',
      })
    throw systemError(error, `making ${folder}`)
  }
}

/** Something in a folder that is no part of a layout. */
function stranger(folder: string): string | undefined {
  return readdirSync(folder).find(name => !OWN.includes(name) && !TEMPORARY.test(name))
}

const OWN = ['oci-layout', 'blobs', 'index.lock', 'index.lock.d', 'lost+found']

/** What killed processes left; those that write touch theirs all the time. */
function removeOld(folder: string): void {
  for (const name of readdirSync(folder)) {
    if (!TEMPORARY.test(name)) continue
    const path = join(folder, name)
    const stat = lstatSync(path, { throwIfNoEntry: false })
    if (stat !== undefined && Date.now() - stat.mtimeMs > DAY) removeFile(path)
  }
}
