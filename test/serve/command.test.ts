import { afterAll, afterEach, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sha256 } from '../../src/oci/digest.ts'
import { layoutTransport } from '../../src/transports/layout.ts'
import { indexOf, putAll } from '../../src/transports/testing/images.ts'
import { removeFolder, run, temporaryFolder } from '../peers/process.ts'

setDefaultTimeout(60_000)

/** "secret", by htpasswd -B. */
const HTPASSWD = 'tester:$2b$04$pDbMRgiKl5sg/7r64cuHk.W1w9qsyIm.hd8FK718scOoGw8V3CtOS\n'
const archimage = join(import.meta.dirname, '../../bin/archimage')
const folder = temporaryFolder('serve-command')
const env = { ARCHIMAGE_HOME: join(folder, 'home'), HOME: folder }
const children: ChildProcess[] = []

beforeAll(() => {
  writeFileSync(join(folder, 'users'), HTPASSWD)
})
afterEach(async () => {
  for (const child of children.splice(0)) await ended(child)
})
afterAll(() => removeFolder(folder))

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise(resolve => {
    if (child.exitCode !== null) return resolve(child.exitCode)
    child.once('exit', code => resolve(code))
    child.kill('SIGTERM')
  })
}

/** Starts it; gives its address and what it says until `until` stands there. */
async function serve(
  args: readonly string[],
  until: RegExp,
): Promise<{ address: string; said: string; child: ChildProcess }> {
  const child = spawn(archimage, ['serve', '--port', '0', ...args], { cwd: folder, env: { ...process.env, ...env } })
  children.push(child)
  let out = ''
  let said = ''
  await new Promise<void>((resolve, reject) => {
    const look = () => {
      if (until.test(said) && out.endsWith('\n')) resolve()
    }
    child.stdout.on('data', data => {
      out += data
      look()
    })
    child.stderr.on('data', data => {
      said += data
      look()
    })
    child.once('exit', code => reject(new Error(`ended with ${code}: ${said}`)))
  })
  return { address: out.trim(), said, child }
}

const refused = async (...args: string[]) => {
  const { code, stderr } = await run([archimage, 'serve', ...args], { cwd: folder, env })
  return [code, stderr] as const
}

test.each([
  [['a', 'b'], 'takes one folder'],
  [['--port', 'x'], '--port x is not a port'],
  [['--tls-cert', 'x'], '--tls-cert goes with --tls-key'],
  [['--tls-key', 'x'], '--tls-key goes with --tls-cert'],
  [['--tls-client-ca', 'x'], '--tls-client-ca goes with --tls-cert or --tls'],
  [['--anonymous-pull'], '--anonymous-pull goes with --htpasswd'],
  [['--gc-untagged', '.'], '--gc-untagged goes with --gc or --gc-once'],
  [['--gc-once'], '--gc-once needs the folder of a registry'],
  [['--gc=soon', 'x'], '--gc soon is not a time'],
  [['--gc', '--read-only', 'x'], '--gc writes, and --read-only forbids that'],
  [['--store', 'x'], '--store serves the store of this machine'],
  [['--htpaswd', 'x'], 'has no option --htpaswd'],
])('refused: %j', async (args, message) => {
  const [code, stderr] = await refused(...args)
  expect([code, stderr]).toEqual([2, expect.stringContaining(message)])
})

test('files that are missing or wrong', async () => {
  writeFileSync(join(folder, 'md5'), 'ann:$apr1$a$b\n')
  expect(await refused('--htpasswd', 'md5')).toEqual([
    2,
    expect.stringContaining('md5:1: the hash of user "ann" is MD5'),
  ])
  expect(await refused('--htpasswd', 'absent')).toEqual([1, expect.stringContaining('there is no absent')])
  expect(await refused('--read-only', 'absent')).toEqual([1, expect.stringContaining('there is no folder')])
  const elsewhere = await run([archimage, '-C', folder, 'serve', '--htpasswd', 'md5'], { cwd: '/', env })
  expect(elsewhere.stderr).toContain(`${join(folder, 'md5')}:1: the hash of user "ann" is MD5`)
  expect(await refused('absent.tar.gz')).toEqual([1, expect.stringContaining('there is no archive')])
  expect(await refused('--gc-once', '.')).toEqual([1, expect.stringContaining('is not the folder of a registry')])
})

