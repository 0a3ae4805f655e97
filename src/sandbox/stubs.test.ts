import { afterEach, beforeEach, expect, test } from 'bun:test'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { resolveInRoot } from './paths.ts'
import { dropStubDirectories, Stubs } from './stubs.ts'

let dir: string
let root: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'archimage-stubs-'))
  root = join(dir, 'root')
  mkdirSync(join(root, 'etc'), { recursive: true })
  utimesSync(join(root, 'etc'), 1000, 1000)
  utimesSync(root, 2000, 2000)
})
afterEach(() => rmSync(dir, { recursive: true }))

const all = () => readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort()

test('what was made is gone, and nobody sees that it was there', () => {
  const before = all()
  const stubs = new Stubs(root)
  stubs.make('/etc/a/b/file', 'file')
  stubs.make('/deep/dir', 'directory')
  stubs.make('/etc', 'directory')
  expect(lstatSync(join(root, 'deep')).mode & 0o7777).toBe(0o755)
  expect(lstatSync(join(root, 'etc')).mtimeMs).toBe(1_000_000)
  stubs.remove()
  expect(all()).toEqual(before)
  expect(lstatSync(join(root, 'etc')).mtimeMs).toBe(1_000_000)
  expect(lstatSync(root).mtimeMs).toBe(2_000_000)
})

test('what the step used stays', () => {
  const stubs = new Stubs(root)
  stubs.make('/run/secrets/one', 'file')
  stubs.make('/etc/two', 'file')
  writeFileSync(join(root, 'run/mine'), '')
  writeFileSync(join(root, 'etc/two'), 'content')
  utimesSync(join(root, 'run'), 3000, 3000)
  stubs.remove()
  expect(all()).toEqual(['root', 'root/etc', 'root/etc/two', 'root/run', 'root/run/mine'])
  // The time is the step's.
  expect(lstatSync(join(root, 'run')).mtimeMs).toBe(3_000_000)
})

test('links are followed within the root, when something is made', () => {
  symlinkSync(dir, join(root, 'out'))
  symlinkSync('../../../..', join(root, 'up'))
  symlinkSync('loop', join(root, 'loop'))
  const stubs = new Stubs(root)
  expect(stubs.make('/out/x', 'file')).toBe(join(root, dir, 'x'))
  expect(stubs.make('/up/y', 'file')).toBe(join(root, 'y'))
  expect(() => stubs.make('/loop/z', 'file')).toThrow('ELOOP')
  expect(existsSync(join(dir, 'x'))).toBe(false)
  stubs.remove()
  expect(readdirSync(root).sort()).toEqual(['etc', 'loop', 'out', 'up'])
})

test('links in the way of the removal are not followed', () => {
  const stubs = new Stubs(root)
  stubs.make('/run/secrets/token', 'file')
  mkdirSync(join(dir, 'outside/secrets'), { recursive: true })
  writeFileSync(join(dir, 'outside/secrets/token'), '')
  renameSync(join(root, 'run'), join(root, 'gone'))
  symlinkSync(join(dir, 'outside'), join(root, 'run'))
  stubs.remove()
  expect(existsSync(join(dir, 'outside/secrets/token'))).toBe(true)
})

test('copies of the stub layer leave an upper directory only where they are nothing else', () => {
  const [upper, lower] = [join(dir, 'upper'), join(dir, 'lower')]
  for (const name of ['etc', 'dev', 'proc', 'sys/kept']) mkdirSync(join(upper, name), { recursive: true })
  mkdirSync(join(lower, 'dev'), { recursive: true })
  dropStubDirectories({ lowers: [lower], upper })
  // Owners of files of this test are not root's unless root runs it.
  const gone = process.getuid?.() === 0 ? ['dev', 'sys'] : ['dev', 'etc', 'proc', 'sys']
  expect(readdirSync(upper).sort()).toEqual(gone)
})

test('paths in a root', () => {
  const inRoot = (path: string) => resolveInRoot(root, path).slice(root.length)
  expect(inRoot('/')).toBe('')
  expect(inRoot('/a/../b/./c//d')).toBe('/b/c/d')
  expect(inRoot('../../x')).toBe('/x')
  symlinkSync('/etc', join(root, 'absolute'))
  symlinkSync('nowhere', join(root, 'dangling'))
  expect(inRoot('/absolute/passwd')).toBe('/etc/passwd')
  expect(inRoot('/dangling')).toBe('/nowhere')
  writeFileSync(join(root, 'file'), '')
  expect(inRoot('/file/below')).toBe('/file/below')
})
