import { expect, test } from 'bun:test'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startRegistry } from '../../src/registry/server/start.ts'
import { removeFolder, startRegistry as startDistribution, temporaryFolder } from '../peers/index.ts'
import { requirePeers } from '../peers/require.ts'

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

async function send(port: number, size: number): Promise<{ how: string; digest: string; memory: number }> {
  const script = join(import.meta.dir, 'send-blob.ts')
  const { stdout } = await promisify(execFile)(process.execPath, [script, `127.0.0.1:${port}/big`, String(size)])
  return JSON.parse(stdout)
}

test('500 MB that are cut twice arrive, are not sent twice, and are never held in memory', async () => {
  const dir = temporaryFolder('big-upload')
  const server = await startRegistry({ dir, port: 0 })
  try {
    await using proxy = await cutting(server.port, [200 * MIB, 150 * MIB])
    const { how, digest, memory } = await send(proxy.port, SIZE)
    expect([how, proxy.cuts]).toEqual(['uploaded', 2])
    expect(proxy.bytes).toBeLessThan(SIZE + 40 * MIB)
    expect(memory).toBeLessThan(120 * MIB)
    const hash = createHash('sha256')
    for await (const chunk of createReadStream(join(dir, 'blobs/sha256', digest.slice(7)), { highWaterMark: MIB }))
      hash.update(chunk)
    expect(`sha256:${hash.digest('hex')}`).toBe(digest)
  } finally {
    await server.close()
    removeFolder(dir)
  }
}, 60_000)

requirePeers('docker-registry')("distribution's registry loses what was cut: the blob arrives, sent anew", async () => {
  await using registry = await startDistribution()
  await using proxy = await cutting(Number(registry.host.split(':')[1]), [30 * MIB])
  const { how, digest } = await send(proxy.port, 50 * MIB)
  expect([how, proxy.cuts]).toEqual(['uploaded', 1])
  expect((await fetch(`http://${registry.host}/v2/big/blobs/${digest}`, { method: 'HEAD' })).status).toBe(200)
})