test('HTTPS with its own certificate, users, warnings; it ends by a signal with 0', async () => {
  const { address, said, child } = await serve(['--tls', '--htpasswd', 'users', 'data'], /chmod/)
  expect(said).toContain(`a registry listens on https://${address}, kept in ${join(folder, 'data')}`)
  expect(said).toContain(`/etc/docker/certs.d/${address}/ca.crt`)
  expect(said).toContain('other users of this machine can read users')
  const ca = readFileSync(join(env.ARCHIMAGE_HOME, 'tls/ca.crt'), 'utf8')
  expect(statSync(join(env.ARCHIMAGE_HOME, 'tls/key.pem')).mode & 0o077).toBe(0)
  expect((await fetch(`https://${address}/v2/`, { tls: { ca } })).status).toBe(401)
  const headers = { authorization: `Basic ${btoa('tester:secret')}` }
  expect((await fetch(`https://${address}/v2/`, { tls: { ca }, headers })).status).toBe(200)
  expect(await ended(child)).toBe(0)
  const again = await serve(['--tls', 'data'], /certificate is/)
  expect(again.said).not.toContain('a new certificate')
})

test('who listens for others without passwords, or with passwords in the clear, is warned', async () => {
  const open = await serve(['--addr', '0.0.0.0'], /warning/)
  expect(open.said).toContain('open to other machines, without a password')
  const clear = await serve(['--addr', '0.0.0.0', '--htpasswd', 'users'], /in the clear/)
  expect(clear.said).toContain('warning: passwords go to 0.0.0.0 in the clear')
})

test('layouts, and the store: which is one', async () => {
  const layout = join(folder, 'layout')
  const image = indexOf('content', [{ os: 'linux', architecture: 'amd64' }])
  await putAll(layoutTransport(layout), image, 'example.com/team/app:v1')
  const served = await serve(['layout'], /read-only/)
  const got = await fetch(`http://${served.address}/v2/team/app/manifests/v1`)
  expect(got.headers.get('docker-content-digest')).toBe(image.manifests[0]!.digest)
  expect((await fetch(`http://${served.address}/v2/team/app/manifests/v1`, { method: 'DELETE' })).status).toBe(405)
  expect(await refused('--gc', 'layout')).toEqual([2, expect.stringContaining('is served read-only')])
  const context = join(folder, 'context')
  mkdirSync(context)
  writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nCOPY Dockerfile /\n')
  expect(await run([archimage, 'build', '-q', '-t', 'example.com/built:v2', context], { env })).toMatchObject({
    code: 0,
  })
  const store = await serve(['--store'], /read-only/)
  expect(await (await fetch(`http://${store.address}/v2/_catalog`)).json()).toEqual({ repositories: ['built'] })
  expect((await fetch(`http://${store.address}/v2/built/manifests/v2`)).status).toBe(200)
})

test('garbage: once, and while it serves', async () => {
  const dir = join(folder, 'garbage')
  const first = await serve(['garbage'], /listens/)
  const push = async (at: string, text: string) => {
    const digest = sha256(text)
    await fetch(`http://${at}/v2/a/blobs/uploads/?digest=${digest}`, { method: 'POST', body: text })
    const path = join(dir, 'repositories/a/_blobs/sha256', digest.slice(7))
    utimesSync(path, 1, 1)
    return path
  }
  const once = await push(first.address, 'once')
  const collect = (...args: string[]) =>
    run([archimage, 'serve', 'garbage', '--gc-once', ...args], { cwd: folder, env })
  expect((await collect('--dry-run')).stdout).toBe('would remove 0 manifests and 1 blob, 4 bytes\n')
  expect(existsSync(once)).toBe(true)
  expect((await collect()).stdout).toBe('removed 0 manifests and 1 blob, 4 bytes\n')
  expect(existsSync(once)).toBe(false)
  const while_ = await push(first.address, 'while it serves')
  const second = await serve(['--gc', 'garbage'], /garbage: /)
  expect(second.said).toContain('garbage: 0 manifests and 1 blob, 15 bytes')
  expect(existsSync(while_)).toBe(false)
})
