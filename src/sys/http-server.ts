import { ArchimageError } from '../errors/error.ts'

export interface HttpServer {
  readonly port: number
  /** Refuses new connections, lets running answers finish for at most two seconds, then cuts what is left. */
  stop(): Promise<void>
}

export interface HttpServerOptions {
  readonly hostname: string
  /** 0: a free one. */
  readonly port: number
  readonly handle: (request: Request) => Response | Promise<Response>
  readonly tls?: ServerTls | undefined
  /** Seconds (at most 255, the default) that a connection may rest between requests, or a client stop reading. */
  readonly idle?: number
}

/** PEM. */
export interface ServerTls {
  readonly cert: string
  readonly key: string
  /** Only clients with a certificate of this authority get in. */
  readonly clientCa?: string | undefined
}

const MAX_IDLE = 255
const STOP_WAIT = 2000

/**
 * Serves HTTP, or HTTPS where `tls` is given. A request that carries a body may pause for as long as its sender likes, and has no size limit. Throws
 * PORT_IN_USE or PERMISSION when the address cannot be had.
 */
export function serveHttp(options: HttpServerOptions): HttpServer {
  const server = listen(options)
  return {
    port: server.port ?? options.port,
    async stop() {
      let timer: ReturnType<typeof setTimeout> | undefined
      const late = new Promise<void>(resolve => {
        timer = setTimeout(resolve, STOP_WAIT)
      })
      await Promise.race([server.stop(), late])
      clearTimeout(timer)
      await server.stop(true)
    },
  }
}

function listen({ hostname, port, handle, tls, idle = MAX_IDLE }: HttpServerOptions): Bun.Server<undefined> {
  try {
    return Bun.serve({
      hostname,
      port,
      ...(tls === undefined ? {} : { tls: bunTls(tls) }),
      idleTimeout: idle,
      maxRequestBodySize: 2 ** 50,
      development: false,
      // Without `development` two servers could share a port unless this says no.
      reusePort: false,
      async fetch(request, server) {
        if (request.body === null) return handle(request)
        server.timeout(request, 0)
        try {
          return await handle(request)
        } finally {
          server.timeout(request, idle)
        }
      },
      error: () => new Response(null, { status: 500 }),
    })
  } catch (error) {
    const { code } = error as { code?: string }
    if (code === 'EACCES' || code === 'EPERM')
      throw new ArchimageError('PERMISSION', `no permission to listen on ${hostname}:${port}`, {
        hint: 'ports below 1024 need root: choose a higher one',
        cause: error,
      })
    throw new ArchimageError('PORT_IN_USE', `cannot listen on ${hostname}:${port}`, {
      hint: 'another program listens there, or the address is not one of this machine: choose another port, or 0 for any',
      cause: error,
    })
  }
}

function bunTls({ cert, key, clientCa }: ServerTls): Bun.TLSOptions {
  if (clientCa === undefined) return { cert, key }
  return { cert, key, ca: clientCa, requestCert: true, rejectUnauthorized: true }
}

/** Bytes `start` to `end` (exclusive) of a file as the body of an answer; they never pass through our memory. */
export function fileBody(path: string, start: number, end: number): Blob {
  return Bun.file(path).slice(start, end)
}
