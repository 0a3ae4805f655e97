import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { tarOf } from '../../test/run/images.ts'
import { isArchimageError } from '../errors/error.ts'
import type { Entry } from '../layer/entry.ts'
import { Tree } from '../layer/tree.ts'
import { sha256 } from '../oci/digest.ts'
import { ContextView, fileTree } from '../plan/context-view.ts'
import { remoteId } from '../plan/remote.ts'
import { type SourceTree, treeSource } from '../plan/source-tree.ts'
import { openStore } from '../store/store.ts'
import { withoutElsewhere } from './elsewhere.ts'
import type { BuildTools, Cell } from './engine.ts'
import { rewriteDockerfile } from './rewrite.ts'
import { cellOf } from './testing/cells.ts'

const folder = mkdtempSync(join(tmpdir(), 'archimage-elsewhere-'))
const store = openStore({ home: join(folder, 'store') })
afterAll(() => {
  store.close()
  rmSync(folder, { recursive: true, force: true })
})

const REPOSITORY = 'https://example.com/app.git'
const view = (tree: SourceTree): ContextView => new ContextView(tree, { times: false })
const file = (size: number): Entry => ({
  ...({ type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0, size, digest: sha256(Buffer.alloc(size)) } as const),
  content: { kind: 'bytes', bytes: Buffer.alloc(size) },
})

function download(url: string, name: string): SourceTree {
  const bytes = tarOf({ 'in/a': 'a' })
  const path = join(folder, 'download')
  writeFileSync(path, bytes)
  return fileTree(url, name, { path, digest: sha256(bytes), size: bytes.length, mtime: 5 })
}

function files(...paths: readonly string[]): ContextView {
  const tree = new Tree()
  for (const [i, path] of paths.entries()) tree.put(path, file(i))
  return view(treeSource(tree, 'files'))
}

/** What an engine gets of a cell: its Dockerfile, and paths of the folder that its only ADD becomes. */
async function given(dockerfile: string): Promise<{ lines: string[]; paths: string[] }> {
  const cell = await cellOf(dockerfile)
  const directories = new Map<string, ContextView>()
  for (const stage of cell.lowered.stages.values())
    for (const op of stage.ops)
      for (const { from } of op.kind === 'copy' ? (op.remotes ?? []) : [])
        directories.set(
          remoteId(from),
          from.kind === 'git' ? files('b', 'left/out') : view(download(from.url, from.name)),
        )
  const whole: Cell = { ...cell, directories, context: files('a', 'odd name') }
  const signal = new AbortController().signal
  const { cell: handed, elsewhere } = await withoutElsewhere(whole, { store, signal } as BuildTools)
  const names = { image: () => 'image', directory: () => 'folder' }
  const { text } = rewriteDockerfile(handed, names, { syntax: false, platforms: false }, elsewhere)
  expect(text.split('\n')).toHaveLength(dockerfile.split('\n').length)
  const tree = handed.directories.get(elsewhere[0]!.path)!
  const walk = (path: string): string[] =>
    tree.lookup(path)?.type === 'dir'
      ? tree.list(path).flatMap(name => walk(path === '' ? name : `${path}/${name}`))
      : [path]
  return { lines: text.split('\n'), paths: walk('') }
}

test('an ADD from elsewhere is a COPY of the files that are here', async () => {
  const sources = `a ${REPOSITORY}#main https://example.com/x.tar`
  const { lines, paths } = await given(`FROM a\nADD --exclude=left --chmod=604 --link ${sources} "/to"/\n`)
  expect(lines[1]).toBe('COPY --from=folder --chmod=604 --link ["/0/a","/1/","/2/x.tar","\\"/to\\"/"]')
  expect(paths).toEqual(['0/a', '1/b', '2/x.tar'])
})

test('over several lines, unpacked', async () => {
  const { lines, paths } = await given(
    'FROM a\nADD --unpack --chown=1:2 \\\n  https://example.com/x.tar \\\n  /to/\nENV A=b',
  )
  expect(lines).toEqual(['FROM image AS stage-0', 'COPY --from=folder --chown=1:2 ["/0/","/to/"]', '', '', 'ENV A=b'])
  expect(paths).toEqual(['0/in/a'])
})

test('what cannot be written so is refused, with its line', async () => {
  for (const add of [`ADD a ${REPOSITORY} <<EOF /to/\nx\nEOF`, 'ADD https://example.com/odd%20name /to/']) {
    const error = await given(`FROM a\n${add}\n`).catch((error: unknown) => error)
    if (!isArchimageError(error)) throw error
    expect([add, error.message, error.code, error.place?.line]).toEqual([add, error.message, 'UNSUPPORTED', 2])
  }
})
