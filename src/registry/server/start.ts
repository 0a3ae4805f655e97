import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { ArchimageError, systemError } from '../../errors/error.ts'
import { serveHttp } from '../../sys/http-server.ts'
import { createHandler } from './handler.ts'
import { Storage } from './storage.ts'

export interface RegistryOptions {
  /** Where the registry keeps its content; it is made if need be. Without it: a temporary folder, removed at the end. */
  readonly dir?: string
  /** The address to listen on; 127.0.0.1. Anything else lets other machines in, without a password. */
  readonly addr?: string
  /** 5000; 0 takes a free one. */
  readonly port?: number
  /** Refuses everything that writes with 405 and DENIED, and does not touch `dir`. */
  readonly readOnly?: boolean
  /** One line for each request. */
  readonly log?: (line: string) => void
}

export interface Registry {
  readonly port: number
  /** `http://127.0.0.1:5000` */
  readonly url: string
  /** As it stands in references: `127.0.0.1:5000` */
  readonly address: string
  close(): Promise<void>
}

/**
 * Starts a registry that speaks the OCI distribution spec 1.1 over plain HTTP. Throws PORT_IN_USE, PERMISSION, and
 * NOT_FOUND for a read-only one whose folder does not exist.
 */
export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  const { addr = '127.0.0.1', port = 5000, readOnly = false, log } = options
  const { dir, remove } = openDir(options.dir, readOnly)
  const handle = createHandler({ storage: new Storage(dir), readOnly, log })
  try {
    const hostname = addr.replace(/^\[(.*)\]$/, '$1')
    const server = serveHttp({ hostname, port, handle })
    const address = formatAddress(hostname, server.port)
    return {
      port: server.port,
      url: `http://${address}`,
      address,
      async close() {
        await server.stop()
        remove()
      },
    }
  } catch (error) {
    remove()
    throw error
  }
}

/** How a client on this machine reaches a server that listens on `hostname`. */
export function formatAddress(hostname: string, port: number): string {
  if (hostname === '0.0.0.0' || hostname === '') return `127.0.0.1:${port}`
  if (hostname === '::') return `[::1]:${port}`
  return hostname.includes(':') ? `[${hostname}]:${port}` : `${hostname}:${port}`
}

/** The registry's folder with what must exist in it; `remove` takes a temporary one away, also when the process ends. */
export function openDir(wanted: string | undefined, readOnly: boolean): { readonly dir: string; remove(): void } {
  const dir = wanted === undefined ? mkdtempSync(join(tmpdir(), 'archimage-registry-')) : resolve(wanted)
  if (readOnly && !statSync(dir, { throwIfNoEntry: false })?.isDirectory())
    throw new ArchimageError('NOT_FOUND', `there is no folder ${dir} to serve`, {
      hint: 'name the folder of a registry that was served before, or leave out --read-only to begin a new one',
    })
  try {
    if (!readOnly) mkdirSync(join(dir, 'uploads'), { recursive: true })
  } catch (error) {
    const { code } = error as { code?: string }
    if (code === 'EEXIST' || code === 'ENOTDIR')
      throw new ArchimageError('USAGE', `${dir} is a file; a registry needs a folder`, { cause: error })
    throw systemError(error, `opening the registry's folder ${dir}`)
  }
  if (wanted !== undefined) return { dir, remove: () => {} }
  const clean = () => rmSync(dir, { recursive: true, force: true })
  process.once('exit', clean)
  return {
    dir,
    remove() {
      process.off('exit', clean)
      clean()
    },
  }
}
