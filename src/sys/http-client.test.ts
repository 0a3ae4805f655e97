import { afterEach, expect, test } from 'bun:test'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { httpFetch } from './http-client.ts'

const servers: Server[] = []
afterEach(() => {
  delete process.env['HTTP_PROXY']
  for (const server of servers.splice(0)) server.close()
})
async function serve(answer: Parameters<typeof createServer>[1]): Promise<string> {
  const server = createServer(answer!)
  servers.push(server)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
const get = (url: string, more = {}) => httpFetch({ method: 'GET', url, headers: {}, ...more })

test('the environment does not choose the proxy, the caller does; the environment stays', async () => {
  const proxy = await serve((request, response) => response.end(`proxied ${request.url}`))
  const direct = await serve((_request, response) => response.end('direct'))
  process.env['HTTP_PROXY'] = proxy
  expect(await (await get(`${direct}/x`)).text()).toBe('direct')
  expect(process.env['HTTP_PROXY']).toBe(proxy)
  expect(await (await get('http://nowhere.invalid/x', { proxy })).text()).toBe('proxied http://nowhere.invalid/x')
})

test('redirects and compressed bodies come as they are', async () => {
  const packed = gzipSync('hello')
  const server = await serve((request, response) => {
    if (request.url === '/r') return void response.writeHead(302, { location: '/x' }).end()
    response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': packed.byteLength }).end(packed)
  })
  const moved = await get(`${server}/r`)
  expect([moved.status, moved.headers.get('location')]).toEqual([302, '/x'])
  expect(Buffer.from(await (await get(`${server}/x`)).arrayBuffer()).equals(packed)).toBe(true)
})
