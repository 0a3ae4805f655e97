import { spawn } from 'node:child_process'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What a path of the server gives; everything but `body` is for tests of what goes wrong. */
export interface Page {
  readonly body?: string | Uint8Array
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as it stands, and answered with 304 when it is asked for. */
  readonly etag?: string
  /** The connection is cut after so many bytes, as often as `times` says. */
  readonly cut?: { readonly after: number; readonly times: number }
  /** Wanted as Authorization; 401 without. */
  readonly authorization?: string
  /** Never answered. */
  readonly silent?: true
}

export interface Asked {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
}

/** A web server on loopback, in this process. */
export interface Web {
  /** `http://127.0.0.1:PORT` */
  readonly url: string
  readonly host: string
  /** By path with its query; `/git/…` is git's. */
  readonly pages: Map<string, Page>
  /** Every request, as it came. */
  readonly asked: Asked[]
  stop(): Promise<void>
}

/**
 * With `repositories` the bare repositories in that folder are served below /git/ by git http-backend, to whom sends
 * `authorization`.
 */
export async function startWeb(
  options: { readonly repositories?: string; readonly authorization?: string; readonly hostname?: string } = {},
): Promise<Web> {
  const pages = new Map<string, Page>()
  const asked: Asked[] = []
  const cuts = new Map<string, number>()
  const hostname = options.hostname ?? '127.0.0.1'
  const server = createServer((request, response) => {
    const path = request.url ?? '/'
    asked.push({ method: request.method ?? '', path, headers: request.headers })
    if (options.repositories !== undefined && path.startsWith('/git/'))
      if (options.authorization !== undefined && request.headers.authorization !== options.authorization)
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
      else gitBackend(options.repositories, request, response)
    else answer(pages.get(path), path, request, response)
  })
  await new Promise<void>(resolve => server.listen(0, hostname, resolve))
  const { port } = server.address() as AddressInfo
  const host = `${hostname}:${port}`
  return {
    url: `http://${host}`,
    host,
    pages,
    asked,
    async stop() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }

  function answer(page: Page | undefined, path: string, request: IncomingMessage, response: ServerResponse): unknown {
    if (page?.silent) return undefined
    const body = Buffer.from(page?.body ?? '')
    const headers: Record<string, string> = { ...page?.headers, ...(page?.etag ? { etag: page.etag } : {}) }
    const send = (status: number, content = Buffer.alloc(0)): ServerResponse =>
      response.writeHead(status, { ...headers, 'content-length': String(content.length) }).end(content)
    if (page === undefined) return send(404, Buffer.from('no such page'))
    if (page.authorization !== undefined && request.headers.authorization !== page.authorization) return send(401)
    if (page.etag !== undefined && request.headers['if-none-match']?.includes(page.etag)) return send(304)
    const done = cuts.get(path) ?? 0
    if (page.cut !== undefined && done < page.cut.times) {
      cuts.set(path, done + 1)
      response.writeHead(200, { ...headers, 'content-length': String(body.length) })
      response.write(body.subarray(0, page.cut.after), () => response.destroy())
      return undefined
    }
    return send(page.status ?? 200, body)
  }
}

/** git's own server for HTTP, as a CGI program. */
function gitBackend(folder: string, request: IncomingMessage, response: ServerResponse): void {
  const [path = '', query = ''] = (request.url ?? '').slice('/git'.length).split('?')
  const child = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env['PATH'],
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_COUNT: '2',
      GIT_CONFIG_KEY_0: 'safe.directory',
      GIT_CONFIG_VALUE_0: '*',
      GIT_CONFIG_KEY_1: 'http.receivepack',
      GIT_CONFIG_VALUE_1: 'false',
      GIT_PROJECT_ROOT: folder,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: path,
      QUERY_STRING: query,
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      ...(request.headers['content-length'] ? { CONTENT_LENGTH: request.headers['content-length'] } : {}),
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: (request.headers['git-protocol'] as string | undefined) ?? '',
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  request.pipe(child.stdin).on('error', () => {})
  let head = Buffer.alloc(0)
  let begun = false
  child.stdout.on('data', (chunk: Buffer) => {
    if (begun) return void response.write(chunk)
    head = Buffer.concat([head, chunk])
    const end = head.indexOf('\r\n\r\n')
    if (end < 0) return
    begun = true
    const headers = Object.fromEntries(
      head
        .subarray(0, end)
        .toString('latin1')
        .split('\r\n')
        .map(line => line.split(/: (.*)/s).slice(0, 2) as [string, string]),
    )
    const { Status: status = '200', ...rest } = headers
    response.writeHead(Number.parseInt(status, 10), rest)
    response.write(head.subarray(end + 4))
  })
  child.on('close', () => {
    if (!begun) response.writeHead(500)
    response.end()
  })
}
