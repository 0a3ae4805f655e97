import { expect, test } from 'bun:test'
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const sha = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

/** A server in a process of its own, so that it can be killed. */
async function serve(dir: string): Promise<{ readonly port: number; readonly child: ChildProcess }> {
  const program = `
    const { startRegistry } = await import(${JSON.stringify(join(import.meta.dirname, 'start.ts'))})
    const { port } = await startRegistry({ dir: process.argv[1], port: 0 })
    console.log(port)`
  const child = spawn(process.execPath, ['-e', program, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout!.once('data', data => resolve(Number(String(data))))
    child.once('exit', code => reject(new Error(`the server ended with ${code}`)))
  })
  return { port, child }
}

function kill(child: ChildProcess): Promise<void> {
  return new Promise(resolve => {
    child.once('exit', () => resolve())
    child.kill('SIGKILL')
  })
}

test('kill -9 in the middle of an upload: nothing under a final name, and the upload can be gone on with', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'archimage-test-'))
  const bytes = randomBytes(6_000_000)
  const digest = sha(bytes)
  const first = await serve(dir)
  const opened = await fetch(`http://127.0.0.1:${first.port}/v2/a/b/blobs/uploads/`, { method: 'POST' })
  const location = opened.headers.get('location')!
  const socket = connect(first.port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(`PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes.length}\r\n\r\n`)
  socket.write(bytes.subarray(0, 4_000_000))
  const file = join(dir, 'uploads', location.split('/').at(-1)!)
  while ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) < 1_000_000) await sleep(5)
  await kill(first.child)

  const second = await serve(dir)
  const at = `http://127.0.0.1:${second.port}`
  const names = readdirSync(dir, { recursive: true, encoding: 'utf8' })
  expect(names.filter(name => name.includes(digest.slice(7)))).toEqual([])
  const status = await fetch(at + location)
  expect(status.status).toBe(204)
  const received = Number(status.headers.get('range')!.slice(2)) + 1
  expect(received).toBeGreaterThanOrEqual(1_000_000)
  const end = await fetch(`${at}${location}?digest=${digest}`, { method: 'PUT', body: bytes.subarray(received) })
  expect(end.status).toBe(201)
  const back = await fetch(`${at}/v2/a/b/blobs/${digest}`)
  expect(sha(await back.bytes())).toBe(digest)
  await kill(second.child)
  rmSync(dir, { recursive: true })
}, 20_000)
