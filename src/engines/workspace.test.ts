import { afterAll, describe, expect, test } from 'bun:test'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { openContext } from '../context/context.ts'
import { parseIgnoreFile } from '../context/ignore.ts'
import { isArchimageError } from '../errors/error.ts'
import { ContextView, folderTree } from '../plan/context-view.ts'
import { openStore } from '../store/store.ts'
import type { BuildTools, Cell } from './engine.ts'
import { cellOf } from './testing/cells.ts'
import { isReadInPlace, namedFolders, openWorkspace as openFor, type Workspace } from './workspace.ts'

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'archimage-workspace-')))
const store = openStore({ home: join(folder, 'store') })
afterAll(() => {
  store.close()
  rmSync(folder, { recursive: true, force: true })
})

let count = 0
const scratch = (): string => {
  const path = join(folder, `scratch-${++count}`)
  mkdirSync(path)
  return path
}

function files(texts: Readonly<Record<string, string>>): string {
  const root = join(folder, `context-${++count}`)
  mkdirSync(root)
  for (const [path, text] of Object.entries(texts)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text, { mode: path.endsWith('.sh') ? 0o770 : 0o640 })
  }
  return root
}

function viewOf(root: string, modes: 'context' | 'git'): ContextView {
  const context = openContext(root, { memory: { load: () => undefined, save: () => {} } })
  return new ContextView(folderTree(context, { modes }), { times: false })
}

async function cellAt(
  root: string,
  options: { modes?: 'context' | 'git'; ignoreFile?: string; exclude?: string[]; docs?: string } = {},
): Promise<Cell> {
  const { modes = 'context', ignoreFile, exclude = [], docs } = options
  const text = docs === undefined ? 'FROM a\nCOPY . .\n' : 'FROM a\nCOPY --from=docs . .\n'
  const cell = await cellOf(text, docs === undefined ? {} : { named: { docs: { kind: 'directory', path: docs } } })
  const ignore = ignoreFile === undefined ? {} : { ignoreFile }
  return {
    ...cell,
    service: { ...cell.service, modes },
    source: { ...cell.source, exclude, ...(modes === 'context' ? { folder: { root, ...ignore } } : {}) },
    context: viewOf(root, modes),
    directories: new Map(docs === undefined ? [] : [[docs, viewOf(docs, modes)]]),
  }
}

const openWorkspace = (cell: Cell, dockerfile: string, root: string): Promise<Workspace> =>
  openFor(cell, dockerfile, root, { store } as BuildTools)

describe('the files of a cell', () => {
  test('a context is read where it is; what does not belong to it is ignored', async () => {
    const root = files({ 'a.txt': 'a', 'out/image.tar': 'x', '.dockerignore': 'b.txt\n!out/image.tar' })
    const exclude = ['.archimage', join(root, 'out/image.tar'), '/elsewhere', 'odd[1]*']
    const cell = await cellAt(root, { ignoreFile: join(root, '.dockerignore'), exclude })
    const workspace = await openWorkspace(cell, 'FROM x\n', scratch())
    expect(workspace.context).toBe(root)
    expect(readFileSync(workspace.dockerfile, 'utf8')).toBe('FROM x\n')
    expect(workspace.ignoreFile).toBe(`${workspace.dockerfile}.dockerignore`)
    const rules = parseIgnoreFile(readFileSync(workspace.ignoreFile), 'test')!
    const ignored = (path: string): boolean =>
      rules.ignores(path, path.startsWith('out/') ? rules.descend('out', rules.root) : rules.root)
    for (const path of ['b.txt', '.archimage', 'out/image.tar', 'odd[1]*'])
      expect([path, ignored(path)]).toEqual([path, true])
    for (const path of ['a.txt', 'odd1x', 'elsewhere', 'out']) expect([path, ignored(path)]).toEqual([path, false])
    workspace.remove()
    expect([existsSync(workspace.root), existsSync(join(root, 'a.txt'))]).toEqual([false, true])
  })

  test('with other modes it is copied, without what is ignored', async () => {
    const root = files({ 'run.sh': 'r', 'dir/a.txt': 'a', 'b.txt': 'b', '.dockerignore': 'b.txt' })
    symlinkSync('../outside', join(root, 'link'))
    utimesSync(join(root, 'dir/a.txt'), 1000, 1000)
    const workspace = await openWorkspace(await cellAt(root, { modes: 'git' }), 'FROM x\n', scratch())
    const at = (path: string): string => join(workspace.context, path)
    expect(workspace.context).toStartWith(workspace.root)
    expect(readdirSync(workspace.context).sort()).toEqual(['.dockerignore', 'dir', 'link', 'run.sh'])
    expect(lstatSync(at('run.sh')).mode & 0o7777).toBe(0o755)
    expect(lstatSync(at('dir/a.txt'))).toMatchObject({ mode: 0o100644, mtimeMs: 1_000_000 })
    expect(readlinkSync(at('link'))).toBe('../outside')
    expect(readFileSync(at('dir/a.txt'), 'utf8')).toBe('a')
  })

  test('an empty context is an empty folder', async () => {
    const cell = await cellAt(files({}), { modes: 'git' })
    const empty = { lookup: () => undefined, list: () => [] } as never
    const workspace = await openWorkspace({ ...cell, context: empty }, 'FROM x\n', scratch())
    expect(readdirSync(workspace.context)).toEqual([])
  })

  test('named folders are read in place, but for those that a run wrote to, archives and other modes', async () => {
    const root = files({})
    const plain = files({ 'a.md': 'a' })
    const used = files({ 'a.md': 'a', '.archimage/result.json': '{}' })
    const cell = await cellAt(root, { docs: plain })
    expect(namedFolders(cell)).toEqual([plain])
    expect(isReadInPlace(cell, plain)).toBe(true)
    for (const path of [used, join(plain, 'a.md'), 'https://example.com/x.git', 'src'])
      expect([path, isReadInPlace(cell, path)]).toEqual([path, false])
    expect(isReadInPlace(await cellAt(root, { docs: plain, modes: 'git' }), plain)).toBe(false)
  })

  test('what cannot be copied is named, and nothing stays', async () => {
    const cell = await cellAt(files({}), { modes: 'git' })
    const fifo = { type: 'fifo', mode: 0o644, mtime: 0, size: 0, uid: 0, gid: 0 }
    const dir = { ...fifo, type: 'dir' }
    const odd = { lookup: (path: string) => (path === '' ? dir : fifo), list: () => ['pipe'] } as never
    const place = scratch()
    try {
      await openWorkspace({ ...cell, context: odd }, 'FROM x\n', place)
      throw new Error('not refused')
    } catch (error) {
      expect(isArchimageError(error) && error.message).toContain('pipe is no file')
    }
    expect(existsSync(place)).toBe(false)
  })
})
