import { ArchimageError } from '../errors/error.ts'
import { algorithmOf, hexOf } from '../oci/digest.ts'
import { type ArchiveFile, openArchiveFile } from './archive-file.ts'
import { dockerFiles } from './docker-archive.ts'
import { parseIndexFile } from './index-file.ts'
import { type LayoutFiles, type NamingTransport, readingOf } from './layout-reading.ts'
import { indexTar, smallFile, type TarIndex } from './tar-index.ts'
import type { Transport } from './transport.ts'

export type ArchiveKind = 'oci' | 'docker'

/** Tells by content what an archive is: docker's own since version 25 hold a layout too, and count as one. Throws NOT_FOUND for another one. */
export function sniffArchive(tar: TarIndex, place: string): ArchiveKind {
  if (tar.has('index.json')) return 'oci'
  if (tar.has('manifest.json')) return 'docker'
  if (tar.has('repositories'))
    throw new ArchimageError('UNSUPPORTED', `${place} is in the format that docker had before version 1.10`, {
      hint: 'load it into docker and save it again',
    })
  throw new ArchimageError(
    'MANIFEST_INVALID',
    `${place} holds no images: it has neither index.json nor manifest.json`,
    {
      hint: 'archives of images are written by docker save, podman save, skopeo, crane pull and archimage',
    },
  )
}

/** What an archive of either kind holds, as a layout. Throws TAR_INVALID, MANIFEST_INVALID, NOT_FOUND. */
export async function archiveFiles(file: ArchiveFile, place: string, signal?: AbortSignal): Promise<LayoutFiles> {
  const tar = indexTar(file.fd, file.size, place)
  if (sniffArchive(tar, place) === 'docker') return dockerFiles(tar, place, signal)
  const index = parseIndexFile(smallFile(tar, 'index.json', place)!, `${place}: index.json`)
  const path = (digest: Parameters<LayoutFiles['open']>[0]): string => `blobs/${algorithmOf(digest)}/${hexOf(digest)}`
  return {
    place,
    index: () => index,
    size: digest => tar.file(path(digest))?.size,
    open: digest => tar.file(path(digest)),
  }
}

/** A transport that reads an archive of either kind: OCI's, docker's, compressed or not, `-` for standard input. */
export async function archiveReading(path: string, signal?: AbortSignal): Promise<NamingTransport> {
  const place = path === '-' ? 'the archive from standard input' : `archive ${path}`
  return archiveFileReading(await openArchiveFile(path, place, signal), place, signal)
}

/** The same for one that is open; it is closed with the transport, or when it is none. */
export async function archiveFileReading(
  file: ArchiveFile,
  place: string,
  signal?: AbortSignal,
): Promise<NamingTransport & Required<Pick<Transport, 'tags' | 'referrers' | 'close'>>> {
  try {
    const files = await archiveFiles(file, place, signal)
    return { ...readingOf(files), ...readOnly(place), close: async () => file.close() }
  } catch (error) {
    file.close()
    throw error
  }
}

/** What a place that is only read says to writers. */
export function readOnly(place: string): Pick<Transport, 'putBlob' | 'putManifest'> {
  const refuse = (): Promise<never> =>
    Promise.reject(new ArchimageError('UNSUPPORTED', `${place} was opened for reading`))
  return { putBlob: refuse, putManifest: refuse }
}
