import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
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
