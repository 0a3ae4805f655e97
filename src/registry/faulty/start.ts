import { createHandler } from '../server/handler.ts'
import { splitUrl } from '../server/route.ts'
import { openDir, type Registry } from '../server/start.ts'
import { Storage } from '../server/storage.ts'
import { Authority } from './auth.ts'
import type { Faults, LoggedRequest } from './faults.ts'
import { type Delivery, listenNode } from './node-server.ts'
import { type Context, serveFaulty, serveRedirected } from './serve.ts'
import { UploadFaults } from './uploads.ts'

export type { Faults, LoggedRequest } from './faults.ts'

export interface FaultyOptions {
  /** What is wrong from the start. */
  readonly faults?: Faults
  /** A folder to keep; without it a temporary one, removed at the end. */
  readonly dir?: string
}

export interface FaultyRegistry extends Registry {
  /** Change it while the registry runs; the next request meets what it then says. */
  readonly faults: Faults
  /** Every request that came, in order of arrival, to the registry and the two servers beside it. Empty it with `length = 0`. */
  readonly requests: LoggedRequest[]
  /** Gives tokens for `requireAuth: { kind: 'bearer' }`; another port, so another origin. */
  readonly tokens: { readonly url: string }
  /** Serves blobs without credentials, for `redirectBlobsTo`; another port. Credentials are answered with 400, as S3 does. */
  readonly blobs: { readonly url: string }
}

/** The registry of `startRegistry` on a free port of 127.0.0.1, with faults that tests can switch on and off. */
export async function startFaultyRegistry(options: FaultyOptions = {}): Promise<FaultyRegistry> {
  const faults: Faults = { ...options.faults }
  const requests: LoggedRequest[] = []
  const { dir, remove } = openDir(options.dir, false)
  const storage = new Storage(dir)
  const handlerOptions = {
    storage,
    get lenient() {
      return faults.lenient ?? false
    },
  }
  const handle = createHandler(handlerOptions)
  const authority = new Authority()
  const serve = (server: LoggedRequest['server'], respond: (request: Request) => Promise<Delivery>) =>
    listenNode(async (request, received) => {
      const { path, query } = splitUrl(request.url)
      const entry: LoggedRequest = {
        server,
        method: request.method,
        path: query === '' ? path : `${path}?${query}`,
        headers: Object.fromEntries(request.headers),
        status: 0,
        get received() {
          return received()
        },
      }
      requests.push(entry)
      const delivery = await respond(request)
      if ((delivery.cutAfter ?? 0) >= 0) entry.status = delivery.response.status
      return delivery
    })
  const uploads = new UploadFaults()
  const context: Context = { faults, handle, storage, authority, uploads, realm: () => `${tokens.url}/token` }
  const tokens = await serve('tokens', async request => ({
    response: await authority.serve(request, faults.requireAuth),
  }))
  const blobs = await serve('blobs', request => serveRedirected(request, context))
  const registry = await serve('registry', request => serveFaulty(request, context))
  return {
    port: registry.port,
    url: registry.url,
    address: `127.0.0.1:${registry.port}`,
    faults,
    requests,
    tokens,
    blobs,
    async close() {
      await Promise.all([registry.close(), tokens.close(), blobs.close()])
      remove()
    },
  }
}
