import { afterAll, beforeAll, expect } from 'bun:test'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { StepMount } from '../../src/sandbox/step.ts'
import { canRun, requirePeers } from '../peers/require.ts'
import { openWorkshop, type Workshop } from './workshop.ts'

const needs = ['root', 'busybox'] as const
const step = requirePeers(...needs)
let shop: Workshop

beforeAll(async () => {
  if (canRun(...needs)) shop = await openWorkshop()
})
afterAll(async () => shop?.[Symbol.asyncDispose]())

const run = (command: string, ...mounts: StepMount[]) => shop.run(command, { mounts })

function layer(name: string, files: Readonly<Record<string, string>>): string {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(shop.folder, name, path, '..'), { recursive: true })
    writeFileSync(join(shop.folder, name, path), text)
  }
  return join(shop.folder, name)
}

step('a part of another root: read-only, or with writes that are thrown away', async () => {
  const lowers = [layer('below', { 'out/a': 'below\n', 'out/b': 'b\n' }), layer('above', { 'out/a': 'above\n' })]
  symlinkSync('/out', join(lowers[1]!, 'link'))
  const mount = (path: string, readOnly: boolean): StepMount => ({
    kind: 'layers',
    lowers,
    path,
    target: '/m',
    readOnly,
  })
  expect(await run('cat /m/a /m/b; touch /m/c', mount('/link', true))).toMatchObject({
    ...{ exitCode: 1, stdout: 'above\nb\n', stderr: expect.stringContaining('Read-only file system') },
  })
  expect(await run('rm /m/a; echo new > /m/c; ls /m', mount('/out', false))).toMatchObject({
    stdout: 'b\nc\n',
    changed: [],
  })
  expect(await run('cat /m', mount('/out/b', false))).toMatchObject({ stdout: 'b\n', changed: [] })
  expect(readdirSync(join(lowers[0]!, 'out')).sort()).toEqual(['a', 'b'])
  const error = await run('true', mount('/nowhere', true)).catch(caught => caught)
  expect(error).toMatchObject({ code: 'STEP_FAILED', message: expect.stringContaining('/nowhere does not exist') })
})

step('a copy of a folder and of a file', async () => {
  const source = layer('source', { 'd/x': 'x\n', y: 'y\n' })
  const copy = (path: string): StepMount => ({ kind: 'scratch-copy', source: join(source, path), target: '/c' })
  expect(await run('echo more >> /c/x; rm -r /c/x; touch /c/z; ls /c', copy('d'))).toMatchObject({
    stdout: 'z\n',
    changed: [],
  })
  expect(await run('echo more >> /c; cat /c', copy('y'))).toMatchObject({ stdout: 'y\nmore\n', changed: [] })
  expect([readFileSync(join(source, 'd/x'), 'utf8'), readFileSync(join(source, 'y'), 'utf8')]).toEqual(['x\n', 'y\n'])
})

step('memory: with a size, and the mode of what it covers', async () => {
  const tmpfs = (target: string, size?: number): StepMount => ({ kind: 'tmpfs', target, ...(size ? { size } : {}) })
  const { stdout, stderr, changed } = await run(
    'stat -c %a /m /root; dd if=/dev/zero of=/m/big bs=64k count=32 2>&1 | grep -o "No space.*"; touch /root/x',
    ...[tmpfs('/m', 1 << 20), tmpfs('/root')],
  )
  expect({ stdout, stderr, changed }).toEqual({
    stdout: '1777\n700\nNo space left on device\n',
    stderr: '',
    changed: [],
  })
})

step('bytes: owner and mode, never more', async () => {
  const secret: StepMount = {
    kind: 'bytes',
    target: '/s',
    bytes: Buffer.from([0, 255, 10]),
    mode: 0o440,
    uid: 7,
    gid: 8,
  }
  const script: StepMount = {
    ...secret,
    target: '/dev/pipes/run',
    bytes: Buffer.from('#!/bin/sh\necho ran "$0"\n'),
    mode: 0o755,
  }
  expect(
    await run('stat -c "%u:%g %a %s" /s; echo x > /s; chmod 777 /s; /dev/pipes/run', secret, script),
  ).toMatchObject({
    stdout: '7:8 440 3\nran /dev/pipes/run\n',
    stderr: expect.stringMatching(/Read-only file system[\s\S]*Read-only file system/),
    changed: [],
  })
})

step('a socket of this machine, for the user of the step', async () => {
  const path = join(shop.folder, 'agent')
  const server = createServer(client => client.on('data', bytes => client.end(`heard ${bytes}`))).listen(path)
  const mount: StepMount = { kind: 'socket', source: path, target: '/run/agent', mode: 0o600, uid: 1000, gid: 1000 }
  // busybox has no client for such sockets, and here none is needed: what is there, and for whom.
  const look = 'stat -c "%F %u:%g %a" /run/agent'
  expect(await shop.run(look, { mounts: [mount], user: '1000:1000' })).toMatchObject({
    stdout: 'socket 1000:1000 600\n',
    changed: [],
  })
  server.close()
})

