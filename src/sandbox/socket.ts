import { createConnection, createServer, type Socket } from 'node:net'

/** Listens at `path` and passes every connection on to the socket `source`. Resolves to what ends it. */
export function serveSocket(path: string, source: string): Promise<() => void> {
  const connections = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, client => {
    const upstream = createConnection({ path: source, allowHalfOpen: true })
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      connections.add(from)
      from.on('error', () => to.destroy())
      from.on('close', () => connections.delete(from))
      from.pipe(to)
    }
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () =>
      resolve(() => {
        server.close()
        for (const connection of connections) connection.destroy()
      }),
    )
  })
}
