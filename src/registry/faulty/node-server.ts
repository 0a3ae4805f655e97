import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

/** An answer, and how badly it is sent. */
export interface Delivery {
  readonly response: Response
  /** Cut the connection after so many bytes of the body; -1: before the answer. */
  readonly cutAfter?: number | undefined
  readonly bytesPerSecond?: number | undefined
}

export interface NodeServer {
  readonly port: number
  readonly url: string
  close(): Promise<void>
}

/**
 * node:http in place of sys/http-server, because it sends a content-length that the body then does not fulfil, and lets us
 * cut the connection.
 */
export async function listenNode(
  handle: (request: Request, received: () => number) => Promise<Delivery>,
): Promise<NodeServer> {
  const server = createServer((message, answer) => {
    answer.on('error', () => {})
    run(message, answer).catch(() => message.socket.destroy())
  })
  async function run(message: IncomingMessage, answer: ServerResponse): Promise<void> {
    let received = 0
    const request = toRequest(message, url(), bytes => {
      received += bytes
    })
    const { response, cutAfter, bytesPerSecond } = await handle(request, () => received)
    if (cutAfter !== undefined && cutAfter < 0) {
      message.socket.destroy()
      return
    }
    answer.writeHead(response.status, Object.fromEntries(response.headers))
    await sendBody(answer, message, response, cutAfter ?? Number.POSITIVE_INFINITY, bytesPerSecond)
  }
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  const url = () => `http://127.0.0.1:${port}`
  return {
    port,
    url: url(),
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function sendBody(
  answer: ServerResponse,
  message: IncomingMessage,
  response: Response,
  cutAfter: number,
  bytesPerSecond: number | undefined,
): Promise<void> {
  let left = cutAfter
  const body = message.method === 'HEAD' ? null : response.body
  const closed = once(answer, 'close')
  for await (const whole of body ?? [])
    for (const chunk of bytesPerSecond === undefined ? [whole] : slices(whole, Math.max(1, bytesPerSecond / 20))) {
      const part = chunk.byteLength > left ? chunk.subarray(0, left) : chunk
      left -= part.byteLength
      if (bytesPerSecond !== undefined) await sleep((1000 * part.byteLength) / bytesPerSecond)
      if (!answer.write(part)) await Promise.race([once(answer, 'drain'), closed])
      if (answer.destroyed) return
      if (part.byteLength < chunk.byteLength || left === 0) {
        // Let the kernel have what was written before the connection goes.
        await sleep(30)
        message.socket.destroy()
        return
      }
    }
  answer.end()
}

function once(answer: ServerResponse, event: string): Promise<void> {
  return new Promise(resolve => answer.once(event, () => resolve()))
}

function* slices(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  const step = Math.ceil(size)
  for (let at = 0; at < bytes.byteLength; at += step) yield bytes.subarray(at, at + step)
}

function toRequest(message: IncomingMessage, origin: string, count: (bytes: number) => void): Request {
  const method = message.method ?? 'GET'
  const headers = new Headers()
  for (const [name, value] of Object.entries(message.headers)) if (value !== undefined) headers.set(name, String(value))
  const hasBody =
    message.headers['transfer-encoding'] !== undefined || Number(message.headers['content-length'] ?? 0) > 0
  const bytes = () => Readable.toWeb(Readable.from(counted(message, count), { objectMode: false }))
  const body = hasBody && method !== 'GET' && method !== 'HEAD' ? { body: bytes(), duplex: 'half' } : {}
  return new Request(origin + (message.url ?? '/'), { method, headers, ...body } as unknown as RequestInit)
}

async function* counted(message: IncomingMessage, count: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of message) {
    count((chunk as Uint8Array).byteLength)
    yield chunk as Uint8Array
  }
}
