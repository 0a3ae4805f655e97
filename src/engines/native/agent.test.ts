import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createConnection, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runProgram } from '../../sys/spawn.ts'
import { Agents, Requests } from './agent.ts'

let folder: string
let server: Server | undefined
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'archimage-agent-'))
})
afterEach(() => {
  server?.close()
  rmSync(folder, { recursive: true, force: true })
})

const message = (type: number, body = ''): Buffer => {
  const bytes = Buffer.alloc(5 + body.length)
  bytes.writeUInt32BE(1 + body.length)
  bytes[4] = type
  bytes.write(body, 5)
  return bytes
}

/** An agent that answers every message with its type, and says what came. */
async function fakeAgent(path: string): Promise<number[]> {
  const seen: number[] = []
  server = createServer(socket =>
    socket.on('data', (chunk: Buffer) => {
      seen.push(chunk[4]!)
      socket.write(message(chunk[4]!, 'answer'))
    }),
  )
  await new Promise<void>(resolve => server!.listen(path, resolve))
  return seen
}

/** Sends to a socket and gives the first answer. */
const ask = (path: string, bytes: Buffer): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const socket = createConnection(path, () => socket.write(bytes))
    socket.on('error', reject)
    socket.on('data', (data: Buffer) => {
      socket.destroy()
      resolve(data)
    })
    socket.on('close', () => resolve(Buffer.alloc(0)))
  })

describe('an agent of this machine', () => {
  test('lists keys and signs; what would change it does not reach it', async () => {
    const seen = await fakeAgent(join(folder, 'agent'))
    const agents = new Agents()
    const socket = await agents.socket([join(folder, 'agent')])
    expect((await ask(socket, message(11)))[4]).toBe(11)
    expect((await ask(socket, message(13, 'data')))[4]).toBe(13)
    // Adding and removing keys, locking, extensions.
    for (const type of [17, 18, 19, 22, 25, 27]) expect((await ask(socket, message(type, 'key')))[4]).toBe(255)
    expect(seen).toEqual([11, 13, 255, 255, 255, 255, 255, 255])
    expect(await agents.socket([join(folder, 'agent')])).toBe(socket)
    agents.close()
    expect(statSync(socket, { throwIfNoEntry: false })).toBeUndefined()
  })

  test('messages may come in any pieces; what is none ends the connection', () => {
    const passed: Buffer[] = []
    const requests = new Requests(one => passed.push(one))
    const all = Buffer.concat([message(11), message(13, 'abc'), message(17, 'key'), message(11)])
    for (const byte of all) expect(requests.push(Buffer.from([byte]))).toBe(true)
    expect(passed.map(one => one[4])).toEqual([11, 13, 255, 11])
    expect(new Requests(() => {}).push(Buffer.from([0, 0, 0, 0, 11]))).toBe(false)
    expect(new Requests(() => {}).push(Buffer.from([255, 0, 0, 0, 11]))).toBe(false)
  })
})

const openssh = ['ssh-agent', 'ssh-add', 'ssh-keygen'].every(
  name => spawnSync('sh', ['-c', `command -v ${name}`]).status === 0,
)

test.skipIf(!openssh)('keys get an agent of our own; what is no key is refused', async () => {
  const key = join(folder, 'key')
  spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
  const agents = new Agents()
  const socket = await agents.socket([key])
  const { stdout } = await runProgram('ssh-add', ['-L'], { env: { ...process.env, SSH_AUTH_SOCK: socket } })
  expect(stdout.toString()).toStartWith('ssh-ed25519 ')
  writeFileSync(join(folder, 'no-key'), 'no key\n')
  expect(await agents.socket([join(folder, 'no-key')]).catch(error => error.code)).toBe('USAGE')
  agents.close()
})
