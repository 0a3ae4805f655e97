import { afterAll, beforeEach, describe, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { isArchimageError } from '../errors/error.ts'
import { writeXattr } from '../sys/ffi.ts'
import { type Context, openContext } from './context.ts'
import { forgetfulMemory, type HashMemory } from './hash-memory.ts'

const base = mkdtempSync(join(tmpdir(), 'archimage-context-'))
afterAll(() => rmSync(base, { recursive: true, force: true }))
let root: string
let serial = 0
beforeEach(() => {
  root = join(base, String(serial++))
  mkdirSync(root)
})

function put(path: string, text = path): string {
  const file = join(root, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
  return file
}

const old = (file: string): void => utimesSync(file, 1_000_000_000, 1_000_000_000)
const open = (options: Partial<Parameters<typeof openContext>[1]> = {}): Context =>
  openContext(root, { memory: forgetfulMemory(), ...options })
const sha256 = (text: string | Buffer): string => `sha256:${createHash('sha256').update(text).digest('hex')}`

/** All paths, as a walk over `list` finds them. */
function all(context: Context, folder = ''): string[] {
  return context.list(folder).flatMap(name => {
    const path = folder === '' ? name : `${folder}/${name}`
    expect(context.lookup(path)).toBeDefined()
    return [path, ...(context.lookup(path)!.type === 'dir' ? all(context, path) : [])]
  })
}

function failure(work: () => unknown): { code?: string; message?: string; line?: number | undefined } {
  try {
    work()
  } catch (error) {
    if (!isArchimageError(error)) throw error
    return { code: error.code, message: error.message, line: error.place?.line }
  }
  return {}
}

describe('entries', () => {
  test('types, modes, sizes, links, names of one file', () => {
    chmodSync(put('run.sh', '#!'), 0o4750)
    put('dir/a')
    linkSync(join(root, 'dir/a'), join(root, 'dir/b'))
    symlinkSync('../../etc/passwd', join(root, 'out'))
    const context = open()
    expect(context.lookup('run.sh')).toMatchObject({ type: 'file', mode: 0o4750, uid: 0, gid: 0, size: 2 })
    expect(context.lookup('run.sh')!.inode).toBeUndefined()
    expect(context.lookup('dir')).toMatchObject({ type: 'dir', size: 0 })
    expect(context.lookup('out')).toMatchObject({ type: 'symlink', link: '../../etc/passwd' })
    expect(context.lookup('dir/a')!.inode).toBeDefined()
    expect(context.lookup('dir/a')!.inode).toBe(context.lookup('dir/b')!.inode!)
    expect(context.lookup('')).toMatchObject({ type: 'dir' })
    expect([context.lookup('nothing'), context.lookup('run.sh/x'), context.lookup('../x')]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
  })
  test('names come in the order of their bytes', () => {
    for (const name of ['b', 'B', 'a.b', 'a', 'é', 'z', '\u{1f600}', '\uff5e']) put(name)
    const expected = ['b', 'B', 'a.b', 'a', 'é', 'z', '\u{1f600}', '\uff5e'].sort((a, b) =>
      Buffer.compare(Buffer.from(a), Buffer.from(b)),
    )
    expect(open().list('')).toEqual(expected)
  })
  test.skipIf(process.platform !== 'linux')('names that are not UTF-8', () => {
    writeFileSync(Buffer.concat([Buffer.from(`${root}/x`), Buffer.from([0xff])]), 'bytes')
    const context = open()
    expect(context.list('')).toEqual(['x\udcff'])
    expect(context.digest('x\udcff')).toBe(sha256('bytes') as never)
    expect(readFileSync(context.path('x\udcff'), 'utf8')).toBe('bytes')
  })
  test.skipIf(process.platform !== 'linux')('attributes of users, and no others', () => {
    const file = put('a')
    try {
      writeXattr(file, 'user.note', Buffer.from([0, 255]))
    } catch {
      return
    }
    expect(open().lookup('a')!.xattrs).toEqual({ 'user.note': 'AP8=' })
    put('b')
    expect(open().lookup('b')!.xattrs).toBeUndefined()
  })
  test.skipIf(process.platform === 'win32')('a fifo is an entry, and no file', () => {
    execFileSync('mkfifo', ['-m', '620', join(root, 'pipe')])
    const context = open()
    expect(context.lookup('pipe')).toMatchObject({ type: 'fifo', mode: 0o620, size: 0, major: undefined })
    expect(failure(() => context.digest('pipe')).code).toBe('CONTEXT_INVALID')
  })
  test.skipIf(process.platform !== 'linux')('devices have their numbers, sockets are something else', async () => {
    const context = openContext('/dev', { memory: forgetfulMemory(), ignoreFile: false })
    expect(context.lookup('null')).toMatchObject({ type: 'char', major: 1, minor: 3 })
    const server = createServer().listen(join(root, 'sock'))
    await once(server, 'listening')
    expect(open().lookup('sock')!.type).toBe('other')
    server.close()
  })
  test('a context that is no folder', () => {
    expect(failure(() => openContext(join(root, 'x'), { memory: forgetfulMemory() })).code).toBe('CONTEXT_INVALID')
    put('file')
    expect(failure(() => openContext(join(root, 'file'), { memory: forgetfulMemory() })).code).toBe('CONTEXT_INVALID')
  })
})

describe('ignoring', () => {
  test('an ignored directory is there when an exception keeps something in it', () => {
    for (const path of ['keep/a.md', 'keep/b.txt', 'drop/b.txt', 'node_modules/x/y.js', 'top.md']) put(path)
    put('.dockerignore', '*\n!**/*.md\n')
    expect(all(open())).toEqual(['keep', 'keep/a.md', 'top.md'])
    put('.dockerignore', 'keep\n!keep/b.txt\n')
    expect(all(open()).filter(path => path.startsWith('keep'))).toEqual(['keep', 'keep/b.txt'])
    expect(open().lookup('keep/a.md')).toBeUndefined()
    expect(failure(() => open().digest('keep/a.md')).code).toBe('CONTEXT_INVALID')
  })
  test("the Dockerfile's own ignore file replaces the other", () => {
    for (const path of ['a', 'b', 'docker/Dockerfile']) put(path)
    put('.dockerignore', 'a\n')
    put('docker/Dockerfile.dockerignore', 'b\n')
    const context = open({ dockerfile: join(root, 'docker/Dockerfile') })
    expect(context.ignoreFile).toBe(join(root, 'docker/Dockerfile.dockerignore'))
    expect([context.lookup('a') !== undefined, context.lookup('b')]).toEqual([true, undefined])
    expect(open({ dockerfile: join(root, 'Dockerfile') }).lookup('a')).toBeUndefined()
    expect(open({ ignoreFile: false }).lookup('a')).toBeDefined()
  })
  test('what a run writes is no part of it', () => {
    for (const path of ['.archimage/result.json', 'out/x.tar', 'outer', 'a']) put(path)
    expect(all(open({ exclude: ['out', join(root, 'a'), '/elsewhere', root] }))).toEqual(['outer'])
  })
  test('an ignore file that is wrong, or no file', () => {
    put('.dockerignore', 'a\n!\n')
    expect(failure(() => open())).toMatchObject({ code: 'CONTEXT_INVALID', line: 2 })
    rmSync(join(root, '.dockerignore'))
    mkdirSync(join(root, '.dockerignore'))
    expect(failure(() => open()).code).toBe('CONTEXT_INVALID')
  })
})

describe('links', () => {
  test('are followed as in a root directory, never out of it', () => {
    put('real/deep/file')
    symlinkSync('/real', join(root, 'absolute'))
    symlinkSync('deep/../deep', join(root, 'real/way'))
    symlinkSync('../../../../../etc/passwd', join(root, 'escape'))
    symlinkSync('loop-b', join(root, 'loop-a'))
    symlinkSync('loop-a', join(root, 'loop-b'))
    const context = open()
    expect(context.resolve('absolute/way/file')).toBe('real/deep/file')
    expect(context.resolve('absolute')).toBe('real')
    expect(context.resolve('absolute', false)).toBe('absolute')
    expect(context.resolve('../../real/./deep/')).toBe('real/deep')
    expect(context.resolve('escape')).toBeUndefined()
    expect(context.resolve('real/deep/file/x')).toBeUndefined()
    expect(context.lookup('absolute/deep')).toBeUndefined()
    expect(failure(() => context.resolve('loop-a')).code).toBe('CONTEXT_INVALID')
  })
  test('a link to an ignored file leads nowhere', () => {
    put('secret')
    symlinkSync('secret', join(root, 'link'))
    put('.dockerignore', 'secret')
    expect(open().resolve('link')).toBeUndefined()
  })
  test('the context itself may be one', () => {
    put('a')
    symlinkSync(root, `${root}-link`)
    expect(openContext(`${root}-link`, { memory: forgetfulMemory() }).list('')).toEqual(['a'])
  })
})

test('wildcards', () => {
  for (const path of ['a.txt', 'b.txt', 'sub/c.txt', 'sub/deep/d.txt', 'sub2/c.txt', '[x]']) put(path)
  symlinkSync('sub', join(root, 'link'))
  const context = open()
  expect(context.glob('*.txt')).toEqual(['a.txt', 'b.txt'])
  expect(context.glob('./sub*/*.txt')).toEqual(['sub/c.txt', 'sub2/c.txt'])
  expect(context.glob('/link/*')).toEqual(['sub/c.txt', 'sub/deep'])
  expect(context.glob('l*/c.txt')).toEqual([])
  expect(context.glob('sub')).toEqual(['sub'])
  expect(context.glob('nothing')).toEqual([])
  expect(context.glob('no*')).toEqual([])
  expect(context.glob('[[]x]')).toEqual(['[x]'])
  expect(context.glob('[')).toBeUndefined()
})

describe('hashes', () => {
  const kept = (): HashMemory & { saved: number; bytes: Uint8Array | undefined } => ({
    saved: 0,
    bytes: undefined,
    load() {
      return this.bytes
    },
    save(_root, bytes) {
      this.saved++
      this.bytes = bytes
    },
  })
  /** The same storage in another run. */
  const again = (memory: ReturnType<typeof kept>): ReturnType<typeof kept> =>
    Object.assign(kept(), { bytes: memory.bytes })
  const open = (memory: HashMemory): Context => openContext(root, { memory })

  test('are those of the bytes, small, empty and large', () => {
    put('small', 'x')
    put('empty', '')
    const large = Buffer.alloc(700_001, 'abc')
    writeFileSync(join(root, 'large'), large)
    const context = open(forgetfulMemory())
    expect(['small', 'empty', 'large'].map(path => context.digest(path) as string)).toEqual([
      sha256('x'),
      sha256(''),
      sha256(large),
    ])
  })
  test('of fresh files are not remembered', () => {
    put('a')
    const memory = kept()
    const context = open(memory)
    context.digest('a')
    context.save()
    expect(memory.saved).toBe(0)
  })
  test('of old files are, and only a change saves again', async () => {
    for (const path of ['a', 'b/c', 'é']) old(put(path))
    await Bun.sleep(2100)
    const first = kept()
    const context = open(first)
    for (const path of ['a', 'b/c', 'é']) context.digest(path)
    context.save()
    expect(first.saved).toBe(1)

    const right = Buffer.from(first.bytes!)
    const second = again(first)
    const unchanged = open(second)
    expect(['é', 'a', 'b/c'].map(path => unchanged.digest(path) as string)).toEqual(['é', 'a', 'b/c'].map(sha256))
    unchanged.save()
    // A file that was hashed anew would have been handed over.
    expect(second.saved).toBe(0)

    // Same size, same time, one other byte: ctime tells.
    const { atime, mtime } = statSync(join(root, 'a'))
    put('a', 'Z')
    utimesSync(join(root, 'a'), atime, mtime)
    expect(open(again(first)).digest('a') as string).toBe(sha256('Z'))

    // One damaged byte anywhere: no memory at all, right digests.
    for (let i = 0; i < right.length; i += 7) {
      const damaged = Buffer.from(right)
      damaged[i]! ^= 0x55
      const memory = Object.assign(kept(), { bytes: damaged })
      expect(open(memory).digest('b/c') as string).toBe(sha256('b/c'))
    }
    for (const length of [0, 10, 40, right.length - 1])
      expect(open(Object.assign(kept(), { bytes: right.subarray(0, length) })).digest('b/c') as string).toBe(
        sha256('b/c'),
      )
  })
  test('one run sees one state, and says so when that ends', () => {
    const file = put('a', 'one')
    const context = open(forgetfulMemory())
    context.lookup('a')
    writeFileSync(file, 'other')
    expect(failure(() => context.digest('a')).code).toBe('CONTEXT_CHANGED')
    rmSync(file)
    expect(failure(() => context.digest('a')).code).toBe('CONTEXT_CHANGED')
  })
  test('a file that became a link is not followed', () => {
    put('b', 'other')
    const file = put('a', 'one')
    const context = open(forgetfulMemory())
    context.lookup('a')
    rmSync(file)
    symlinkSync('b', file)
    expect(failure(() => context.digest('a')).code).toBe('CONTEXT_CHANGED')
  })
})
