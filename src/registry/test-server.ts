import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openRegistry, type Registry, type RegistryOptions } from './registry.ts'

/** For tests: one request as the server saw it, its body read. */
export interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface TestServer extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string
  readonly port: number
  readonly seen: Seen[]
}

/** For tests: an HTTP server on loopback that answers as `handle` says and remembers what was asked. */
export async function startServer(
  handle: (request: Seen, response: ServerResponse) => void,
  make: (listener: Parameters<typeof createServer>[1]) => Server = listener => createServer(listener!),
): Promise<TestServer> {
  const seen: Seen[] = []
  const server = make((request, response) => {
    const parts: Buffer[] = []
    request.on('error', () => {})
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const { method = '', url = '', headers } = request
      const all = { method, url, headers, body: Buffer.concat(parts) }
      seen.push(all)
      handle(all, response)
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    host: `127.0.0.1:${port}`,
    port,
    seen,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

/** For tests: a registry client that reads no file of this machine and does not wait long. */
export function quickRegistry(options: RegistryOptions = {}): Registry {
  return openRegistry({
    env: { HOME: '/nonexistent', CONTAINERS_REGISTRIES_CONF: '' },
    ...options,
    tuning: { backoff: 2, ...options.tuning },
  })
}

export async function readAll(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of stream as unknown as AsyncIterable<Uint8Array>) parts.push(part)
  return Buffer.concat(parts)
}

/** The error that a promise rejects with; fails the test when it does not. */
export async function failure(work: Promise<unknown>): Promise<{ code: string; message: string; hint?: string }> {
  try {
    await work
  } catch (error) {
    return error as { code: string; message: string }
  }
  throw new Error('it should have failed')
}

/**
 * For tests: puts a server before one that speaks TLS which, as Go's do, answers 400 with a sentence (also to HEAD) when it
 * is spoken to in the clear. `plain` counts such connections.
 */
export async function goLikeTls(
  inner: TestServer,
  address = '127.0.0.1',
): Promise<AsyncDisposable & { readonly host: string; plain: number }> {
  const sockets = new Set<Socket>()
  const server = createTcpServer(socket => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('data', first => {
      if (first[0] !== 0x16) {
        front.plain++
        socket.end('HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n')
        return
      }
      const way = connect(inner.port, '127.0.0.1')
      way.on('error', () => socket.destroy())
      socket.on('close', () => way.destroy())
      way.write(first)
      socket.pipe(way).pipe(socket)
    })
  })
  await new Promise<void>(resolve => server.listen(0, address, resolve))
  const front = {
    host: `${address}:${(server.address() as AddressInfo).port}`,
    plain: 0,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise(resolve => server.close(resolve))
    },
  }
  return front
}

/** For tests: a certificate of localhost, 127.0.0.1 and `more` that signs itself; undefined where there is no openssl. */
export function testCertificate(
  ...more: readonly string[]
): { readonly key: string; readonly cert: string } | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'archimage-tls-'))
  const [key, cert] = [join(folder, 'k'), join(folder, 'c')]
  const hosts = ['DNS:localhost', 'DNS:registry.localhost', 'IP:127.0.0.1', ...more.map(name => `DNS:${name}`)]
  const names = `subjectAltName=${hosts}`
  const kind = '-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=t'.split(' ')
  try {
    execFileSync('openssl', ['req', ...kind, '-addext', names, '-keyout', key, '-out', cert], { stdio: 'ignore' })
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
  } catch {
    return undefined
  } finally {
    rmSync(folder, { recursive: true })
  }
}
