import { closeSync } from 'node:fs'
import { ArchimageError, cancelled, isArchimageError } from '../errors/error.ts'
import { type Digest, isDigest } from '../oci/digest.ts'
import { isRecord } from '../oci/json.ts'
import { describe, isAttestation, type Manifest } from '../oci/manifest.ts'
import { formatReference, parseReference, type Reference } from '../oci/reference.ts'
import { openUnnamed } from '../sys/files.ts'
import { type ArchiveFile, pieces, spool } from './archive-file.ts'
import { archiveFileReading, readOnly } from './archive-reading.ts'
import type { ArchiveSink } from './archive-sink.ts'
import { ArchiveWriting } from './archive-writing.ts'
import { type Daemon, type DaemonKind, type Environment, findDaemon } from './daemon-api.ts'
import { boundedText, loadArchive, verifyLoaded } from './daemon-images.ts'
import type { NamingTransport } from './layout-reading.ts'
import type { Transport } from './transport.ts'

export interface DaemonTools {
  readonly env: Environment
  readonly signal: AbortSignal
}

/**
 * A repository of a docker or podman daemon, for reading. An image comes as an archive, when its tag or ID is first
 * asked for, and is kept until `close`. Throws DAEMON.
 */
export async function daemonReading(kind: DaemonKind, reference: Reference, tools: DaemonTools): Promise<Transport> {
  const { env, signal } = tools
  const daemon = await findDaemon(kind, env, signal)
  const repository = `${reference.registry}/${reference.repository}`
  const place = `${daemon.name}, repository ${repository}`
  const archives = new Map<string, Promise<NamingTransport | undefined>>()
  const opened = async (): Promise<NamingTransport[]> =>
    (await Promise.all(archives.values())).filter(one => one !== undefined)
  const load = (tag: string): Promise<NamingTransport | undefined> => {
    const there = archives.get(tag)
    if (there !== undefined) return there
    const coming = fetchImage(daemon, `${repository}:${tag}`, signal)
    archives.set(tag, coming)
    coming.catch(() => archives.delete(tag))
    return coming
  }
  const manifest = async (tagOrDigest: string): Promise<Manifest | undefined> => {
    if (!isDigest(tagOrDigest)) {
      const archive = await load(tagOrDigest)
      return archive && present(archive)
    }
    for (const archive of await opened()) {
      const found = await archive.manifest(tagOrDigest)
      if (found !== undefined) return found
    }
    return undefined
  }
  return {
    name: place,
    ...readOnly(place),
    manifest,
    head: async tagOrDigest => {
      const found = await manifest(tagOrDigest)
      return found && describe(found)
    },
    hasBlob: async descriptor => {
      for (const archive of await opened()) if (await archive.hasBlob(descriptor)) return true
      return false
    },
    blob: async (descriptor, options) => {
      for (const archive of await opened())
        if (await archive.hasBlob(descriptor)) return archive.blob(descriptor, options)
      throw new ArchimageError('NOT_FOUND', `${place} has no blob ${descriptor.digest}`)
    },
    tags: async function* () {
      yield* await listTags(daemon, repository)
    },
    close: async () => {
      for (const archive of await opened()) await archive.close?.()
      archives.clear()
    },
  }
}

async function fetchImage(daemon: Daemon, name: string, signal: AbortSignal): Promise<NamingTransport | undefined> {
  const place = `${daemon.name}: ${name}`
  let file: ArchiveFile
  try {
    const response = await daemon.request('GET', `/images/${encodeURI(name)}/get`)
    if (response.status !== 200 || response.body === null) {
      const text = await boundedText(response)
      // docker 20.10 says 500 for what it does not know
      if (response.status === 404 || /no such image|reference does not exist/i.test(text)) return undefined
      throw new Error(`${response.status} ${text.trim().slice(0, 300)}`)
    }
    file = await spool(response.body as unknown as AsyncIterable<Uint8Array>, place, signal)
  } catch (error) {
    if (signal.aborted) throw cancelled(signal.reason)
    if (isArchimageError(error)) throw error
    throw new ArchimageError('DAEMON', `${daemon.name} does not give ${name}: ${(error as Error).message}`, {
      cause: error,
    })
  }
  return archiveFileReading(file, place, signal)
}

/** The image of an archive. A daemon with containerd's store gives an index of which it may have one platform only: then that is meant. */
async function present(archive: NamingTransport): Promise<Manifest | undefined> {
  const top = await archive.manifest(archive.resolve({}))
  if (top?.kind !== 'index') return top
  const found = new Map<Digest, Manifest>()
  let missing = false
  for (const descriptor of top.manifests) {
    const child = await archive.manifest(descriptor.digest)
    if (child === undefined) missing = true
    else if (!isAttestation(descriptor)) found.set(child.digest, child)
  }
  return missing && found.size === 1 ? [...found.values()][0] : top
}

async function listTags(daemon: Daemon, repository: string): Promise<string[]> {
  const response = await daemon.request('GET', '/images/json')
  const text = await boundedText(response)
  const list: unknown = response.status === 200 ? JSON.parse(text) : undefined
  if (!Array.isArray(list))
    throw new ArchimageError(
      'DAEMON',
      `${daemon.name} does not list its images: ${response.status} ${text.slice(0, 300)}`,
    )
  const names = list.flatMap(item => (isRecord(item) && Array.isArray(item['RepoTags']) ? item['RepoTags'] : []))
  const tags = names.flatMap((name: unknown) => {
    if (typeof name !== 'string' || name.includes('<none>')) return []
    const { tag, registry, repository: path } = parseReference(name)
    return tag !== undefined && `${registry}/${path}` === repository ? [tag] : []
  })
  return [...new Set(tags)].sort()
}

/** The same for writing: what is put goes to the daemon as one archive at `commit`, and is looked for there afterwards. */
export async function daemonWriting(kind: DaemonKind, reference: Reference, tools: DaemonTools): Promise<Transport> {
  const daemon = await findDaemon(kind, tools.env, tools.signal)
  const { registry, repository } = reference
  const writing = new ArchiveWriting(daemonSink(daemon, tools.signal), true)
  const whole = (name: string): string => (isDigest(name) ? name : formatReference({ registry, repository, tag: name }))
  return {
    name: `${daemon.name}, repository ${registry}/${repository}`,
    manifest: name => writing.manifest(whole(name)),
    head: name => writing.head(whole(name)),
    hasBlob: descriptor => writing.hasBlob(descriptor),
    blob: (descriptor, options) => writing.blob(descriptor, options),
    putBlob: (descriptor, body, options) => writing.putBlob(descriptor, body, options),
    putManifest: (manifest, tag) => writing.putManifest(manifest, tag && whole(tag)),
    fits: (top, name, find) => writing.fits(top, whole(name), find),
    commit: options => writing.commit(options),
    close: () => writing.close(),
  }
}

function daemonSink(daemon: Daemon, signal: AbortSignal): ArchiveSink {
  return {
    place: daemon.name,
    create: () => {
      const fd = openUnnamed()
      return {
        fd,
        deliver: async (size, images) => {
          const what = images.map(({ manifest, names }) => names[0] ?? manifest.config.digest).join(', ')
          const hint = 'write it to a file, docker-archive:FILE, and load that to see more'
          await loadArchive(daemon, pieces(fd, size), size, { what, hint, signal })
          for (const { manifest, names } of images)
            for (const name of names.length > 0 ? names : [manifest.config.digest])
              await verifyLoaded(daemon, name, manifest, undefined, signal)
        },
        discard: () => closeSync(fd),
      }
    },
  }
}
