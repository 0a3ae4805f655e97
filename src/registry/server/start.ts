import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { ArchimageError, systemError } from '../../errors/error.ts'
import { type ServerTls, serveHttp } from '../../sys/http-server.ts'
import { createGate } from './access.ts'
import { collectGarbage, type Garbage, type GarbageOptions } from './garbage.ts'
import { createHandler } from './handler.ts'
import { Storage } from './storage.ts'
import type { StorageReader } from './storage-reader.ts'
import { Users } from './users.ts'

export interface RegistryOptions {
  /** Where the registry keeps its content; it is made if need be. Without it: a temporary folder, removed at the end. */
  readonly dir?: string
  /** What is served in place of a folder, read-only: an OCI layout, an archive. */
  readonly storage?: StorageReader
  /** The address to listen on; 127.0.0.1. Anything else lets other machines in, without a password unless there are users. */
  readonly addr?: string
  /** 5000; 0 takes a free one. */
  readonly port?: number
  /** Refuses everything that writes with 405 and DENIED, and does not touch `dir`. */
  readonly readOnly?: boolean
  /** Takes manifests some of whose blobs and members are not there, which are refused otherwise. */
  readonly sparse?: boolean
  /** HTTPS, PEM; without it plain HTTP. */
  readonly tls?: ServerTls
  /** A file of users, as `htpasswd -B` makes it; without it everybody may do everything. It is read again when it changes. */
  readonly htpasswd?: string
  /** With `htpasswd`: reading needs no password. */
  readonly anonymousPull?: boolean
  /** Collects garbage at the beginning and then every so many milliseconds (an hour). */
  readonly gc?: GarbageOptions & { readonly interval?: number }
  /** One line for each request. */
  readonly log?: (line: string) => void
  /** What the registry does by itself: garbage collections, trouble. */
  readonly note?: (line: string) => void
}

export interface Registry {
  readonly port: number
  /** `http://127.0.0.1:5000` */
  readonly url: string
  /** As it stands in references: `127.0.0.1:5000` */
  readonly address: string
  close(): Promise<void>
}

const HOUR = 3600_000

/**
 * Starts a registry that speaks the OCI distribution spec 1.1. Throws PORT_IN_USE, PERMISSION, CONFIG_INVALID for a file of
 * users that is no good, and NOT_FOUND for it and for a read-only registry whose folder does not exist.
 */
export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  const { addr = '127.0.0.1', port = 5000, sparse = false, tls, htpasswd, anonymousPull = false, log } = options
  const users = htpasswd === undefined ? undefined : new Users(htpasswd, options.note ?? log)
  const gate = users && createGate({ users, anonymousPull, secure: tls !== undefined })
  const { dir, remove } = options.storage ? NOTHING : openDir(options.dir, options.readOnly ?? false)
  const storage = options.storage ?? new Storage(dir)
  const readOnly = options.readOnly || !(storage instanceof Storage)
  try {
    const handle = createHandler({ storage, readOnly, sparse, gate, log })
    const hostname = addr.replace(/^\[(.*)\]$/, '$1')
    const server = serveHttp({ hostname, port, handle, tls })
    const address = formatAddress(hostname, server.port)
    const collector = options.gc && !readOnly ? startCollector(storage, options.gc, options.note ?? log) : undefined
    return {
      port: server.port,
      url: `${tls ? 'https' : 'http'}://${address}`,
      address,
      async close() {
        await Promise.all([server.stop(), collector?.stop()])
        remove()
      },
    }
  } catch (error) {
    remove()
    throw error
  }
}

const NOTHING = { dir: '', remove: () => {} }

function startCollector(
  storage: Storage,
  { interval = HOUR, ...options }: NonNullable<RegistryOptions['gc']>,
  note: ((line: string) => void) | undefined,
): { stop(): Promise<void> } {
  const end = new AbortController()
  let running: Promise<void> | undefined
  const run = async () => {
    try {
      const got = await collectGarbage(storage, { ...options, signal: end.signal })
      if (got && got.blobs + got.manifests + got.bytes > 0) note?.(`garbage: ${formatGarbage(got)}`)
    } catch (error) {
      if (!end.signal.aborted) note?.(`garbage collection failed: ${(error as Error).message}`)
    }
    running = undefined
  }
  const start = () => {
    running ??= run()
  }
  start()
  const timer = setInterval(start, Math.min(interval, 2 ** 31 - 1))
  timer.unref()
  return {
    async stop() {
      clearInterval(timer)
      end.abort()
      await running
    },
  }
}

/** `2 manifests and 5 blobs, 12345678 bytes`. */
export function formatGarbage({ manifests, blobs, bytes }: Garbage): string {
  const many = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`
  return `${many(manifests, 'manifest')} and ${many(blobs, 'blob')}, ${many(bytes, 'byte')}`
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
