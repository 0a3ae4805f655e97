import { expect, test } from 'bun:test'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { serveHttp } from './http-server.ts'

const start = (idle?: number) =>
  serveHttp({
    hostname: '127.0.0.1',
    port: 0,
    ...(idle === undefined ? {} : { idle }),
    handle: async request => {
      let size = 0
      for await (const chunk of request.body ?? []) size += chunk.byteLength
      return new Response(`got ${size}`)
    },
  })

/** What comes back for `parts`, sent with a pause in between, until `end` stands in it or the server hangs up. */
function send(port: number, parts: readonly string[], pause: number, end: RegExp): Promise<string> {
  return new Promise(resolve => {
    let got = ''
    const socket = connect(port, '127.0.0.1', async () => {
      for (const [i, part] of parts.entries()) {
        if (i > 0) await sleep(pause)
        socket.write(part)
      }
    })
    socket.on('data', data => {
      got += data
      if (end.test(got)) socket.destroy()
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(got))
  })
}

test('a body may pause for longer than a connection may rest', async () => {
  const server = start(1)
  const head = 'PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc'
  const get = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
  const [paused, restless] = await Promise.all([
    send(server.port, [head, 'def'], 4500, /got 6/),
    send(server.port, [get, get], 4500, /got 0.*got 0/s),
  ])
  expect(paused).toEndWith('got 6')
  expect(restless.match(/got 0/g)).toHaveLength(1)
  await server.stop()
}, 20_000)

test('stops while a client keeps its connection open', async () => {
  const server = start()
  await (await fetch(`http://127.0.0.1:${server.port}/`)).text()
  await server.stop()
  await expect(fetch(`http://127.0.0.1:${server.port}/`)).rejects.toThrow()
})