step('the working directory is made for the user of the step, and stays', async () => {
  const { stdout, changed, upper } = await shop.run('pwd; stat -c %u:%g . ..', { cwd: '/new/work', user: '1000:50' })
  expect({ stdout, changed }).toEqual({ stdout: '/new/work\n1000:50\n1000:50\n', changed: ['new', 'new/work'] })
  expect(lstatSync(join(upper, 'new/work')).mode & 0o7777).toBe(0o755)
  const error = await shop.run('pwd', { cwd: '/bin/sh' }).catch(caught => caught)
  expect(error).toMatchObject({
    code: 'STEP_FAILED',
    message: expect.stringContaining('/bin/sh cannot be entered: ENOTDIR'),
  })
})

step('users, HOME, limits, /dev/shm', async () => {
  const root = {
    lowers: [
      shop.base,
      layer('users', { 'etc/passwd': 'app:x:1000:1000::/home/app:/bin/sh\n', 'etc/group': 'app:x:1000:\nx:x:5:app\n' }),
    ],
  }
  expect(await shop.run('id -u; id -G; echo $HOME', { ...root, user: 'app' })).toMatchObject({
    stdout: '1000\n1000 5\n/home/app\n',
  })
  expect(await shop.run('echo $HOME', { env: ['PATH=/bin', 'HOME=/own'] })).toMatchObject({ stdout: '/own\n' })
  const error = await shop.run('id', { user: 'nobodi' }).catch(caught => caught)
  expect(error).toMatchObject({ code: 'STEP_FAILED', hint: expect.stringContaining('nobody') })
  const ulimits = [
    { name: 'nofile', soft: 100, hard: 200 },
    { name: 'core', soft: -1, hard: -1 },
  ]
  expect(await shop.run('ulimit -Sn; ulimit -Hn; ulimit -c', { ulimits })).toMatchObject({
    stdout: '100\n200\nunlimited\n',
  })
  expect(await shop.run('df -k /dev/shm | tail -1', { shmSize: 2 << 20 })).toMatchObject({
    stdout: expect.stringMatching(/^shm +2048 /),
  })
})

step('output, live and whole, in order; standard input is empty', async () => {
  const { stdout, stderr } = await shop.run('seq 100000; seq 3 > /dev/stderr; echo end > /dev/stdout; wc -c')
  expect(stdout).toBe(`${Array.from({ length: 100_000 }, (_, i) => `${i + 1}\n`).join('')}end\n0\n`)
  expect(stderr).toBe('1\n2\n3\n')
  expect(await shop.run('echo mine > /dev/stdout', { user: '1000' })).toMatchObject({ stdout: 'mine\n' })
})

step('why a program does not start', async () => {
  const at = (name: string, text: string): StepMount => ({
    ...{ kind: 'bytes', target: `/x/${name}`, bytes: Buffer.from(text), mode: 0o755, uid: 0, gid: 0 },
  })
  for (const [text, end] of [
    ['not a program\n', { exitCode: 126, reason: 'exec-format', file: '/x/it' }],
    ['\x7fELF', { exitCode: 126, reason: 'exec-format', file: '/x/it' }],
    ['#!/no/such/shell\n', { exitCode: 127, reason: 'not-found' }],
  ] as const)
    expect(await shop.run(['/x/it'], { mounts: [at('it', text)] })).toMatchObject(end)
  const lowers = [shop.base, layer('scripts', { 'bin/script': '#!/no/such/shell\n' })]
  chmodSync(join(lowers[1]!, 'bin/script'), 0o755)
  expect(await shop.run(['script'], { lowers })).toMatchObject({ reason: 'not-found', file: '/no/such/shell' })
  expect(await shop.run([''])).toMatchObject({ exitCode: 126 })
})

step('insecure: all capabilities, no filter, devices', async () => {
  const { stdout } = await shop.run(
    'grep -E "^CapEff|^Seccomp:" /proc/self/status; mkdir /m; mount -t tmpfs none /m && echo mounted; mknod /n c 1 3 && echo x > /n && echo device',
    {
      insecure: true,
    },
  )
  const own = /^CapEff:.*$/m.exec(readFileSync('/proc/self/status', 'utf8'))![0]
  expect(stdout).toBe(`${own}\nSeccomp:\t0\nmounted\ndevice\n`)
  expect(await shop.run('grep ^CapEff /proc/self/status', { insecure: true, user: '1000' })).toMatchObject({
    stdout: `${own}\n`,
  })
})

step('what a step made below a mount stays with the mount', async () => {
  const cache = join(shop.folder, 'cache')
  mkdirSync(cache)
  const mounts: StepMount[] = [
    { kind: 'bytes', target: '/cache/deep/secret', bytes: Buffer.from('s'), mode: 0o400, uid: 0, gid: 0 },
    { kind: 'directory', source: cache, target: '/cache', readOnly: false },
  ]
  expect(await shop.run('cat /cache/deep/secret; touch /cache/made', { mounts })).toMatchObject({
    stdout: 's',
    changed: [],
  })
  expect(readdirSync(cache).sort()).toEqual(['deep', 'made'])
  expect(existsSync(join(cache, 'deep/secret')) && readFileSync(join(cache, 'deep/secret'), 'utf8')).toBe('')
})
