import { expect, test } from 'bun:test'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startRegistry } from '../../src/registry/server/start.ts'
import { removeFolder, temporaryFolder } from '../peers/index.ts'

const MIB = 1024 * 1024
const SIZE = 500 * MIB

/** Passes connections on, and cuts each one after so many bytes from the client. */
async function cutting(port: number, after: readonly number[]) {
  const sockets = new Set<Socket>()
  const cuts = [...after]
  const proxy = {
    bytes: 0,
    cuts: 0,
    port: 0,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise(resolve => server.close(resolve))
    },
  }
  const server = createServer(client => {
    const upstream = connect(port, '127.0.0.1')
    let here = 0
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        client.destroy()
        upstream.destroy()
      })
    }
    client.on('data', (chunk: Buffer) => {
      proxy.bytes += chunk.byteLength
      here += chunk.byteLength
      if (cuts.length > 0 && here > cuts[0]!) {
        cuts.shift()
        proxy.cuts++
        client.resetAndDestroy()
        upstream.end()
        return
      }
      if (upstream.write(chunk)) return
      client.pause()
      upstream.once('drain', () => client.resume())
    })
    upstream.pipe(client)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  proxy.port = (server.address() as AddressInfo).port
  return proxy
}

test('500 MB that are cut twice arrive, are not sent twice, and are never held in memory', async () => {
  const dir = temporaryFolder('big-upload')
  const server = await startRegistry({ dir, port: 0 })
  try {
    await using proxy = await cutting(server.port, [200 * MIB, 150 * MIB])
    const script = join(import.meta.dir, 'send-blob.ts')
    const { stdout } = await promisify(execFile)(process.execPath, [
      script,
      `127.0.0.1:${proxy.port}/big`,
      String(SIZE),
    ])
    const { how, digest, memory } = JSON.parse(stdout)
    expect([how, proxy.cuts]).toEqual(['uploaded', 2])
    expect(proxy.bytes).toBeLessThan(SIZE + 40 * MIB)
    expect(memory).toBeLessThan(150 * MIB)
    const hash = createHash('sha256')
    for await (const chunk of createReadStream(join(dir, 'blobs/sha256', digest.slice(7)), { highWaterMark: MIB }))
      hash.update(chunk)
    expect(`sha256:${hash.digest('hex')}`).toBe(digest)
  } finally {
    await server.close()
    removeFolder(dir)
  }
}, 60_000)
