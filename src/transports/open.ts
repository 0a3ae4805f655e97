import { ArchimageError } from '../errors/error.ts'
import type { Registry } from '../registry/registry.ts'
import type { Store } from '../store/store.ts'
import { layoutTransport } from './layout.ts'
import type { NamingTransport } from './layout-reading.ts'
import { formatLocation, type Location } from './location.ts'
import { storeTransport } from './store.ts'
import type { Transport } from './transport.ts'

/** What places are opened with; each is made when the first place needs it, and shared by all. */
export interface OpenTools {
  readonly registry: () => Registry
  readonly store: () => Store
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
  if ('reference' in location) {
    const { tag, digest } = location.reference
    return { location, transport, name: (use === 'read' ? (digest ?? tag) : (tag ?? digest)) ?? 'latest', close }
  }
  const { name, digest } = location
  if (use === 'write') return { location, transport, name, close }
  try {
    return {
      location,
      transport,
      name: (transport as NamingTransport).resolve({ ...(name && { name }), ...(digest && { digest }) }),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** The same without choosing an image: for all tags of a place. */
export async function openTransport(location: Location, tools: OpenTools, use: 'read' | 'write'): Promise<Transport> {
  switch (location.kind) {
    case 'registry':
      return tools.registry().repository(location.reference)
    case 'store': {
      const { registry, repository } = location.reference
      return storeTransport(tools.store(), `${registry}/${repository}`)
    }
    case 'oci':
      return layoutTransport(location.path)
  }
  throw new ArchimageError(
    'UNSUPPORTED',
    `${formatLocation(location)}: ${use === 'read' ? 'reading' : 'writing'} is not done`,
  )
}
