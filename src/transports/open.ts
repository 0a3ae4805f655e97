import type { Registry } from '../registry/registry.ts'
import type { Store } from '../store/store.ts'
import type { NamingTransport } from './layout-reading.ts'
import type { Location } from './location.ts'
import type { Transport } from './transport.ts'

/** What places are opened with; each is made when the first place needs it, and shared by all. */
export interface OpenTools {
  readonly registry: () => Registry
  readonly store: () => Store | Promise<Store>
  /** For finding daemons; default: the process's own. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly signal?: AbortSignal
}

export interface OpenPlace {
  readonly location: Location
  readonly transport: Transport
  /**
   * The tag or digest that is meant, for `manifest` of the transport; for writing the tag under which it goes, undefined where
   * a file or folder is to hold it without a name.
   */
  readonly name: string | undefined
  close(): Promise<void>
}

/**
 * A place ready for use. For reading, a file or folder and the image named in it must be there: throws NOT_FOUND with what is
 * there; references get `latest` where they have neither tag nor digest, and whether they exist is seen when they are
 * read. For writing nothing is made yet.
 */
export async function openLocation(
  location: Location,
  tools: OpenTools,
  use: 'read' | 'write' = 'read',
): Promise<OpenPlace> {
  const transport = await openTransport(location, tools, use)
  const close = async (): Promise<void> => void (await transport.close?.())
  try {
    return { location, transport, name: chosenName(location, transport, use), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Which tag or digest a location means in its transport: see `OpenPlace`. Throws NOT_FOUND. */
export function chosenName(location: Location, transport: Transport, use: 'read'): string
export function chosenName(location: Location, transport: Transport, use: 'read' | 'write'): string | undefined
export function chosenName(location: Location, transport: Transport, use: 'read' | 'write'): string | undefined {
  if ('reference' in location) {
    const { tag, digest } = location.reference
    return (use === 'read' ? (digest ?? tag) : (tag ?? digest)) ?? 'latest'
  }
  const { name, digest } = location
  if (use === 'write') return name
  return (transport as NamingTransport).resolve({
    ...(name === undefined ? {} : { name }),
    ...(digest === undefined ? {} : { digest }),
  })
}

/**
 * The same without choosing an image: for all tags of a place. What goes into an archive or a daemon is there after
 * `commit`.
 */
export async function openTransport(location: Location, tools: OpenTools, use: 'read' | 'write'): Promise<Transport> {
  const { env = process.env, signal = new AbortController().signal } = tools
  switch (location.kind) {
    case 'registry':
      return tools.registry().repository(location.reference)
    case 'store': {
      const { registry, repository } = location.reference
      const { storeTransport } = await import('./store.ts')
      return storeTransport(await tools.store(), `${registry}/${repository}`, 'tagged', source =>
        tools.registry().repository(source),
      )
    }
    case 'docker':
    case 'podman': {
      const { daemonReading, daemonWriting } = await import('./daemon.ts')
      return (use === 'read' ? daemonReading : daemonWriting)(location.kind, location.reference, { env, signal })
    }
    case 'oci':
      return (await import('./layout.ts')).layoutTransport(location.path)
    case 'oci-archive':
    case 'docker-archive': {
      if (use === 'read') return (await import('./archive-reading.ts')).archiveReading(location.path, signal)
      const { ArchiveWriting } = await import('./archive-writing.ts')
      const { fileSink } = await import('./archive-sink.ts')
      return new ArchiveWriting(fileSink(location.path), location.kind === 'docker-archive')
    }
  }
}
